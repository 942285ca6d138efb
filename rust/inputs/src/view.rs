//! The `view` tool of DynamoRIO's drcachesim (drmemtrace): a trace as text, one record a line.
//!
//! ```text
//!        47445       37770:     2765543 ifetch       5 byte(s) @ 0x0000000000404a7e 48 8b ...
//!        47446       37770:     2765543 read         8 byte(s) @ 0x00007fdf64e2adc8 by PC 0x...
//!           55       37771:     2765543 <marker: timestamp 13335...>
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
            let error = ParseError::malformed(number, Self::EXPECTED, line);
            if self.part != Part::Beginning {
                return Err(error);
            }
            self.before.get_or_insert(error);
        }
        Ok(())
    }

    fn is_passed_over(&self, line: &[u8]) -> bool {
        is_no_access(line) || self.part == Part::Results && is_plain_text(line)
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
    let length = words(line).count();
    let is_rule = length == 1 && first.iter().all(|&byte| byte == b'-');
    let second = each.next();
    let is_sum = decimal(first).is_some() && second == Some(b":");
    let is_byte = |word: &[u8]| word.len() == 2 && hexadecimal(word).is_some();
    let is_numbered = length > 3
        && decimal(first).is_some()
        && second.and_then(|word| decimal(word.strip_suffix(b":")?)).is_some()
        && each
            .next()
            .is_some_and(|word| decimal(word.strip_prefix(b"T").unwrap_or(word)).is_some());
    is_rule || is_sum || words(line).all(is_byte) || is_numbered && each.all(is_byte)
}

fn is_plain_text(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}
