//! The `view` tool of DynamoRIO's drcachesim (drmemtrace): a trace as text, one record a line.
//!
//! ```text
//!        47445       37770:     2765543 ifetch       5 byte(s) @ 0x0000000000404a7e 48 8b ...
//!        47446       37770:     2765543 read         8 byte(s) @ 0x00007fdf64e2adc8 by PC 0x...
//!           55       37771:     2765543 <marker: timestamp 13335...>
//! ```
//!
//! Threads are called `2765543`, `T2765543`, `Wn.T2765543` behind the number of a workload, or by a
//! hexadecimal number. Up to version 4 of traces there is one number before them, and an instruction
//! of version 3 has no size:
//!
//! ```text
//!      343: T2538939 read   8 byte(s) @ 0x00007fa9eaf07b70 by PC 0x00007fa9eaed7f52
//! T444096   0x00007f3e83b0b7f2  48 83 45 f0 01       addq   $0x01, -0x10(%rbp)
//! ```
//!
//! What counts is ` N byte(s) @ 0xaddress` and the word before it: `read`, `write` or
//! `ifetch`; prefetches and flushes bring no data to the program and are passed over. Threads
//! are not told apart: their accesses stand in the order of the file.
//!
//! What the program printed before `Output format:` and what other tools print behind
//! `View tool results:` is passed over.
//!
//! Start with [`View`]. Source: DynamoRIO's documentation of drcachesim, and the published
//! samples of its traces. Left out: the binary formats, and what instructions do.

use crate::columns::{AccessKind, Columns};
use crate::error::{ParseError, check_access};
use crate::lines::LineFormat;
use crate::words::{decimal, find, hexadecimal, prefixed, words};

/// The lines of the view tool.
#[derive(Clone, Debug)]
pub struct View {
    keep_instructions: bool,
    /// Where in the file the lines are.
    part: Part,
    /// The first line that is no record, and stands before the head if that comes.
    before: Option<ParseError>,
}

/// A part of what the tool and the program print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Beginning,
    Records,
    Results,
}

impl View {
    /// Returns the format before its first line.
    #[must_use]
    pub fn new(keep_instructions: bool) -> Self {
        View { keep_instructions, part: Part::Beginning, before: None }
    }
}

const BYTES_AT: &[u8] = b" byte(s) @ ";

const WITH_SIZE: &str = "an instruction with its size, 'ifetch 5 byte(s) @ 0x404a7e', which the view \
                         of version 3 does not tell (read it without instructions)";

impl LineFormat for View {
    const LINE_MAX: usize = 4096;

    const EXPECTED: &'static str = "a record such as '2 1: 77 read 8 byte(s) @ 0x00007fdf64e2adc8 by PC \
                                    0x0000000000404a7e', or '<marker: ...>'";

    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        let Some(at) = find(line, BYTES_AT) else {
            return self.other_line(line, number);
        };
        self.begin_records()?;
        let Some((name, size, address)) = access(line, at) else {
            return Err(ParseError::malformed(number, Self::EXPECTED, line));
        };
        let kind = match name {
            b"read" => AccessKind::Load,
            b"write" => AccessKind::Store,
            b"ifetch" => AccessKind::Instruction,
            // Other kinds of records: of caches, not of the program.
            _ if name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte)) => {
                return Ok(());
            }
            _ => return Err(ParseError::malformed(number, Self::EXPECTED, line)),
        };
        check_access(address, size, number, line)?;
        if self.keep_instructions || kind != AccessKind::Instruction {
            out.push_pieces(address, size, kind);
        }
        Ok(())
    }

    fn end(&mut self, _lines: u64) -> Result<(), ParseError> {
        self.begin_records()
    }
}

