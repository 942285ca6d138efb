//! `perf script`: samples of accesses as text, one a line.
//!
//! ```text
//! sort 4242 22228.683330:  1 cpu/mem-loads,ldlat=30/P:     7f24b4272110  68100142 |OP LOAD|...
//! sort 4242/4242 [003] 22228.683330: page-faults:     564102210424 ...
//! sort 4242 [003] 22228.683330: exceptions:page_fault_user: address=0x564102210424 ip=... error_code=0x6
//! ```
//!
//! What counts is the name of the event, which ends with a colon, and the number after it: the
//! address that was accessed (`-F ...,event,addr`), in hexadecimal. Without the field `addr` the
//! instruction's address stands there, which is refused (`perf_address`). Whether it was a store
//! is read off the source of the data (`perf_operation`), if it is there, off the error code
//! of a page fault's tracepoint, or off the event's name. A sample tells no size: it counts as
//! one byte. Address 0 means that the hardware knew none; such samples are passed over, as are
//! prefetches, branches, what Arm's extension says again (`perf_groups`), comments, blank lines,
//! call chains, lines of source and records of other kinds (`PERF_RECORD_MMAP2`).
//!
//! Start with [`Perf`]. Source: perf-script(1), perf-mem(1), the format of the tracepoints in
//! tracefs, and output recorded with perf 6.1.
//! Left out: physical addresses, weights, and whose sample it is.

use crate::columns::{AccessKind, Columns};
use crate::error::ParseError;
use crate::lines::LineFormat;
use crate::perf_address::{Number, Said, WEIGHT, said_behind};
use crate::perf_groups::Groups;
use crate::perf_operation::kind_of;
use crate::words::{hexadecimal, spans, words};

/// The lines of `perf script`.
#[derive(Clone, Debug)]
pub struct Perf {
    keep_instructions: bool,
    groups: Groups,
    /// The events of which an address was seen that can be nothing else, and so is the column.
    addressed: Vec<Vec<u8>>,
}

/// The most events that are kept in mind.
const EVENTS_MAX: usize = 16;

const AMBIGUOUS: &str = "a line whose event can be told from the name of the program \
                         (perf script -F tid,time,event,addr)";

/// Bytes of the longest name of a program.
const COMM_MAX: usize = 15;

impl LineFormat for Perf {
    const LINE_MAX: usize = 64 << 10;

    const EXPECTED: &'static str = "a sample such as 'sort 4242 22228.683330: cpu/mem-loads/P: 7f24b4272110' \
         (perf script -F comm,tid,time,event,addr)";

    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        if is_call(line) || is_comment(line) {
            return Ok(());
        }
        let refused = |expected| ParseError::malformed(number, expected, line);
        match placed(line) {
            Line::Sample { event, rest } => {
                let said = said_behind(event, rest).map_err(refused)?;
                if !self.is_column_of_addresses(event, said.number) {
                    return Err(refused(WEIGHT));
                }
                if let Some(kind) = self.wanted(event, &said) {
                    let head = &line[..line.len() - rest.len() - event.len() - 1];
                    if !self.groups.is_told_again(head, event, said.address) {
                        out.push(said.address, 1, kind);
                    }
                }
                Ok(())
            }
            Line::Silent => Ok(()),
            Line::Ambiguous => Err(refused(AMBIGUOUS)),
            Line::Other if matches!(line.first(), Some(b'#' | b'\t')) => Ok(()),
            Line::Other => Err(refused(Self::EXPECTED)),
        }
    }
}

impl Perf {
    /// Returns the format before its first line.
    #[must_use]
    pub fn new(keep_instructions: bool) -> Self {
        Perf { keep_instructions, groups: Groups::default(), addressed: Vec::new() }
    }

    /// Returns whether a number is believed to be an address, as it looks like one or stands where
    /// one stood before.
    fn is_column_of_addresses(&mut self, event: &[u8], number: Number) -> bool {
        let is_known = || self.addressed.iter().any(|known| known == event);
        match number {
            Number::Either => true,
            Number::Weight => is_known(),
            Number::Address => {
                if self.addressed.len() < EVENTS_MAX && !is_known() {
                    self.addressed.push(event.to_vec());
                }
                true
            }
        }
    }

    /// Returns what a sample did, `None` if it was no access of the program that is asked for.
    fn wanted(&self, event: &[u8], said: &Said<'_>) -> Option<AccessKind> {
        let kind = match said.fault {
            Some(kind) => kind,
            None => kind_of(event, said.source.as_ref())?,
        };
        let is_wanted = kind != AccessKind::Instruction || self.keep_instructions;
        (said.address != 0 && is_wanted).then_some(kind)
    }
}

