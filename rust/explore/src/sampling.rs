//! Some schedules: thrown step by step, or by priorities that change now and then.
//!
//! Both strategies keep the states that they meet in the same graph as the exhaustive search, so a
//! finding's schedule is already the shortest among all that was seen, across runs.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use crate::dice::Dice;
use crate::exploration::{Common, Stop, Strategy};
use crate::fingerprint::Fingerprint;
use crate::graph::{Mark, StateId};
use crate::point::Point;
use crate::seen::Arrival;
use crate::table::Table;

/// One schedule in the making.
#[derive(Debug)]
struct Run {
    point: Point,
    state: StateId,
    /// States of this run so far: who comes back to one only spins.
    visited: BTreeSet<StateId>,
    /// The schedule so far, without what only spun.
    schedule: Fingerprint,
    priorities: Priorities,
}

/// Who goes first, and when that changes (PCT).
#[derive(Debug, Default)]
struct Priorities {
    /// By call: the higher goes first. Empty if chance alone decides.
    ranks: Vec<i64>,
    /// Steps after which whoever made it falls to this rank.
    changes: Vec<(u32, i64)>,
}

/// Runs, one after the other.
#[derive(Debug)]
pub(crate) struct Sampling {
    root: Point,
    begin: Arrival,
    dice: Dice,
    run: Option<Run>,
    schedules: Table,
    /// By state where nobody goes on: distinct schedules that led there.
    pub(crate) ended: BTreeMap<StateId, u128>,
    is_cut: bool,
}

impl Sampling {
    pub(crate) fn new(root: Point, begin: Arrival, seed: u64) -> Sampling {
        let mut ended = BTreeMap::new();
        if begin.mark != Mark::Open {
            ended.insert(begin.state, 1);
        }
        let dice = Dice::new(seed);
        Sampling { root, begin, dice, run: None, schedules: Table::default(), ended, is_cut: false }
    }

    /// One step; why the search is over, if it is.
    pub(crate) fn advance(&mut self, common: &mut Common) -> Option<Stop> {
        let (wanted, changes) = match common.settings.strategy {
            Strategy::Pct { runs, depth, .. } => (runs, Some(depth.saturating_sub(1))),
            Strategy::Random { runs, .. } => (runs, None),
            Strategy::Exhaustive { .. } => unreachable!("that is another search"),
        };
        let is_found = common.settings.stops_at_first && !common.seen.faults.is_empty();
        if self.begin.mark != Mark::Open || (self.run.is_none() && common.runs >= wanted) {
            let ran = if self.is_cut { Stop::Length } else { Stop::Runs };
            return Some(if is_found { Stop::FirstFinding } else { ran });
        }
        if let Some(stop) = common.limit() {
            return Some(stop);
        }
        let mut run = match self.run.take() {
            Some(run) => run,
            None => self.begin_run(common, changes),
        };
        let who = run.choose(common, &mut self.dice);
        let settled = run.point.step(&common.calls, who);
        common.transitions += 1;
        common.deepest = common.deepest.max(run.point.depth);
        common.machines = 1;
        let arrival = common.seen.arrive(&run.point, settled);
        common.seen.graph.connect(run.state, who, arrival.state);
        run.note(who, arrival.state);
        if arrival.mark != Mark::Open {
            common.runs += 1;
            if self.schedules.number(run.schedule.value()).1 {
                *self.ended.entry(arrival.state).or_default() += 1;
            }
        } else if run.point.depth >= common.settings.steps {
            common.runs += 1;
            self.is_cut = true;
        } else {
            self.run = Some(run);
        }
        None
    }

    /// Bytes that it keeps besides what every search keeps.
    pub(crate) fn bytes(&self) -> u64 {
        let visited = self.run.as_ref().map_or(0, |run| run.visited.len());
        self.schedules.bytes() + (visited * 8 + self.ended.len() * 24) as u64
    }

    fn begin_run(&mut self, common: &Common, changes: Option<u32>) -> Run {
        let mut priorities = Priorities::default();
        if let Some(changes) = changes {
            // Calls rank above all changes, and each change below the one before.
            priorities.ranks = (1..=common.calls.len() as i64).collect();
            self.dice.shuffle(&mut priorities.ranks);
            // Few runs are much longer than most: changes shall fall where there are steps.
            if let Some(steps) = common.transitions.checked_div(common.runs) {
                let after = |at: u32| (self.dice.below(steps.max(1)) as u32 + 1, -i64::from(at));
                priorities.changes = (0..changes).map(after).collect();
            }
        }
        Run {
            point: self.root.clone(),
            state: self.begin.state,
            visited: BTreeSet::from([self.begin.state]),
            schedule: Fingerprint::default(),
            priorities,
        }
    }
}

impl Run {
    /// Who makes the next step.
    fn choose(&self, common: &Common, dice: &mut Dice) -> usize {
        let bits = self.point.choices(&common.calls, false);
        let mut ready = (0..common.calls.len()).filter(|who| bits & 1 << who != 0);
        let ranks = &self.priorities.ranks;
        if ranks.is_empty() {
            let at = dice.below(bits.count_ones().into()) as usize;
            return ready.nth(at).expect("an open state has somebody who can go on");
        }
        ready.max_by_key(|&who| ranks[who]).expect("an open state has somebody who can go on")
    }

    /// Keeps where a step has led.
    fn note(&mut self, who: usize, state: StateId) {
        self.state = state;
        let is_spin = !self.visited.insert(state);
        if !is_spin {
            self.schedule.write_u8(who as u8);
        }
        let Priorities { ranks, changes } = &mut self.priorities;
        if ranks.is_empty() {
            return;
        }
        if let Some(&(_, rank)) = changes.iter().find(|&&(after, _)| after == self.point.depth) {
            ranks[who] = rank;
        }
        if is_spin {
            // It would spin for ever while it goes first.
            ranks[who] = ranks.iter().min().map_or(0, |&lowest| lowest - 1);
        }
    }
}
