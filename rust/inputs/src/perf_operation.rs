//! What the instruction of a sample did: by the source of its data, or else by its event's name.
//!
//! The field `data_src` is a number and what it means in words. Up to some version 5.18, perf left
//! the operation out of the words, but the number has it.
//!
//! ```text
//! 68100144 |OP STORE|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No
//! 68100144 L1 hit|SNP None|TLB L1 or L2 hit|LCK No
//! ```
//!
//! Start with [`kind_of`]. Source: perf_event_open(2), `PERF_MEM_OP_*`, and perf-script(1).
//! Next door: `perf_address`, which tells this number from an address.

use crate::columns::AccessKind;
use crate::words::{find, hexadecimal, spans};

/// The source of the data of a sample.
pub(crate) struct Source<'a> {
    /// Where its number begins in the text behind the event.
    pub(crate) start: usize,
    told: Told<'a>,
}

/// How a source tells the operation.
enum Told<'a> {
    Words(&'a [u8]),
    Number(u64),
}

/// What is known of an operation.
#[derive(Clone, Copy)]
enum Operation {
    Access(AccessKind),
    /// It brings no data to the program: a prefetch, a branch.
    NoAccess,
    Unknown,
}

impl<'a> Source<'a> {
    /// Returns the source in the text behind an event, if there is one.
    pub(crate) fn find(rest: &'a [u8]) -> Option<Source<'a>> {
        const OPERATION: &[u8] = b"OP ";
        const SNOOP: &[u8] = b"SNP ";
        let mut from = 0;
        loop {
            let bar = from + rest[from..].iter().position(|&byte| byte == b'|')?;
            let (before, after) = (&rest[..bar], &rest[bar + 1..]);
            if let Some(told) = after.strip_prefix(OPERATION) {
                let word = before.trim_ascii_end();
                let start = word.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
                let end = told.iter().position(|&byte| byte == b'|').unwrap_or(told.len());
                return Some(Source { start, told: Told::Words(&told[..end]) });
            }
            if after.starts_with(SNOOP) {
                // Before it stands a level, of which no word is a number: `L1 hit|SNP None`.
                let numbers =
                    spans(before).filter_map(|(start, word)| Some((start, hexadecimal(word)?)));
                let (start, number) = numbers.last()?;
                return Some(Source { start, told: Told::Number(number) });
            }
            from = bar + 1;
        }
    }

    fn operation(&self) -> Operation {
        if self.is(1 << 2, b"STORE") {
            Operation::Access(AccessKind::Store)
        } else if self.is(1 << 1, b"LOAD") {
            Operation::Access(AccessKind::Load)
        } else if self.is(1 << 4, b"EXEC") {
            Operation::Access(AccessKind::Instruction)
        } else if self.is(1 << 3, b"PFETCH") {
            Operation::NoAccess
        } else {
            Operation::Unknown
        }
    }

    /// Returns whether the operation is one, by its word or by its bit of the number.
    fn is(&self, bit: u64, name: &[u8]) -> bool {
        match self.told {
            Told::Words(words) => find(words, name).is_some(),
            Told::Number(number) => number & bit != 0,
        }
    }
}

/// Returns what a sample did; `None` for what is no access of the program to data or code.
///
/// Where neither tells it is a load, unless the source says that the operation is none: so the
/// hardware marks instructions that touch no memory.
pub(crate) fn kind_of(event: &[u8], source: Option<&Source<'_>>) -> Option<AccessKind> {
    let by_source = source.map_or(Operation::Unknown, Source::operation);
    let operation = match by_source {
        Operation::Unknown => named(event),
        known => known,
    };
    match operation {
        Operation::Access(kind) => Some(kind),
        Operation::NoAccess => None,
        Operation::Unknown => source.is_none().then_some(AccessKind::Load),
    }
}

/// Returns what the name of an event tells.
fn named(event: &[u8]) -> Operation {
    if let Some(watched) = event.strip_prefix(b"mem:") {
        // A watchpoint: mem:0x404040/8:w:u.
        let modes = watched.split(|&byte| byte == b':').nth(1).unwrap_or_default();
        return Operation::Access(match modes {
            b"w" => AccessKind::Store,
            b"x" => AccessKind::Instruction,
            _ => AccessKind::Load,
        });
    }
    let name = event.to_ascii_lowercase();
    let has = |part: &[u8]| find(&name, part).is_some();
    // What keeps a load waiting may be called after the store that it waits for.
    let is_load = has(b"load") || has(b"ld_blocks") || has(b"store_forward");
    if name.starts_with(b"branch") {
        // Its address is where it goes.
        Operation::NoAccess
    } else if has(b"store") && !is_load {
        Operation::Access(AccessKind::Store)
    } else if is_load || is_fault(event) {
        Operation::Access(AccessKind::Load)
    } else {
        Operation::Unknown
    }
}

/// Returns whether an event is one of page faults, `minor-faults:u`, which do not tell loads from
/// stores and count as loads.
pub(crate) fn is_fault(event: &[u8]) -> bool {
    find(event, b"fault").is_some()
}