/// What a line is.
enum Line<'a> {
    /// A sample: the name of its event, and everything behind the colon.
    Sample { event: &'a [u8], rest: &'a [u8] },
    /// It tells of no access.
    Silent,
    /// A part of the program's name could be the event as well.
    Ambiguous,
    /// None of the above.
    Other,
}

/// Finds the event of a line.
///
/// A name of a program may hold blanks, colons and numbers. It comes first and has at most 15
/// bytes, so an event that begins behind them is the event. One that begins within is believed
/// only if no other word of the line could be it. The event follows the time, if there is one.
fn placed(line: &[u8]) -> Line<'_> {
    let (mut timed, mut waiting) = (None, false);
    let mut untimed = None;
    let mut is_after_time = false;
    for (start, word) in spans(line) {
        if word.len() > COMM_MAX && word.starts_with(b"PERF_RECORD_") {
            return match (is_after_time, timed.or(untimed)) {
                (false, Some(_)) => Line::Ambiguous,
                _ => Line::Silent,
            };
        }
        is_after_time = false;
        let Some(event) = word.strip_suffix(b":").filter(|event| !event.is_empty()) else {
            continue;
        };
        if is_time(event) {
            (waiting, is_after_time) = (true, true);
            continue;
        }
        let rest = &line[start + word.len()..];
        let is_first = timed.is_none() && untimed.is_none();
        if !is_followed(rest) && (start <= COMM_MAX || !is_first) {
            continue;
        }
        let found = if waiting || timed.is_some() { &mut timed } else { &mut untimed };
        if found.replace((event, rest)).is_some() {
            return Line::Ambiguous;
        }
        if start > COMM_MAX {
            break;
        }
        waiting = false;
    }
    match timed.or(untimed.filter(|_| !waiting)) {
        Some((event, rest)) => Line::Sample { event, rest },
        None if is_place_in_source(line) => Line::Silent,
        None => Line::Other,
    }
}

/// Returns whether what could be an address, or nothing at all, follows.
fn is_followed(rest: &[u8]) -> bool {
    const FAULTS: [&[u8]; 3] = [b"address=", b"user page fault, ", b"kernel page fault, "];
    let rest = rest.trim_ascii_start();
    words(rest).next().is_none_or(|word| hexadecimal(word).is_some())
        || FAULTS.iter().any(|fault| rest.starts_with(fault))
}

/// Returns whether a word without its colon is the time of a sample, `22228.683330`.
fn is_time(word: &[u8]) -> bool {
    let Some(point) = word.iter().position(|&byte| byte == b'.') else { return false };
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number(&word[..point]) && is_number(&word[point + 1..])
}

/// Returns whether a line is a comment: perf's own have a blank behind the `#`, and tell no time.
/// Some programs are called so, too.
fn is_comment(line: &[u8]) -> bool {
    let has_time = || words(line).any(|word| word.strip_suffix(b":").is_some_and(is_time));
    line == b"#" || (line.starts_with(b"# ") && !has_time())
}

/// Returns whether a line is one of a call chain: a tab, and 16 columns with an address.
fn is_call(line: &[u8]) -> bool {
    const END: usize = 17;
    let Some(column) = line.get(1..END).filter(|_| line[0] == b'\t') else { return false };
    let is_address = words(column).next().is_some_and(|word| column.ends_with(word));
    is_address
        && hexadecimal(column.trim_ascii_start()).is_some()
        && line.get(END).is_none_or(|&byte| byte == b' ')
}

/// Returns whether a line tells where in the source the instruction above is: `  wait4.c:30`, or
/// `  libc.so.6[26270]` where nobody knows.
fn is_place_in_source(line: &[u8]) -> bool {
    let Some(place) = line.strip_prefix(b"  ").filter(|rest| !rest.starts_with(b" ")) else {
        return words(line).next().is_none();
    };
    let by_line = place.rsplit(|&byte| byte == b':').next();
    let in_file =
        place.strip_suffix(b"]").and_then(|rest| rest.rsplit(|&byte| byte == b'[').next());
    let is_line =
        |digits: &[u8]| digits.len() < place.len() && digits.iter().all(u8::is_ascii_digit);
    place.is_empty()
        || by_line.is_some_and(|digits| !digits.is_empty() && is_line(digits))
        || in_file
            .is_some_and(|offset| offset.len() + 2 < place.len() && hexadecimal(offset).is_some())
}
