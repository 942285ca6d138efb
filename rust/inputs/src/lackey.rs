//! Valgrind lackey: the text that `--tool=lackey --trace-mem=yes` writes.
//!
//! One access a line, address in hexadecimal, size in decimal:
//!
//! ```text
//! ==7715== Command: sort           the tool's own: skipped
//! SB 0401ab70                      a superblock begins (--trace-superblocks): skipped
//! SYSCALL[7715,1](12) sys_brk ...  a system call (--trace-syscalls): skipped
//! I  0401ab70,3                    an instruction was fetched
//!  L 1fff000650,8                  load
//!  S 1fff000658,8                  store
//!  M 04033e06,1                    modify: a load, then a store at the same place
//! ```
//!
//! Start with [`LackeyParser`]; [`lines`](crate::lines) joins what was cut. Two readers share the work. The quick one takes lines at a
//! fixed distance from the end of the data, eight digits at a time, and declines whatever is
//! not plain. The careful one takes what was declined and what was cut between two pieces, and
//! has the last word; the tests hold the two against each other.
//!
//! Source: valgrind's manual, chapter Lackey, and recorded output of 3.19. Left out: the
//! counts of the other lackey modes, which stand in the tool's own lines.

use crate::columns::{AccessKind, Columns};
use crate::error::{ParseError, check_access};
use crate::lines::{LineFormat, LineParser};
use crate::words::{decimal, hexadecimal};

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
pub type LackeyParser = LineParser<Lackey>;

/// The lines of lackey.
#[derive(Clone, Debug)]
pub struct Lackey {
    keep_instructions: bool,
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
        LineParser::of(Lackey { keep_instructions })
    }
}

impl LineFormat for Lackey {
    // Tag, 16 digits, comma, size, and some air.
    const LINE_MAX: usize = 64;

    const EXPECTED: &'static str = "' L addr,size' (or ' S', ' M', 'I ', or the tool's own '==')";

    /// The quick reader.
    fn quick(&mut self, data: &[u8], out: &mut Columns) -> (u64, usize) {
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
        (lines, at)
    }

    /// The careful reader.
    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        if is_tool_line(line) {
            return Ok(());
        }
        let Some(Record { address, size, kind }) = access_line(line) else {
            return Err(ParseError::malformed(number, Self::EXPECTED, line));
        };
        check_access(address, size, number, line)?;
        if self.keep_instructions || kind != AccessKind::Instruction {
            out.push_pieces(address, size, kind);
        }
        Ok(())
    }

    fn may_be_long(&self, beginning: &[u8]) -> bool {
        is_tool_line(beginning)
    }

    /// A line that is cut before its size has none. Of a size itself one digit may be missing,
    /// which changes the size of one access: that is worth reading files that people shortened.
    fn is_whole(&self, line: &[u8]) -> bool {
        is_tool_line(line) || access_line(line).is_some()
    }
}

/// Returns whether valgrind itself speaks: `==pid==`, or `--pid--` and `**pid**` for its warnings,
/// or which superblock begins or which system call is made.
fn is_tool_line(line: &[u8]) -> bool {
    match line {
        [b'=', b'=', ..] => true,
        [b'S', b'B', b' ', address @ ..] => hexadecimal(address).is_some(),
        [b'S', b'Y', b'S', b'C', b'A', b'L', b'L', b'[', digit, ..] => digit.is_ascii_digit(),
        // What came of a system call, if a warning stands between.
        [b' ', b'-', b'-', b'>', b' ', b'[', ..] => true,
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
    let (kind, rest) = match line {
        // Books and lectures print one blank.
        [b'I', b' ', rest @ ..] if !rest.starts_with(b" ") => (AccessKind::Instruction, rest),
        _ => {
            line.split_first_chunk::<TAG>().and_then(|(tag, rest)| Some((kind_of(*tag)?, rest)))?
        }
    };
    let comma = rest.iter().position(|&byte| byte == b',')?;
    let address = hexadecimal(&rest[..comma])?;
    let size = decimal(&rest[comma + 1..])?;
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
