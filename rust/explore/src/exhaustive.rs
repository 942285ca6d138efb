//! Every schedule: depth first over machines, each state once.
//!
//! A machine is copied for each branch but the last, which runs on in place. Only states with branches
//! left are on the way; how they hang together is read off the graph afterwards.

use crate::exploration::{Common, Stop};
use crate::graph::Mark;
use crate::graph::StateId;
use crate::point::Point;
use crate::seen::Arrival;

/// A state with branches left.
#[derive(Debug)]
struct Fork {
    state: StateId,
    point: Point,
    /// Calls whose step from here is still to be tried, one bit each.
    left: u32,
}

/// After so many steps a machine is weighed again: they grow on the way.
const WEIGHED_EVERY: u64 = 256;

/// Machines that are kept for later.
const SPARE_MAX: usize = 64;

fn copy(spare: &mut Vec<Point>, point: &Point) -> Point {
    let Some(mut copy) = spare.pop() else { return point.clone() };
    copy.copy_from(point);
    copy
}

/// The way from the first state to where the search is.
#[derive(Debug)]
pub(crate) struct Exhaustive {
    forks: Vec<Fork>,
    /// Machines that nobody needs any more, to be written over.
    spare: Vec<Point>,
    is_bounded: bool,
    is_cut: bool,
}

impl Exhaustive {
    pub(crate) fn new(
        common: &Common,
        root: Point,
        arrival: Arrival,
        is_bounded: bool,
    ) -> Exhaustive {
        let mut search =
            Exhaustive { forks: Vec::new(), spare: Vec::new(), is_bounded, is_cut: false };
        search.go_on(common, root, arrival);
        search
    }

    /// One step; why the search is over, if it is.
    pub(crate) fn advance(&mut self, common: &mut Common) -> Option<Stop> {
        let Some(fork) = self.forks.last_mut() else {
            let is_found = common.settings.stops_at_first && !common.seen.faults.is_empty();
            let covered = if self.is_cut { Stop::Length } else { Stop::Covered };
            return Some(if is_found { Stop::FirstFinding } else { covered });
        };
        if let Some(stop) = common.limit() {
            return Some(stop);
        }
        let who = fork.left.trailing_zeros() as usize;
        let from = fork.state;
        fork.left &= fork.left - 1;
        let mut point = if fork.left == 0 {
            self.forks.pop().expect("the last one").point
        } else {
            copy(&mut self.spare, &fork.point)
        };
        let settled = point.step(&common.calls, who);
        if common.transitions % WEIGHED_EVERY == 0 && settled.is_ok() {
            common.machine_bytes = common.machine_bytes.max(point.machine.bytes_of_copy());
        }
        common.transitions += 1;
        common.deepest = common.deepest.max(point.depth);
        let arrival = common.seen.arrive(&point, settled);
        common.seen.graph.connect(from, who, arrival.state);
        self.go_on(common, point, arrival);
        common.machines = (self.forks.len() + self.spare.len()) as u64;
        None
    }

    /// A new state in which somebody can go on is a fork.
    fn go_on(&mut self, common: &Common, point: Point, arrival: Arrival) {
        if !arrival.is_new || arrival.mark != Mark::Open {
            if !arrival.has_fallen && self.spare.len() < SPARE_MAX {
                self.spare.push(point);
            }
            return;
        }
        if point.depth >= common.settings.steps {
            self.is_cut = true;
            return;
        }
        let left = point.choices(&common.calls, self.is_bounded);
        self.forks.push(Fork { state: arrival.state, point, left });
    }
}
