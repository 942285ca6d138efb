//! A search over schedules, as a value that is advanced piece by piece.
//!
//! Start with [`Exploration::new`] and [`Exploration::advance`]; when that says yes, or at any time
//! before, ask for [`Exploration::report`]. Neighbours: [`crate::exhaustive`] and [`crate::sampling`]
//! choose who runs; [`crate::seen`] remembers and judges.

use std::collections::BTreeMap;

use pagemig_core::base::CallId;
use pagemig_core::machine::Machine;

use crate::exhaustive::Exhaustive;
use crate::graph::StateId;
use crate::point::Point;
use crate::sampling::Sampling;
use crate::seen::Seen;

/// Which schedules are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All of them, or all that interrupt calls no more often than this.
    Exhaustive {
        /// Switches away from a call that could go on.
        preemptions: Option<u32>,
    },
    /// At every step each call that can go on is as likely as the others.
    Random {
        /// How many schedules.
        runs: u64,
        /// What decides them.
        seed: u64,
    },
    /// Calls have random priorities, which change at random points (probabilistic concurrency testing).
    Pct {
        /// Orderings that must come together for a bug to show: one less than changes of priority.
        depth: u32,
        /// How many schedules.
        runs: u64,
        /// What decides them.
        seed: u64,
    },
}

/// What bounds a search.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which schedules.
    pub strategy: Strategy,
    /// Bytes that the states and the machines on the way may take.
    pub memory: u64,
    /// Steps that may be made.
    pub transitions: Option<u64>,
    /// Steps of one schedule.
    pub steps: u32,
    /// Whether the first fault ends it.
    pub stops_at_first: bool,
    /// Whether calls that are done are remembered by what they came to alone.
    pub reduces: bool,
}

/// Why a search is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Everything within the strategy's bounds was covered.
    Covered,
    /// All runs of a sampling strategy were made.
    Runs,
    /// The limit of memory was reached.
    Memory,
    /// The limit of transitions was reached.
    Transitions,
    /// A schedule went on beyond the limit of steps; everything shorter was covered.
    Length,
    /// Something was found, and that was to be the end.
    FirstFinding,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Distinct states of the machine.
    pub states: u64,
    /// Steps made.
    pub transitions: u64,
    /// Distinct ways to end.
    pub ends: u64,
    /// Ways of being wrong that were met.
    pub faults: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Schedules run to their end, by a sampling strategy.
    pub runs: u64,
    /// Steps of the longest schedule so far.
    pub depth: u32,
}

/// What every strategy shares.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) calls: Vec<CallId>,
    pub(crate) settings: Settings,
    pub(crate) seen: Seen,
    pub(crate) transitions: u64,
    pub(crate) runs: u64,
    pub(crate) deepest: u32,
    /// Bytes that one machine takes, about: the most of those that were looked at.
    pub(crate) machine_bytes: u64,
    /// What a sampling strategy keeps besides.
    pub(crate) sampled_bytes: u64,
    /// Machines that are kept besides the first.
    pub(crate) machines: u64,
}

impl Common {
    pub(crate) fn bytes(&self) -> u64 {
        self.seen.bytes() + self.sampled_bytes + (self.machines + 1) * self.machine_bytes
    }

    /// Whether a limit is reached before another step.
    pub(crate) fn limit(&self) -> Option<Stop> {
        if self.settings.stops_at_first && !self.seen.faults.is_empty() {
            return Some(Stop::FirstFinding);
        }
        if self.settings.transitions.is_some_and(|limit| self.transitions >= limit) {
            return Some(Stop::Transitions);
        }
        (self.bytes() > self.settings.memory).then_some(Stop::Memory)
    }
}

#[derive(Debug)]
enum Way {
    Exhaustive(Exhaustive),
    Sampling(Box<Sampling>),
}

/// A search.
#[derive(Debug)]
pub struct Exploration {
    pub(crate) common: Common,
    pub(crate) root: Machine,
    way: Way,
    stop: Option<Stop>,
}

/// The most calls that a schedule has letters for.
pub const CALLS_MAX: usize = 26;

impl Exploration {
    /// A search over the calls of a machine, which are in flight on it, 1 to [`CALLS_MAX`].
    ///
    /// # Panics
    /// If there are more calls than letters, or none.
    pub fn new(machine: Machine, calls: Vec<CallId>, settings: Settings) -> Exploration {
        assert!((1..=CALLS_MAX).contains(&calls.len()), "{} calls", calls.len());
        let preemptions = match settings.strategy {
            Strategy::Exhaustive { preemptions } => preemptions,
            Strategy::Random { .. } | Strategy::Pct { .. } => None,
        };
        let mut point = Point::root(machine, preemptions, settings.reduces);
        let root = point.machine.clone();
        let mut common = Common {
            seen: Seen::new(calls.len(), preemptions.is_some()),
            calls,
            settings,
            transitions: 0,
            runs: 0,
            deepest: 0,
            machine_bytes: point.machine.bytes_of_copy(),
            sampled_bytes: 0,
            machines: 0,
        };
        let settled = point.settle(&common.calls);
        let arrival = common.seen.arrive(&point, settled);
        let way = match settings.strategy {
            Strategy::Exhaustive { preemptions } => {
                Way::Exhaustive(Exhaustive::new(&common, point, arrival, preemptions.is_some()))
            }
            Strategy::Random { seed, .. } => {
                Way::Sampling(Box::new(Sampling::new(point, arrival, seed)))
            }
            Strategy::Pct { seed, .. } => {
                Way::Sampling(Box::new(Sampling::new(point, arrival, seed)))
            }
        };
        Exploration { common, root, way, stop: None }
    }

    /// Makes at most so many steps more; tells whether it is over.
    pub fn advance(&mut self, transitions: u64) -> bool {
        let until = self.common.transitions.saturating_add(transitions);
        while self.stop.is_none() && self.common.transitions < until {
            self.stop = match &mut self.way {
                Way::Exhaustive(search) => search.advance(&mut self.common),
                Way::Sampling(search) => {
                    let stop = search.advance(&mut self.common);
                    self.common.sampled_bytes = search.bytes();
                    stop
                }
            };
        }
        self.stop.is_some()
    }

    /// Why it is over; none if it is not.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// Schedules by the state in which they ended, of a sampling strategy.
    pub(crate) fn sampled(&self) -> Option<&BTreeMap<StateId, u128>> {
        match &self.way {
            Way::Exhaustive(_) => None,
            Way::Sampling(search) => Some(&search.ended),
        }
    }

    /// How far it is.
    pub fn statistics(&self) -> Statistics {
        let Common { seen, transitions, runs, deepest, .. } = &self.common;
        Statistics {
            states: seen.states(),
            transitions: *transitions,
            ends: seen.ends.len() as u64,
            faults: seen.faults.len() as u64,
            bytes: self.common.bytes(),
            runs: *runs,
            depth: *deepest,
        }
    }
}
