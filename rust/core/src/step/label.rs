//! The names of steps, as the specification gives them.

/// A step of the specification: `UM-9` is step 9 of `unmap_and_move`. Steps of
/// `supporting-paths.md`, which have no prefix there, are `SP` with section and step:
/// `SP2.4-5` is step 5 of section 2.4.
pub type Label = &'static str;

/// How a list of labels is kept in a snapshot: as text, looked up again.
pub(crate) mod kept {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{LABELS, Label};

    /// What stands where there is no step.
    const OTHERS: [Label; 2] = ["", "end"];

    pub(crate) fn serialize<S: Serializer>(labels: &[Label], to: S) -> Result<S::Ok, S::Error> {
        labels.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Label>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| find(name).map_err(D::Error::custom)).collect()
    }

    fn find(name: &str) -> Result<Label, String> {
        let known = LABELS.iter().chain(&OTHERS).find(|label| **label == name);
        known.copied().ok_or_else(|| format!("there is no step {name:?}"))
    }

    /// The same for one label.
    pub(crate) mod one {
        use super::{Deserialize, Deserializer, Error, Label, Serialize, Serializer, find};

        pub(crate) fn serialize<S: Serializer>(label: &Label, to: S) -> Result<S::Ok, S::Error> {
            label.serialize(to)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Label, D::Error> {
            find(&String::deserialize(from)?).map_err(D::Error::custom)
        }
    }
}

