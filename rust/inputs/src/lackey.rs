//! Valgrind lackey: the text that `--tool=lackey --trace-mem=yes` writes.
//!
//! One access a line, address in hexadecimal, size in decimal:
//!
//! ```text
//! ==7715== Command: sort           the tool's own: skipped
//! I  0401ab70,3                    an instruction was fetched
//!  L 1fff000650,8                  load
//!  S 1fff000658,8                  store
//!  M 04033e06,1                    modify: a load, then a store at the same place
//! ```
//!
//! Start with [`LackeyParser`]. Two readers share the work. The quick one takes lines at a
//! fixed distance from the end of the data, eight digits at a time, and declines whatever is
//! not plain. The careful one takes what was declined and what was cut between two pieces, and
//! has the last word; the tests hold the two against each other.
//!
//! The size column has one byte an entry. The few accesses wider than that (saving the
//! state of the vector unit) become neighbours of [`PIECE_SIZE`] bytes.
//!
//! Source: valgrind's manual, chapter Lackey, and recorded output of 3.19. Left out: the
//! counts of the other lackey modes, which stand in the tool's own lines.

use crate::columns::{AccessKind, Columns};
use crate::error::{ParseError, quote};

/// The largest access, in bytes, that is believed; lackey itself stops well below.
pub const ACCESS_SIZE_MAX: u64 = 4096;

/// Bytes of the pieces in which an access of more than 255 bytes is handed on.
pub const PIECE_SIZE: u8 = 128;

/// No access line is longer than this: tag, 16 digits, comma, size, newline, and some air.
const LINE_MAX: usize = 64;

/// The quick reader looks at this many bytes at once, enough for any plain line.
const WINDOW: usize = 32;

/// Bytes before the address: the kind, with its blanks.
const TAG: usize = 3;

/// Reads lackey text in pieces of any size.
///
/// ```
/// use pagemig_inputs::{Columns, LackeyParser};
///
/// let mut parser = LackeyParser::new(false);
/// let mut columns = Columns::default();
/// parser.feed(b" L 1fff000650,8\n S 1fff", &mut columns)?;
/// parser.feed(b"000658,8\n", &mut columns)?;
/// parser.finish(&mut columns)?;
/// assert_eq!(columns.addresses, [0x1f_ff00_0650, 0x1f_ff00_0658]);
/// # Ok::<(), pagemig_inputs::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LackeyParser {
    keep_instructions: bool,
    /// Complete lines so far, the tool's own included.
    lines: u64,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// That line is the tool's own and long: only its newline is still of interest.
    in_tool_line: bool,
    /// What went wrong. It stays wrong.
    failed: Option<ParseError>,
}

/// One line, understood.
#[derive(Clone, Copy)]
struct Record {
    address: u64,
    size: u64,
    kind: AccessKind,
}

impl LackeyParser {
    /// Returns a parser at the beginning of a trace. Instruction fetches are
    /// checked in any case, and handed on only with `keep_instructions`.
    #[must_use]
    pub fn new(keep_instructions: bool) -> Self {
        LackeyParser {
            keep_instructions,
            lines: 0,
            partial: Vec::new(),
            in_tool_line: false,
            failed: None,
        }
    }

    /// Appends the accesses of the lines that `data` completes.
    ///
    /// # Errors
    ///
    /// The first line that is no lackey line. `out` is then as it was before, and this
    /// parser answers everything that follows with the same error.
    pub fn feed(&mut self, data: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let len_before = out.len();
        let outcome = self.read(data, out);
        if let Err(error) = &outcome {
            out.truncate(len_before);
            self.failed = Some(error.clone());
        }
        outcome
    }

