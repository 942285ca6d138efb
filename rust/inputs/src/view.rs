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
//! Start with [`View`]. Source: DynamoRIO's documentation of drcachesim, and the published
//! samples of its traces. Left out: the binary formats, and what instructions do.

use crate::columns::{AccessKind, Columns};
use crate::error::{ParseError, check_access};
use crate::lines::LineFormat;
use crate::words::{decimal, find, hexadecimal, prefixed, words};

/// The lines of the view tool.
#[derive(Clone, Debug)]
pub struct View {
    /// Whether fetches of instructions are handed on.
    pub keep_instructions: bool,
}

const BYTES_AT: &[u8] = b" byte(s) @ ";

impl LineFormat for View {
    const LINE_MAX: usize = 4096;

    const EXPECTED: &'static str = "a record such as '2 1: 77 read 8 byte(s) @ 0x00007fdf64e2adc8 by PC \
                                    0x0000000000404a7e', or '<marker: ...>'";

    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        let Some(at) = find(line, BYTES_AT) else {
            if is_no_access(line) {
                return Ok(());
            }
            return Err(ParseError::malformed(number, Self::EXPECTED, line));
        };
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

/// Returns whether a line is a marker, the head of the table, a sum, or bytes of an instruction
/// that are continued.
fn is_no_access(line: &[u8]) -> bool {
    let mut each = words(line);
    let Some(first) = each.next() else {
        return true;
    };
    if find(line, b"<").is_some_and(|open| find(&line[open..], b">").is_some()) {
        return true;
    }
    if line.starts_with(b"Output format:") || line.starts_with(b"View tool results:") {
        return true;
    }
    let is_rule = words(line).count() == 1 && first.iter().all(|&byte| byte == b'-');
    let is_sum = decimal(first).is_some() && each.next() == Some(b":");
    let is_byte = |word: &[u8]| word.len() == 2 && hexadecimal(word).is_some();
    is_rule || is_sum || words(line).all(is_byte)
}
