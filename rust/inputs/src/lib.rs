//! Recorded accesses as columns: from the bytes of a trace to arrays.
//!
//! A parser here is pushed: it is fed pieces of a file of any size, cut anywhere, and appends
//! to [`Columns`] what the complete lines say. It reads no file and asks no clock, so the same
//! bytes give the same columns and the same error, however they were cut.
//!
//! Start with [`LackeyParser`]. Above us: `rust/py`, which makes the columns arrays, and
//! `python/pagemig/inputs`, which opens and unpacks files. One module a format.
//!
//! Left out: everything that needs a file, a process or a simulated machine.

#![forbid(unsafe_code)]

mod columns;
mod error;
mod lackey;

pub use columns::{AccessKind, Columns};
pub use error::ParseError;
pub use lackey::{ACCESS_SIZE_MAX, LackeyParser, PIECE_SIZE};
