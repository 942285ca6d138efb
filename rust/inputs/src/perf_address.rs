//! What follows the name of an event in `perf script`: the data's address, or the instruction's.
//!
//! perf writes both as bare hexadecimal numbers. They are told apart by where they end: each is
//! 16 columns wide, and the instruction's has a blank more before it.
//!
//! ```text
//! page-faults:     7fd5ac544024                    -F event,addr
//! page-faults:      7fd668faf670 malloc+0x147      -F event,ip,sym
//! ```
//!
//! Without the field `addr` other fields stand in the same column: a number alone may be a
//! physical address or a weight (`-F event,phys_addr`), and nothing tells.
//!
//! Start with [`said_behind`]. Next door: `perf`, which finds the event.

use crate::columns::AccessKind;
use crate::words::{find, hexadecimal, prefixed, spans, words};

const NO_ADDRESS: &str = "an address of data behind the event \
                          (perf record -d, then perf script -F comm,tid,time,event,addr)";

const INSTRUCTION: &str = "the address of the data, not that of the instruction \
                           (perf record -d, then perf script -F comm,tid,time,event,addr)";

const UNSURE: &str = "the address of the data in a column of 16, as perf writes it: this may be that of the \
                      instruction (perf script -F comm,tid,time,event,addr)";

const FAULT: &str = "'address=0x7fdb20c40e06 ip=... error_code=0x6' of a page fault's tracepoint \
                     (perf script -F comm,tid,time,event,trace)";

/// What a sample says.
pub(crate) struct Said {
    /// The address of the data; 0 if nobody knew it.
    pub(crate) address: u64,
    /// What a page fault's error code says that was done.
    pub(crate) fault: Option<AccessKind>,
}

/// Returns what the text behind the colon of an event says; what would be right, if it says nothing.
pub(crate) fn said_behind(event: &[u8], rest: &[u8]) -> Result<Said, &'static str> {
    let is_fault = |name: &[u8]| name == b"page_fault_user" || name == b"page_fault_kernel";
    if event.split(|&byte| byte == b':').any(is_fault) {
        return fault(rest).ok_or(FAULT);
    }
    let Some((start, word)) = spans(rest).next() else { return Err(NO_ADDRESS) };
    let address = hexadecimal(word).ok_or(NO_ADDRESS)?;
    let end = start + word.len();
    if words(&rest[end..]).next().is_some_and(is_source) {
        // The number of the source itself: its field comes without `addr`.
        return Err(NO_ADDRESS);
    }
    match column(end) {
        Column::Data => {}
        Column::Instruction => return Err(INSTRUCTION),
        Column::Unknown if is_surely_data(&rest[end..]) => {}
        Column::Unknown => return Err(UNSURE),
    }
    Ok(Said { address, fault: None })
}

/// What stands in a column.
enum Column {
    Data,
    Instruction,
    Unknown,
}

/// Returns what a number is that ends so many columns behind the event's colon.
fn column(end: usize) -> Column {
    /// A blank, and the number.
    const DATA: usize = 17;
    /// What the field `flags` takes, which stands before it.
    const FLAGS: usize = 24;
    match end {
        _ if end == DATA || end == DATA + FLAGS => Column::Data,
        _ if end == DATA + 1 || end == DATA + 1 + FLAGS => Column::Instruction,
        _ => Column::Unknown,
    }
}

/// Returns whether what follows a number that is in no known column, say because somebody took out
/// blanks, follows only the address of data: nothing, or the source of the data and its number.
fn is_surely_data(after: &[u8]) -> bool {
    let mut each = words(after);
    each.next().is_none_or(|word| hexadecimal(word).is_some() && each.next().is_some_and(is_source))
}

/// Returns whether a word begins the source of the data, `|OP LOAD|LVL L1 hit`.
fn is_source(word: &[u8]) -> bool {
    word.starts_with(b"|")
}

/// Returns what the tracepoint of a page fault says. Bit 1 of the error code is a write, bit 4 a
/// fetch of an instruction.
fn fault(rest: &[u8]) -> Option<Said> {
    const CODE: &[u8] = b" error_code=";
    let address = prefixed(words(rest).next()?.strip_prefix(b"address=")?)?;
    let code = prefixed(words(&rest[find(rest, CODE)? + CODE.len()..]).next()?)?;
    let kind = match (code & 1 << 4, code & 1 << 1) {
        (0, 0) => AccessKind::Load,
        (0, _) => AccessKind::Store,
        _ => AccessKind::Instruction,
    };
    Some(Said { address, fault: Some(kind) })
}
