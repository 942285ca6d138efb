//! What can be wrong with a trace: where, what was found, what would be right.
//!
//! Start with [`ParseError`]. Raised by the parsers next door; `rust/py` makes it a
//! `UsageError`, and Python puts the name of the file before it.

use crate::columns::ACCESS_SIZE_MAX;

/// The first thing in a trace that cannot be understood. Lines and records are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line says nothing that its format knows.
    #[error("line {line}: expected {expected}, found '{found}'")]
    Malformed {
        /// Number of the line.
        line: u64,
        /// What would be right.
        expected: &'static str,
        /// How the line begins, with bytes that do not print escaped.
        found: String,
    },
    /// A column has a name that is not known, and may tell what no other column tells.
    #[error(
        "line {line}: the column '{found}' is not known, and no others tell both size and direction; \
         name them address, size (or bytes, length, width), kind (or type, op, rw, access, mode) or \
         write (or is_write, store, is_store), and leave others out or call them tid, time, pc or such"
    )]
    Column {
        /// Number of the line.
        line: u64,
        /// The name.
        found: String,
    },
    /// An access has a size that no instruction has.
    #[error("line {line}: expected a size of 1 to {max} bytes, found '{found}'")]
    Size {
        /// Number of the line.
        line: u64,
        /// The largest size there is.
        max: u64,
        /// How the line begins.
        found: String,
    },
    /// An access reaches beyond the last address there is.
    #[error("line {line}: expected an access that ends within 64 bits of address, found '{found}'")]
    Wraps {
        /// Number of the line.
        line: u64,
        /// How the line begins.
        found: String,
    },
    /// The data ends within a line, so that what the line says cannot be trusted.
    #[error(
        "line {line}: expected a line that ends with a newline, found '{found}' and the end: if that is \
         all of it, add the newline; or the trace is cut off"
    )]
    Truncated {
        /// Number of the line.
        line: u64,
        /// How the line begins.
        found: String,
    },
    /// A record of a binary format holds what no record does.
    #[error("record {record}: expected {expected}, found {found}")]
    Record {
        /// Number of the record.
        record: u64,
        /// What would be right.
        expected: &'static str,
        /// What is there instead.
        found: String,
    },
    /// The data ends within a record.
    #[error(
        "record {record}: expected {expected} bytes, found {found} and the end: the trace is cut off"
    )]
    CutRecord {
        /// Number of the record.
        record: u64,
        /// Bytes of a record.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
}

impl ParseError {
    /// Returns that `line` should have been `expected`.
    pub(crate) fn malformed(number: u64, expected: &'static str, line: &[u8]) -> Self {
        ParseError::Malformed { line: number, expected, found: quote(line) }
    }
}

/// Returns an error for an access that no program makes: of no byte, too wide, or beyond 64 bits.
pub(crate) fn check_access(
    address: u64,
    size: u64,
    number: u64,
    line: &[u8],
) -> Result<(), ParseError> {
    if !(1..=ACCESS_SIZE_MAX).contains(&size) {
        return Err(ParseError::Size { line: number, max: ACCESS_SIZE_MAX, found: quote(line) });
    }
    if address.checked_add(size - 1).is_none() {
        return Err(ParseError::Wraps { line: number, found: quote(line) });
    }
    Ok(())
}

/// Bytes of a bad line that an error quotes.
const QUOTED_MAX: usize = 40;

/// Returns the beginning of a line as an error quotes it.
pub(crate) fn quote(line: &[u8]) -> String {
    match line.get(..QUOTED_MAX) {
        Some(beginning) if line.len() > QUOTED_MAX => format!("{}...", beginning.escape_ascii()),
        _ => line.escape_ascii().to_string(),
    }
}
