//! Text that comes in pieces, cut anywhere, as whole lines.
//!
//! Start with [`LineParser`]: it joins what was cut, counts lines, and hands each to a
//! [`LineFormat`], of which there is one a module next door. A format may have a quick reader
//! beside its careful one; the careful one has the last word.
//!
//! Left out: what a line means.

use crate::columns::Columns;
use crate::error::{ParseError, quote};

/// What some editors put before the first line of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What one format makes of its lines.
pub trait LineFormat: Clone {
    /// No line that says something is longer than this, in bytes.
    const LINE_MAX: usize;

    /// What a line looks like, for errors.
    const EXPECTED: &'static str;

    /// Takes one whole line, without its newline.
    ///
    /// # Errors
    ///
    /// The line is none of this format.
    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError>;

    /// Takes plain lines from the front of `data` as long as there are any; returns how many
    /// lines and how many bytes.
    fn quick(&mut self, _data: &[u8], _out: &mut Columns) -> (u64, usize) {
        (0, 0)
    }

    /// Returns whether a line that begins so says nothing, however long it is.
    fn may_be_long(&self, _beginning: &[u8]) -> bool {
        false
    }

    /// Returns whether a last line without a newline can be taken for a whole one: where it is
    /// cut, that shows.
    fn is_whole(&self, _line: &[u8]) -> bool {
        false
    }

    /// Returns what is wrong at the end of the data, if anything is.
    ///
    /// # Errors
    ///
    /// Something that the format must have has not come.
    fn end(&mut self, _lines: u64) -> Result<(), ParseError> {
        Ok(())
    }
}

/// Reads text of one format in pieces of any size.
#[derive(Clone, Debug)]
pub struct LineParser<F> {
    format: F,
    /// Complete lines so far.
    lines: u64,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// That line says nothing and is long: only its newline is still of interest.
    in_long_line: bool,
    /// What went wrong. It stays wrong.
    failed: Option<ParseError>,
}

impl<F: LineFormat> LineParser<F> {
    /// Returns a parser at the beginning of a trace.
    pub(crate) fn of(format: F) -> Self {
        LineParser { format, lines: 0, partial: Vec::new(), in_long_line: false, failed: None }
    }

    /// Appends the accesses of the lines that `data` completes.
    ///
    /// # Errors
    ///
    /// The first line that is none of the format. `out` is then as it was before, and this
    /// parser answers everything that follows with the same error.
    pub fn feed(&mut self, data: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        self.guarded(out, |parser, out| parser.read(data, out))
    }

    /// Says that no more data comes.
    ///
    /// In most formats every line ends with a newline and with a number or an address, so that
    /// of a last line without one nobody can say how much is missing: it is refused. Lackey's
    /// and tables are read; see [`LineFormat::is_whole`].
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] if the data ended within a line, what the format finds
    /// missing, and whatever [`feed`](Self::feed) failed with before.
    pub fn finish(&mut self, out: &mut Columns) -> Result<(), ParseError> {
        self.guarded(out, |parser, out| {
            if !parser.partial.is_empty() {
                if !parser.format.is_whole(parser.bare(&parser.partial)) {
                    let found = quote(&parser.partial);
                    return Err(ParseError::Truncated { line: parser.lines + 1, found });
                }
                let line = std::mem::take(&mut parser.partial);
                if !std::mem::take(&mut parser.in_long_line) {
                    parser.accept(&line, out)?;
                }
            }
            parser.format.end(parser.lines)
        })
    }

    /// Returns how many complete lines were read, with those that say nothing.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Does some work; if it fails, `out` is as it was, and every further work fails so.
    fn guarded(
        &mut self,
        out: &mut Columns,
        work: impl FnOnce(&mut Self, &mut Columns) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let len_before = out.len();
        let outcome = work(self, out);
        if let Err(error) = &outcome {
            out.truncate(len_before);
            self.failed = Some(error.clone());
        }
        outcome
    }

    fn read(&mut self, data: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        let mut rest = self.complete_partial(data, out)?;
        // Lines are seldom shorter than this, so that one reservation is enough.
        out.reserve(rest.len() / 12);
        loop {
            let (lines, bytes) = self.format.quick(rest, out);
            self.lines += lines;
            rest = &rest[bytes..];
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
        if std::mem::take(&mut self.in_long_line) {
            self.lines += 1;
        } else {
            line.extend_from_slice(line_rest);
            self.accept(&line, out)?;
        }
        line.clear();
        self.partial = line;
        Ok(&after[1..])
    }

    /// Keeps the beginning of a line for later, but never more than a line can be long.
    fn keep_partial(&mut self, data: &[u8]) -> Result<(), ParseError> {
        if self.in_long_line {
            return Ok(());
        }
        let room = (F::LINE_MAX + 1).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&data[..data.len().min(room)]);
        if self.partial.len() <= F::LINE_MAX {
            return Ok(());
        }
        if !self.format.may_be_long(&self.partial) {
            return Err(ParseError::malformed(self.lines + 1, F::EXPECTED, &self.partial));
        }
        self.in_long_line = true;
        Ok(())
    }

    /// Returns a line without what other systems put around it: a byte order mark before the
    /// first, a carriage return behind each.
    fn bare<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mark: &[u8] = if self.lines == 0 { BYTE_ORDER_MARK } else { b"" };
        line.strip_prefix(mark).unwrap_or(line)
    }

    /// Hands one whole line to the format.
    fn accept(&mut self, line: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        if line.len() > F::LINE_MAX && !self.format.may_be_long(line) {
            return Err(ParseError::malformed(self.lines + 1, F::EXPECTED, line));
        }
        if line.len() <= F::LINE_MAX {
            let line = self.bare(line);
            self.format.line(line, self.lines + 1, out)?;
        }
        self.lines += 1;
        Ok(())
    }
}