    /// Says that no more data comes.
    ///
    /// Every line ends with a newline, so a last line without one was cut: `1fff0006,8` may
    /// be what is left of `1fff0006,80`. It is never guessed at, and nothing is appended.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] if the data ended within a line, and whatever
    /// [`feed`](Self::feed) failed with before.
    pub fn finish(&mut self, _out: &mut Columns) -> Result<(), ParseError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.partial.is_empty() {
            return Ok(());
        }
        let error = ParseError::Truncated { line: self.lines + 1, found: quote(&self.partial) };
        self.failed = Some(error.clone());
        Err(error)
    }

    /// Returns how many complete lines were read, the tool's own included.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn read(&mut self, data: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        let mut rest = self.complete_partial(data, out)?;
        // Lines are seldom shorter than this, so that one reservation is enough.
        out.reserve(rest.len() / 12);
        loop {
            rest = self.read_plain(rest, out);
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                return self.keep_partial(rest);
            };
            let (line, after) = rest.split_at(end);
            self.accept(line, out)?;
            rest = &after[1..];
        }
    }

    /// Finishes the line that an earlier piece began; returns what follows it.
    fn complete_partial<'a>(
        &mut self,
        data: &'a [u8],
        out: &mut Columns,
    ) -> Result<&'a [u8], ParseError> {
        if self.partial.is_empty() {
            return Ok(data);
        }
        let Some(end) = data.iter().position(|&byte| byte == b'\n') else {
            self.keep_partial(data)?;
            return Ok(&[]);
        };
        let (line_rest, after) = data.split_at(end);
        let mut line = std::mem::take(&mut self.partial);
        if !std::mem::take(&mut self.in_tool_line) {
            line.extend_from_slice(line_rest);
        }
        self.accept(&line, out)?;
        line.clear();
        self.partial = line;
        Ok(&after[1..])
    }

    /// Keeps the beginning of a line for later, but never more than a line can be long.
    fn keep_partial(&mut self, data: &[u8]) -> Result<(), ParseError> {
        if self.in_tool_line {
            return Ok(());
        }
        let room = (LINE_MAX + 1).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&data[..data.len().min(room)]);
        if self.partial.len() <= LINE_MAX {
            return Ok(());
        }
        if !is_tool_line(&self.partial) {
            return Err(ParseError::Malformed {
                line: self.lines + 1,
                found: quote(&self.partial),
            });
        }
        self.in_tool_line = true;
        Ok(())
    }

    /// The quick reader: takes plain lines as long as there are any, and returns the rest.
    fn read_plain<'a>(&mut self, data: &'a [u8], out: &mut Columns) -> &'a [u8] {
        let mut at = 0;
        let mut lines = 0;
        while let Some(window) = data[at..].first_chunk::<WINDOW>() {
            let Some((record, len)) = plain_line(window) else {
                break;
            };
            at += len;
            lines += 1;
            if self.keep_instructions || record.kind != AccessKind::Instruction {
                // Plain lines have one or two digits of size.
                out.push(record.address, record.size as u8, record.kind);
            }
        }
        self.lines += lines;
        &data[at..]
    }

    /// The careful reader: takes one whole line, without its newline.
    fn accept(&mut self, line: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        let number = self.lines + 1;
        if !is_tool_line(line) {
            let Some(Record { address, size, kind }) = access_line(line) else {
                return Err(ParseError::Malformed { line: number, found: quote(line) });
            };
            if !(1..=ACCESS_SIZE_MAX).contains(&size) {
                let found = quote(line);
                return Err(ParseError::Size { line: number, max: ACCESS_SIZE_MAX, found });
            }
            if address.checked_add(size - 1).is_none() {
                return Err(ParseError::Wraps { line: number, found: quote(line) });
            }
            if self.keep_instructions || kind != AccessKind::Instruction {
                push_pieces(out, address, size, kind);
            }
        }
        self.lines = number;
        Ok(())
    }
}

/// Appends an access, in pieces if its size does not fit into the column.
fn push_pieces(out: &mut Columns, address: u64, size: u64, kind: AccessKind) {
    if let Ok(size) = u8::try_from(size) {
        out.push(address, size, kind);
        return;
    }
    let mut offset = 0;
    while offset < size {
        let piece = (size - offset).min(u64::from(PIECE_SIZE));
        out.push(address + offset, piece as u8, kind);
        offset += piece;
    }
}

