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
//! physical address (`-F event,phys_addr`), and nothing tells. A weight (`-F event,weight`) is
//! told by being small: what no source of data follows must be an address that can be mapped.
//!
//! Start with [`said_behind`]. Next door: `perf`, which finds the event, and `perf_operation`.

use crate::columns::AccessKind;
use crate::perf_operation::{Source, is_fault};
use crate::words::{find, hexadecimal, prefixed, spans, words};

const NO_ADDRESS: &str = "an address of data behind the event \
                          (perf record -d, then perf script -F comm,tid,time,event,addr)";

const INSTRUCTION: &str = "the address of the data, not that of the instruction \
                           (perf record -d, then perf script -F comm,tid,time,event,addr)";

const UNSURE: &str = "the address of the data in a column of 16, as perf writes it: this may be that of the \
                      instruction (perf script -F comm,tid,time,event,addr)";

pub(crate) const WEIGHT: &str = "the address of the data: below 4096 nothing is mapped, and this looks like a \
                                 weight (perf script -F comm,tid,time,event,addr, or with data_src behind \
                                 addr, which tells)";

const FAULT: &str = "'address=0x7fdb20c40e06 ip=... error_code=0x6' of a page fault's tracepoint \
                     (perf script -F comm,tid,time,event,trace)";

/// What a sample says.
pub(crate) struct Said<'a> {
    /// The address of the data; 0 if nobody knew it.
    pub(crate) address: u64,
    /// What a page fault's error code says that was done.
    pub(crate) fault: Option<AccessKind>,
    /// Where the data came from, if that was printed.
    pub(crate) source: Option<Source<'a>>,
    /// What the address looks like.
    pub(crate) number: Number,
}

/// What a number may be that stands where the address does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// Nothing but an address: it has a letter, or is too long for a weight.
    Address,
    /// Too small for memory that is mapped, as weights are.
    Weight,
    /// Taken for an address: it is as large as one.
    Either,
}

/// Nothing is mapped below: the kernel keeps the first page free, so that null pointers fault.
const MAPPED_MIN: u64 = 4096;

/// Returns what the text behind the colon of an event says; what would be right, if it says nothing.
pub(crate) fn said_behind<'a>(event: &[u8], rest: &'a [u8]) -> Result<Said<'a>, &'static str> {
    let is_tracepoint = |name: &[u8]| name == b"page_fault_user" || name == b"page_fault_kernel";
    if event.split(|&byte| byte == b':').any(is_tracepoint) {
        return fault(rest).ok_or(FAULT);
    }
    let Some((start, word)) = spans(rest).next() else { return Err(NO_ADDRESS) };
    let address = hexadecimal(word).ok_or(NO_ADDRESS)?;
    let source = Source::find(rest);
    if source.as_ref().is_some_and(|source| source.start == start) {
        // The number of the source itself: its field comes without `addr`.
        return Err(NO_ADDRESS);
    }
    let end = start + word.len();
    match column(end) {
        Column::Data => {}
        Column::Instruction => return Err(INSTRUCTION),
        Column::Unknown if is_surely_data(end, rest, source.as_ref()) => {}
        Column::Unknown => return Err(UNSURE),
    }
    let number = if source.is_some() { Number::Address } else { number(event, word, address) };
    Ok(Said { address, fault: None, source, number })
}

/// Returns what a number may be that no source follows. A fault may be at any address.
fn number(event: &[u8], word: &[u8], address: u64) -> Number {
    /// Digits of the longest weight: cycles that one access took.
    const WEIGHT_MAX: usize = 8;
    if word.len() > WEIGHT_MAX || word.iter().any(u8::is_ascii_alphabetic) {
        Number::Address
    } else if (1..MAPPED_MIN).contains(&address) && !is_fault(event) {
        Number::Weight
    } else {
        Number::Either
    }
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
fn is_surely_data(end: usize, rest: &[u8], source: Option<&Source<'_>>) -> bool {
    let next = spans(&rest[end..]).next();
    next.is_none_or(|(start, _)| source.is_some_and(|source| source.start == end + start))
}

/// Returns what the tracepoint of a page fault says.
///
/// On x86 bit 1 of the error code is a write, bit 4 a fetch of an instruction. RISC-V puts words
/// before the address, and numbers its causes.
fn fault(rest: &[u8]) -> Option<Said<'static>> {
    let value = |name: &[u8]| {
        let after = &rest[find(rest, name)? + name.len()..];
        prefixed(words(after).next()?)
    };
    let kind = match (value(b" error_code="), value(b" cause=")) {
        (Some(code), None) if code & 1 << 4 != 0 => AccessKind::Instruction,
        (Some(code), None) if code & 1 << 1 != 0 => AccessKind::Store,
        (Some(_), None) => AccessKind::Load,
        (None, Some(12)) => AccessKind::Instruction,
        (None, Some(13)) => AccessKind::Load,
        (None, Some(15)) => AccessKind::Store,
        _ => return None,
    };
    let address = value(b" address=")?;
    Some(Said { address, fault: Some(kind), source: None, number: Number::Address })
}
