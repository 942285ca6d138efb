//! Recorded accesses as columns: from the bytes of a trace to arrays.
//!
//! A parser here is pushed: it is fed pieces of a file of any size, cut anywhere, and appends
//! to [`Columns`] what the complete lines say. It reads no file and asks no clock, so the same
//! bytes give the same columns and the same error, however they were cut.
//!
//! Start with [`TraceParser`]. One module a format ([`LackeyParser`] is the quick one); `lines`
//! joins what was cut. Above us: `rust/py`, which makes the columns arrays, and
//! `python/pagemig/inputs`, which opens and unpacks files and finds out what they are.
//!
//! Left out: everything that needs a file, a process or a simulated machine.

#![forbid(unsafe_code)]

mod champsim;
mod column_names;
mod columns;
mod csv;
mod csv_head;
mod damon;
mod error;
mod lackey;
mod lines;
mod parser;
mod perf;
mod perf_address;
mod perf_groups;
mod perf_operation;
mod view;
mod words;

pub use champsim::{ChampSim, RECORD};
pub use columns::{ACCESS_SIZE_MAX, AccessKind, Columns, PIECE_SIZE};
pub use csv::Csv;
pub use damon::Damon;
pub use error::ParseError;
pub use lackey::{Lackey, LackeyParser};
pub use lines::{LineFormat, LineParser};
pub use parser::{Format, TraceParser};
pub use perf::Perf;
pub use view::View;