/// Returns whether valgrind itself speaks: `==pid==`, or `--pid--` and `**pid**` for its warnings.
fn is_tool_line(line: &[u8]) -> bool {
    match line {
        [b'=', b'=', ..] => true,
        [b'-', b'-', digit, ..] | [b'*', b'*', digit, ..] => digit.is_ascii_digit(),
        _ => false,
    }
}

/// Returns what the three bytes before an address say.
#[inline]
fn kind_of(tag: [u8; TAG]) -> Option<AccessKind> {
    match &tag {
        b" L " => Some(AccessKind::Load),
        b" S " => Some(AccessKind::Store),
        b" M " => Some(AccessKind::Modify),
        b"I  " => Some(AccessKind::Instruction),
        _ => None,
    }
}

/// Reads one access line of any legal form, digit by digit.
fn access_line(line: &[u8]) -> Option<Record> {
    if line.len() > LINE_MAX {
        return None;
    }
    let (tag, rest) = line.split_first_chunk::<TAG>()?;
    let kind = kind_of(*tag)?;
    let comma = rest.iter().position(|&byte| byte == b',')?;
    let (address_digits, size_digits) = (&rest[..comma], &rest[comma + 1..]);
    if !(1..=16).contains(&address_digits.len()) || !(1..=16).contains(&size_digits.len()) {
        return None;
    }
    let mut address = 0;
    for &digit in address_digits {
        address = address << 4 | u64::from(char::from(digit).to_digit(16)?);
    }
    let mut size = 0;
    for &digit in size_digits {
        size = size * 10 + u64::from(char::from(digit).to_digit(10)?);
    }
    Some(Record { address, size, kind })
}

/// Reads a line as valgrind nearly always writes it: 8 to 16 lower-case digits, a size below 100.
///
/// Returns the access and the length of the line with its newline, or `None` for the careful
/// reader to judge.
#[inline]
fn plain_line(window: &[u8; WINDOW]) -> Option<(Record, usize)> {
    let kind = kind_of([window[0], window[1], window[2]])?;
    let mut address = eight_digits(*window[TAG..].first_chunk::<8>()?)?;
    let mut at = TAG + 8;
    while window[at] != b',' {
        address = address << 4 | hex_digit(window[at])?;
        at += 1;
        if at > TAG + 16 {
            return None;
        }
    }
    let tens = decimal_digit(window[at + 1])?;
    let (size, len) = if window[at + 2] == b'\n' {
        (tens, at + 3)
    } else {
        let ones = decimal_digit(window[at + 2])?;
        if window[at + 3] != b'\n' {
            return None;
        }
        (tens * 10 + ones, at + 4)
    };
    // An access of nothing, or one that might wrap, is not plain.
    if size == 0 || address > u64::MAX - 100 {
        return None;
    }
    Some((Record { address, size, kind }, len))
}

fn decimal_digit(byte: u8) -> Option<u64> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(u64::from(value))
}

fn hex_digit(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'a'..=b'f' => Some(u64::from(byte - b'a' + 10)),
        _ => None,
    }
}

/// Reads eight lower-case hexadecimal digits at once: one byte of a word for each digit.
#[inline]
fn eight_digits(digits: [u8; 8]) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // First digit in the highest byte.
    let word = u64::from_be_bytes(digits);
    if word & HIGH != 0 {
        return None;
    }
    // With every byte below 0x80, adding (0x80 - limit) sets the high bit of those at or above it.
    let from_0 = word + (0x80 - 0x30) * ONES;
    let past_9 = word + (0x80 - 0x3a) * ONES;
    let from_a = word + (0x80 - 0x61) * ONES;
    let past_f = word + (0x80 - 0x67) * ONES;
    let is_letter = from_a & !past_f & HIGH;
    if (from_0 & !past_9 & HIGH) | is_letter != HIGH {
        return None;
    }
    // '0' is 0x30 and 'a' is 0x61: the low four bits, plus 9 for a letter.
    let nibbles = (word & (0x0f * ONES)) + (is_letter >> 7) * 9;
    // Push neighbours together: nibbles to bytes, bytes to pairs, pairs to one word.
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    Some((pairs | pairs >> 16) & 0xffff_ffff)
}