impl View {
    /// Takes a line without an access.
    fn other_line(&mut self, line: &[u8], number: u64) -> Result<(), ParseError> {
        if line.starts_with(b"Output format:") {
            (self.part, self.before) = (Part::Records, None);
        } else if line.starts_with(b"View tool results:") {
            self.begin_records()?;
            self.part = Part::Results;
        } else if !self.is_passed_over(line) {
            let expected = if is_without_size(line) { WITH_SIZE } else { Self::EXPECTED };
            let error = ParseError::malformed(number, expected, line);
            if self.part != Part::Beginning {
                return Err(error);
            }
            self.before.get_or_insert(error);
        }
        Ok(())
    }

    fn is_passed_over(&self, line: &[u8]) -> bool {
        is_no_access(line)
            || !self.keep_instructions && is_without_size(line)
            || self.part == Part::Results && is_plain_text(line)
    }

    /// Says that no head comes any more, so that what stands before it was no word of the program.
    fn begin_records(&mut self) -> Result<(), ParseError> {
        if self.part == Part::Beginning {
            self.part = Part::Records;
        }
        self.before.take().map_or(Ok(()), Err)
    }
}

/// Returns the word, the size and the address around ` byte(s) @ `.
fn access(line: &[u8], at: usize) -> Option<(&[u8], u64, u64)> {
    let before: Vec<&[u8]> = words(&line[..at]).collect();
    let [.., name, size] = before.as_slice() else {
        return None;
    };
    let address = prefixed(words(&line[at + BYTES_AT.len()..]).next()?)?;
    Some((name, decimal(size)?, address))
}

/// Returns whether a line is a marker, a rule, a sum, or bytes of an instruction that are
/// continued: alone, or behind the numbers of its record.
fn is_no_access(line: &[u8]) -> bool {
    let mut each = words(line);
    let Some(first) = each.next() else {
        return true;
    };
    if find(line, b"<").is_some_and(|open| find(&line[open..], b">").is_some()) {
        return true;
    }
    let is_rule = words(line).count() == 1 && first.iter().all(|&byte| byte == b'-');
    let is_sum = decimal(first).is_some() && each.next() == Some(b":");
    is_rule || is_sum || is_continued(line)
}

/// Returns whether a line holds bytes of an instruction, or words of four bytes, as REGDEPS has
/// them; before them may stand the numbers of its record.
fn is_continued(line: &[u8]) -> bool {
    let is_encoding = |word: &[u8]| is_byte(word) || word.len() == 8 && hexadecimal(word).is_some();
    let is_last_number =
        |word: &[u8]| word.strip_suffix(b":").is_some_and(|number| decimal(number).is_some());
    let mut each = words(line).peekable();
    let Some(first) = each.next() else { return false };
    let is_numbered = is_last_number(first)
        || decimal(first).is_some() && each.next().is_some_and(is_last_number);
    let is_recorded = is_numbered && each.next().is_some_and(is_thread) && each.peek().is_some();
    is_recorded && each.all(is_encoding) || words(line).all(is_byte)
}

fn is_byte(word: &[u8]) -> bool {
    word.len() == 2 && hexadecimal(word).is_some()
}

/// Returns whether a word is the name of a thread: `872894`, `d51be`, `T872894` or `Wn.T872894`.
fn is_thread(word: &[u8]) -> bool {
    let in_workload = word.strip_prefix(b"W").and_then(|rest| {
        let point = rest.iter().position(|&byte| byte == b'.')?;
        decimal(&rest[..point]).map(|_| &rest[point + 1..])
    });
    let name = in_workload.unwrap_or(word);
    hexadecimal(name.strip_prefix(b"T").unwrap_or(name)).is_some()
}

/// Returns whether a line is an instruction as version 3 of traces has it: `T444096  0x7f3e83b0b7f2
/// 48 83 45 f0 01 addq $0x01, -0x10(%rbp)`.
fn is_without_size(line: &[u8]) -> bool {
    let mut each = words(line).peekable();
    let is_named = |word: &&[u8]| word.strip_prefix(b"T").and_then(decimal).is_some();
    each.next_if(is_named);
    each.next().and_then(prefixed).is_some() && each.next().is_some_and(is_byte)
}

fn is_plain_text(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}
