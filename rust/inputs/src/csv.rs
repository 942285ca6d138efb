//! Comma-separated values: a table of accesses with a first line that names its columns.
//!
//! ```text
//! address,size,kind
//! 0x1fff000650,8,load
//! ```
//!
//! | column | also called | holds | without it |
//! |---|---|---|---|
//! | `address` | `addr`, `vaddr` | decimal, or hexadecimal behind `0x` | an error |
//! | `size` | `bytes` | 1 to 4096 | 1 |
//! | `kind` | `type`, `op`, `rw` | load, store, modify, instruction; or their first letters; or read, write, fetch; or 0 to 3 | see next |
//! | `write` | `is_write`, `store` | 0, 1, true, false | loads |
//!
//! Columns may stand in any order, others are passed over; instead of commas there may be
//! semicolons or tabs throughout. Values may stand in double quotes. Lines that begin with `#`
//! and empty lines are passed over.
//!
//! Start with [`Csv`]. Source: ours; RFC 4180 for the rest. Left out: quoted line ends.

use crate::columns::{AccessKind, Columns};
use crate::error::{ParseError, check_access};
use crate::lines::LineFormat;
use crate::words::{decimal, prefixed};

/// The lines of a table.
#[derive(Clone, Debug)]
pub struct Csv {
    keep_instructions: bool,
    /// What the first line says; none before it has come.
    head: Option<Head>,
}

/// Which column is where.
#[derive(Clone, Copy, Debug)]
struct Head {
    separator: u8,
    columns: usize,
    address: usize,
    size: Option<usize>,
    kind: Option<usize>,
    write: Option<usize>,
}

const HEAD_EXPECTED: &str = "a first line that names the columns once each, such as \
                             'address,size,kind' or 'address,write'";

impl Csv {
    /// Returns the format before its first line.
    #[must_use]
    pub fn new(keep_instructions: bool) -> Self {
        Csv { keep_instructions, head: None }
    }
}

impl LineFormat for Csv {
    const LINE_MAX: usize = 4096;

    const ENDS_WITH_NEWLINE: bool = false;

    const EXPECTED: &'static str = "as many values as the first line names, with an address such as \
                                    0x7f24b4272110, a size, and a kind such as load or store";

    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) || line.starts_with(b"#") {
            return Ok(());
        }
        let Some(head) = self.head else {
            let head = Head::read(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line));
            self.head =
                Some(head.ok_or_else(|| ParseError::malformed(number, HEAD_EXPECTED, line))?);
            return Ok(());
        };
        let Some((address, size, kind)) = head.row(line) else {
            return Err(ParseError::malformed(number, Self::EXPECTED, line));
        };
        check_access(address, size, number, line)?;
        if self.keep_instructions || kind != AccessKind::Instruction {
            out.push_pieces(address, size, kind);
        }
        Ok(())
    }

    fn end(&mut self, lines: u64) -> Result<(), ParseError> {
        match self.head {
            Some(_) => Ok(()),
            None => Err(ParseError::malformed(lines + 1, HEAD_EXPECTED, b"")),
        }
    }
}

impl Head {
    fn read(line: &[u8]) -> Option<Head> {
        let separator = *line.iter().find(|byte| b",;\t".contains(byte)).unwrap_or(&b',');
        let names: Vec<Vec<u8>> = values(line, separator).map(<[u8]>::to_ascii_lowercase).collect();
        let named = |known: &[&[u8]]| {
            let mut places =
                names.iter().enumerate().filter(|(_, name)| known.contains(&&name[..]));
            let place = places.next().map(|(place, _)| place);
            (place, places.next().is_none())
        };
        let (address, once) = named(&[b"address", b"addr", b"vaddr"]);
        let (size, size_once) = named(&[b"size", b"bytes"]);
        let (kind, kind_once) = named(&[b"kind", b"type", b"op", b"rw"]);
        let (write, write_once) = named(&[b"write", b"is_write", b"store"]);
        let is_clear = once && size_once && kind_once && write_once;
        let columns = names.len();
        is_clear.then_some(()).and(address).map(|address| Head {
            separator,
            columns,
            address,
            size,
            kind,
            write,
        })
    }

    fn row(&self, line: &[u8]) -> Option<(u64, u64, AccessKind)> {
        let (mut address, mut size, mut kind) = (None, 1, AccessKind::Load);
        let mut columns = 0;
        for (place, value) in values(line, self.separator).enumerate() {
            columns += 1;
            if place == self.address {
                address = Some(prefixed(value).or_else(|| decimal(value))?);
            } else if Some(place) == self.size {
                size = decimal(value)?;
            } else if Some(place) == self.kind {
                kind = kind_of(value)?;
            } else if Some(place) == self.write && self.kind.is_none() {
                kind = if truth_of(value)? { AccessKind::Store } else { AccessKind::Load };
            }
        }
        (columns == self.columns).then_some((address?, size, kind))
    }
}

/// Returns the values of a line, without blanks and quotes around them.
fn values(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    line.split(move |&byte| byte == separator).map(|value| {
        let value = value.trim_ascii();
        value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value)
    })
}

fn kind_of(value: &[u8]) -> Option<AccessKind> {
    match value.to_ascii_lowercase().as_slice() {
        b"0" | b"l" | b"r" | b"load" | b"read" => Some(AccessKind::Load),
        b"1" | b"s" | b"w" | b"store" | b"write" => Some(AccessKind::Store),
        b"2" | b"m" | b"modify" => Some(AccessKind::Modify),
        b"3" | b"i" | b"instruction" | b"fetch" | b"ifetch" => Some(AccessKind::Instruction),
        _ => None,
    }
}

fn truth_of(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"0" | b"false" | b"no" => Some(false),
        b"1" | b"true" | b"yes" => Some(true),
        _ => None,
    }
}
