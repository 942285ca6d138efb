//! What can be wrong with a trace: where, what was found, what would be right.
//!
//! Start with [`ParseError`]. Raised by the parsers next door; `rust/py` makes it a
//! `UsageError`, and Python puts the name of the file before it.

/// The first line of a trace that cannot be understood. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line is neither an access nor the tool's own.
    #[error(
        "line {line}: expected ' L addr,size' (or ' S', ' M', 'I ', or the tool's own '=='), found '{found}'"
    )]
    Malformed {
        /// Number of the line.
        line: u64,
        /// How the line begins, with bytes that do not print escaped.
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
        "line {line}: expected a line that ends with a newline, found '{found}' and the end: the trace is cut off"
    )]
    Truncated {
        /// Number of the line.
        line: u64,
        /// How the line begins.
        found: String,
    },
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
