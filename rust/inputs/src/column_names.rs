//! What the columns of a table are called, and what each name says of its values.
//!
//! Start with [`Role::named`]. Case counts for nothing, nor do blanks and `_ - / .` within a
//! name: `Access Type` is `access_type`, and `r/w` is `rw`. Read by [`csv`](crate::csv); the
//! names of arrays in npz follow the same list (`column_names.py`), and a test holds the two
//! together.

/// What a column tells of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Where its first byte is.
    Address,
    /// How many bytes it has.
    Size,
    /// What it did, in a word or a number.
    Kind,
    /// Whether it stored.
    Write,
    /// Whether it loaded.
    Read,
    /// Something else, such as when and by whom.
    Other,
}

const NAMES: [(Role, &[&str]); 6] = [
    (
        Role::Address,
        &[
            "address",
            "addresses",
            "addr",
            "addrs",
            "vaddr",
            "va",
            "virtualaddress",
            "virtaddr",
            "dataaddress",
            "dataaddr",
            "memoryaddress",
            "memaddr",
        ],
    ),
    (
        Role::Size,
        &[
            "size",
            "sizes",
            "bytes",
            "nbytes",
            "length",
            "len",
            "width",
            "accesssize",
            "accesslength",
            "accesslen",
            "accesswidth",
            "accessbytes",
            "datasize",
        ],
    ),
    (
        Role::Kind,
        &[
            "kind",
            "kinds",
            "type",
            "types",
            "op",
            "ops",
            "operation",
            "optype",
            "rw",
            "readwrite",
            "access",
            "accesstype",
            "accesskind",
            "accessmode",
            "mode",
            "direction",
            "dir",
            "loadstore",
            "memop",
        ],
    ),
    (Role::Write, &["write", "writes", "iswrite", "store", "stores", "isstore", "w", "written"]),
    (Role::Read, &["read", "reads", "isread", "load", "loads", "isload", "r"]),
    (
        Role::Other,
        &[
            "",
            "index",
            "id",
            "seq",
            "number",
            "record",
            "tid",
            "thread",
            "threadid",
            "pid",
            "ppid",
            "process",
            "processid",
            "comm",
            "time",
            "timestamp",
            "ts",
            "cycle",
            "cycles",
            "cpu",
            "core",
            "node",
            "ip",
            "pc",
            "rip",
            "symbol",
            "sym",
            "function",
            "func",
            "dso",
            "module",
            "file",
            "line",
            "period",
            "weight",
            "latency",
            "paddr",
            "physaddr",
            "physicaladdress",
            "phys",
            "page",
            "value",
            "comment",
            "note",
        ],
    ),
];

impl Role {
    /// Returns what a column of this name tells, `None` if the name is not known.
    pub(crate) fn named(name: &[u8]) -> Option<Role> {
        let plain: Vec<u8> = name
            .iter()
            .filter(|byte| !b" \t_-/.".contains(byte))
            .map(u8::to_ascii_lowercase)
            .collect();
        let is_known = |names: &[&str]| names.iter().any(|known| known.as_bytes() == plain);
        NAMES.iter().find(|(_, names)| is_known(names)).map(|&(role, _)| role)
    }
}