/// Every label that a phase carries, in the order of the specification.
pub const LABELS: &[Label] = &[
    "PB-1",
    "PB-2",
    "PB-3",
    "PB-4", //
    "RP-1",
    "RP-2",
    "RP-3",
    "RP-4",
    "RP-5",
    "RP-6",
    "RP-7",
    "RP-8",
    "RP-9",
    "RP-10", //
    "EW-1",
    "EW-2",
    "EW-3",
    "EW-4",
    "EW-5",
    "EW-6",
    "EW-7", //
    "MM-1",
    "MM-2",
    "MM-3",
    "MM-4",
    "MM-5",
    "MM-6",
    "MM-7",
    "MM-8",
    "MM-9",
    "MM-10",
    "MM-11", //
    "MC-1",
    "MC-2",
    "MC-3",
    "MC-4",
    "MC-5",
    "MC-6",
    "MC-7",
    "MC-8",
    "MC-9",
    "MC-10", //
    "MG-1",
    "MG-2",
    "MG-3",
    "MG-4", //
    "BM-1",
    "BM-2",
    "BM-3",
    "BM-4",
    "BM-5",
    "BM-6",
    "BM-7",
    "BM-8",
    "BM-9", //
    "WO-1",
    "WO-2",
    "WO-3",
    "WO-4",
    "WO-5",
    "WO-6", //
    "FB-1",
    "FB-2",
    "FB-3", //
    "MN-1",
    "MN-2",
    "MN-3",
    "MN-4",
    "MN-5", //
    "UM-1",
    "UM-2",
    "UM-3",
    "UM-4",
    "UM-5",
    "UM-6",
    "UM-7",
    "UM-8",
    "UM-9",
    "UM-10",
    "UM-11",
    "UM-12",
    "UM-14",
    "UM-15",
    "UM-16",
    "UM-17",
    "UM-18", //
    "MP-1",
    "MP-2",
    "MP-3",
    "MP-4",
    "MP-5",
    "MP-6", //
    "NP-1",
    "NP-2",
    "NP-3",
    "NP-4", //
    "DM-1",
    "DM-2",
    "DM-3",
    "DM-4", //
    "DP-1",
    "DP-2",
    "DP-3",
    "DP-4",
    "DP-5",
    "DP-6",
    "DP-7", //
    "PS-1",
    "PS-2",
    "PS-3", //
    "MV-8", //
    "SY5.3-1",
    "SY5.3-2",
    "SY5.3-3",
    "SY5.3-5",
    "SY5.3-6",
    "SY5.4-1", //
    "SY6.1-10",
    "SY6.1-11",
    "SY6.2-12",
    "SY6.2-13",
    "SY6.2-14",
    "SY6.2-15", //
    "SY7-1",
    "SY7-2",
    "SY7-3",
    "SY7-4",
    "SY7-5a",
    "SY7-5b",
    "SY7-5c",
    "SY7-5d",
    "SY7-5d-putback",
    "SY7-5d-yield",
    "SY7-6",
    "SY7-7",
    "SY7-8",
    "SY7-9",
    "SY7-fail", //
    "SY8-get",
    "SY8-lru",
    "SY8-shake",
    "SY8-lock",
    "SY8-writeback",
    "SY8-invalidate",
    "SY8-isolate", //
    "SP2-access",
    "SP2-fault",
    "SP2.2-read",
    "SP2.2-write",
    "SP2.2-install", //
    "SP2.3-3",
    "SP2.3-3-mkwrite",
    "SP2.3-4",
    "SP2.3-5", //
    "SP2.4-1",
    "SP2.4-2",
    "SP2.4-3",
    "SP2.4-3-compare",
    "SP2.4-4",
    "SP2.4-4-dirty",
    "SP2.4-5",
    "SP2.4-5-mlocked",
    "SP2.4-5-install", //
    "SP2.3-1",
    "SP2.3-1-lock",
    "SP2.3-1-allocate",
    "SP2.3-1-read", //
    "SP3-start",
    "SP3-link",
    "SP3-copy",
    "SP3-end", //
    "SP5-walk",
    "SP5-1",
    "SP5-2",
    "SP5-3",
    "SP5-4",
    "SP5-5", //
    "SP6-munmap",
    "SP6-munlock",
    "SP6-detach",
    "SP6-zap",
    "SP6-release",
    "SP6-free",
    "SP6-mprotect",
    "SP6-change",
    "SP6-mremap",
    "SP6-move",
    "SP6-carry",
    "SP6-madvise",
    "SP6-unmap-file",
    "SP6-exit",
    "SP6-exit-mmap",
    "SP6-gone", //
    "SP7-add",
    "SP7-read",
    "SP7-read-copy",
    "SP7-write",
    "SP7-write-copy", //
    "SP8-size",
    "SP8-pass1",
    "SP8-lock",
    "SP8-page",
    "SP8-release",
    "SP8-partial",
    "SP8-partial-writeback",
    "SP8-pass2",
    "SP8-writeback",
    "SP8-swap",
    "SP8-invalidate", //
    "SP9-1",
    "SP9-2",
    "SP9-3",
    "SP9-4",
    "SP9-5",
    "SP9-lock", //
    "SP10-write",
    "SP10-clean",
    "SP10-writepage",
    "SP10-complete", //
    "SP11-allocate",
    "SP11-read",
    "SP11-lock",
    "SP11-writeback",
    "SP11-back", //
    "SP15-drain",
    "SP15-mlock",
    "SP15-page",
    "SP15-munlock",
    "SP15-search", //
    "SP16-scan",
    "SP16-follow",
    "SP16-search",
    "SP16-fetch",
    "SP16-lock",
    "SP16-protect",
    "SP16-replace",
    "SP16-munlock",
    "SP16-mlock",
    "SP16-append",
    "SP16-insert",
    "SP16-break",
    "SP16-leave",
    "SP16-unmerge", //
    "SP17-follow",
    "SP17-unpin", //
    "SP18-check",
    "SP18-1-union",
    "SP18-1-new",
    "SP18-2",
    "SP18-3", //
    "SP2.5-2-read",
    "SP2.5-2-failed",
    "SP2.5-3",
    "SP2.5-4",
    "SP2.5-5",
    "SP2.5-6",
    "SP2.5-7", //
    "SP12-drain",
    "SP12-scan",
    "SP12-isolate",
    "SP12-lock",
    "SP12-references",
    "SP12-add-to-swap",
    "SP12-pageout",
    "SP12-relock",
    "SP12-release",
    "SP12-freeze",
    "SP12-remove",
    "SP12-wait",
    "SP12-putback", //
    "PREP-1",
    "MF-isolate",
];

/// Whether some phase carries `label`.
pub fn is_label(label: &str) -> bool {
    LABELS.contains(&label)
}
