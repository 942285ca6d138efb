//! What a search has found: ends, faults, and the shortest schedule to each.
//!
//! Start with [`Exploration::report`], which can be asked for at any time. Numbers of schedules come
//! from [`crate::counting`], schedules from [`crate::routes`]; those of a sampling strategy are
//! shortened further by [`crate::shrinking`].

use std::collections::BTreeMap;

use pagemig_core::step::Schedule;

use crate::counting::Counts;
use crate::exploration::Exploration;
use crate::graph::{Mark, StateId};
use crate::routes::Routes;
use crate::seen::{Fault, Kind};
use crate::shrinking::{Trial, shrink, try_out};

/// A state in which all calls are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its number.
    pub state: StateId,
    /// What the calls came to: the same number, the same results.
    pub outcome: u32,
    /// How many schedules lead to it.
    pub schedules: u128,
}

/// Something wrong, with the shortest way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What sort of thing.
    pub kind: Kind,
    /// The rule that is broken.
    pub rule: String,
    /// The invariants that the rule states.
    pub ids: &'static str,
    /// What is wrong at the end of the schedule, in words and numbers.
    pub detail: String,
    /// How many schedules break it in their last state.
    pub schedules: u128,
    /// The shortest of them.
    pub schedule: Schedule,
}

/// What a search has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Complete schedules, those that end with a fault included.
    pub schedules: u128,
    /// Whether that number is exact, as far as the search went; else there are more.
    pub is_exact: bool,
    /// Distinct ends, in the order in which they were met.
    pub ends: Vec<End>,
    /// Ways of being wrong, in the order in which they were met.
    pub findings: Vec<Finding>,
    routes: Routes,
}

impl Report {
    /// The shortest schedule to an end.
    pub fn schedule(&self, state: StateId) -> Schedule {
        self.routes.schedule(state)
    }
}

impl Exploration {
    /// Counts, and finds the shortest schedules.
    pub fn report(&self) -> Report {
        let graph = &self.common.seen.graph;
        let routes = Routes::new(graph);
        let sampled = self.sampled();
        let counts = sampled.is_none().then(|| Counts::new(graph));
        let paths = |state: StateId| match (&counts, sampled) {
            (Some(counts), _) => counts.paths(state),
            (None, Some(ended)) => ended.get(&state).copied().unwrap_or(0),
            (None, None) => unreachable!("schedules are counted, one way or the other"),
        };
        let mut schedules = 0_u128;
        let mut ends = Vec::new();
        // By fault: schedules, and the state with the shortest.
        let mut broken: BTreeMap<u32, (u128, StateId)> = BTreeMap::new();
        for (state, mark) in graph.states() {
            match mark {
                Mark::Open => continue,
                Mark::End(outcome) => {
                    ends.push(End { state, outcome, schedules: paths(state) });
                }
                Mark::Broken(set) => {
                    for &fault in self.common.seen.faults_of(set) {
                        let (sum, nearest) = broken.entry(fault).or_insert((0, state));
                        *sum = sum.saturating_add(paths(state));
                        if routes.length(state) < routes.length(*nearest) {
                            *nearest = state;
                        }
                    }
                }
            }
            schedules = schedules.saturating_add(paths(state));
        }
        let findings = broken.iter().map(|(&fault, &(schedules, state))| {
            let fault = &self.common.seen.faults[fault as usize];
            self.finding(fault, schedules, routes.schedule(state))
        });
        let findings = findings.collect();
        let is_exact = counts.is_none_or(|counts| counts.is_exact);
        Report { schedules, is_exact, ends, findings, routes }
    }

    fn finding(&self, fault: &Fault, schedules: u128, found: Schedule) -> Finding {
        let (root, calls) = (&self.root, &self.common.calls);
        let schedule = match self.sampled() {
            Some(_) => shrink(root, calls, fault, &found),
            None => found,
        };
        let Trial { faults, .. } = try_out(root, calls, schedule.steps());
        let said = faults.into_iter().filter(|(other, _)| other == fault).map(|(_, detail)| detail);
        let detail = said.collect::<Vec<_>>().join("; ");
        let Fault { kind, rule, ids } = fault.clone();
        Finding { kind, rule, ids, detail, schedules, schedule }
    }
}
