//! Comma-separated values: a table of accesses with a first line that names its columns.
//!
//! ```text
//! address,size,kind
//! 0x1fff000650,8,load
//! ```
//!
//! | column | also called | holds | without it |
//! |---|---|---|---|
//! | `address` | `addr`, `vaddr`, `va`, `virtual_address`, ... | decimal, or hexadecimal behind `0x` | an error |
//! | `size` | `bytes`, `length`, `len`, `width`, `access_size`, ... | 1 to 4096, also behind `0x` | 1 |
//! | `kind` | `type`, `op`, `rw`, `access`, `mode`, `access_type`, ... | load, store, modify, instruction; or their first letters; or read, write, fetch; ld, st; or 0 to 3 | see next |
//! | `write` | `is_write`, `store`, `is_store`, ... | 0, 1, true, false, yes, no, or first letters | see next |
//! | `read` | `is_read`, `load`, `is_load`, ... | the same | loads |
//!
//! Each also in the plural, in letters of any case, and with blanks, `_`, `-`, `/` and `.`
//! wherever they please ([`column_names`](crate::column_names) has the list). Columns may stand
//! in any order. Those that plainly tell something else, such as `tid`, `time` or `pc`, are
//! passed over; one of an unknown name is, too, if others tell both size and direction, and is
//! refused if not. Where several tell the direction they must agree.
//!
//! Instead of commas there may be semicolons, `|`, tabs or blanks throughout. Values may stand
//! in double quotes; rows may end with one more separator. Empty lines and lines that begin
//! with `#` are passed over, but if no other line names the columns, the last one that begins
//! with `#` and could is the first line. `sep=,` before it, as spreadsheets write, says nothing.
//!
//! Start with [`Csv`]; its first line is [`csv_head`](crate::csv_head). Source: ours; RFC 4180
//! for the rest. Left out: quoted line ends.

use crate::columns::{AccessKind, Columns};
use crate::csv_head::{HEAD_EXPECTED, Head};
use crate::error::{ParseError, check_access};
use crate::lines::LineFormat;

/// The lines of a table.
#[derive(Clone, Debug)]
pub struct Csv {
    keep_instructions: bool,
    /// What the first line says; none before it has come.
    head: Option<Head>,
    /// What the last comment says, if it could be the first line.
    commented: Option<Head>,
}

impl Csv {
    /// Returns the format before its first line.
    #[must_use]
    pub fn new(keep_instructions: bool) -> Self {
        Csv { keep_instructions, head: None, commented: None }
    }
}

impl LineFormat for Csv {
    const LINE_MAX: usize = 4096;

    const EXPECTED: &'static str = "as many values as the first line names, with an address \
                                    such as 0x7f24b4272110 or 4096, a size, \
                                    and a kind such as load or store";

    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            if self.head.is_none() {
                self.commented = Head::read(comment, number).ok().or(self.commented.take());
            }
            return Ok(());
        }
        let head = match &self.head {
            Some(head) => head,
            None if is_separator_line(line) => return Ok(()),
            None => match (Head::read(line, number), self.commented.take()) {
                (Err(_), Some(commented)) => self.head.insert(commented),
                (named, _) => {
                    self.head = Some(named?);
                    return Ok(());
                }
            },
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

    fn is_whole(&self, _line: &[u8]) -> bool {
        true
    }

    fn end(&mut self, lines: u64) -> Result<(), ParseError> {
        match self.head.as_ref().or(self.commented.as_ref()) {
            Some(_) => Ok(()),
            None => Err(ParseError::malformed(lines + 1, HEAD_EXPECTED, b"")),
        }
    }
}

/// Returns whether a line tells a spreadsheet what stands between columns.
fn is_separator_line(line: &[u8]) -> bool {
    matches!(line, [b'S' | b's', b'E' | b'e', b'P' | b'p', b'=', _])
}
