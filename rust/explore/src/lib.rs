//! Who runs next: schedules over the calls of a machine, tried and replayed.
//!
//! A machine says which calls can make a step; this crate says which of them does. [`replay`]
//! follows a schedule that a person wrote down or an earlier run left behind; [`Exploration`] tries
//! all of them, or many.
//!
//! Below us: `pagemig_core::machine`. `docs/decisions/0007-exploring.md` says why it is made so.
#![forbid(unsafe_code)]

mod counting;
mod dice;
mod exhaustive;
mod exploration;
mod fingerprint;
mod graph;
mod point;
mod replaying;
mod reporting;
mod routes;
mod sampling;
mod seen;
mod shrinking;
mod table;
#[cfg(test)]
mod tests;

pub use exploration::{CALLS_MAX, Exploration, Settings, Statistics, Stop, Strategy};
pub use fingerprint::Fingerprint;
pub use replaying::{ReplayError, judge, replay};
pub use reporting::{End, Finding, Report};
pub use seen::{Fault, Kind};
