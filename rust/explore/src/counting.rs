//! How many schedules there are, read off the graph without running anything.
//!
//! Start with [`Counts::new`]. A schedule is a path from the first state to one where nobody goes on,
//! and visits no state twice: a call that spins and comes back to where it was has not made another
//! schedule. Where the graph has no cycle that is a sum over the edges, in order. A cycle lives inside
//! a strongly connected part; those are small, and their paths are walked one by one.

use crate::graph::{Graph, NOWHERE, StateId};

/// Paths walked inside cyclic parts before the number is given up as a lower bound.
const WALKS_MAX: u64 = 1 << 20;

/// Schedules by the state that they lead to.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    paths: Vec<u128>,
    /// Whether the numbers are exact; else there are at least so many.
    pub(crate) is_exact: bool,
}

impl Counts {
    /// Counts the ways to every state.
    pub(crate) fn new(graph: &Graph) -> Counts {
        let parts = Parts::of(graph);
        let mut counts = Counts { paths: vec![0; graph.len()], is_exact: true };
        if graph.is_empty() {
            return counts;
        }
        // Ways into each state from outside its part.
        let mut entering = vec![0_u128; graph.len()];
        entering[0] = 1;
        let mut walks_left = WALKS_MAX;
        // Parts are found last first.
        for part in parts.members.iter().rev() {
            counts.walk_part(graph, &parts, part, &entering, &mut walks_left);
            for &state in part {
                let paths = counts.paths[state as usize];
                for &to in graph.targets(state) {
                    if to != NOWHERE
                        && parts.of_state[to as usize] != parts.of_state[state as usize]
                    {
                        let ways = &mut entering[to as usize];
                        *ways = ways.saturating_add(paths);
                    }
                }
            }
        }
        counts
    }

    /// Ways to a state, `u128::MAX` if there are more than that.
    pub(crate) fn paths(&self, state: StateId) -> u128 {
        self.paths[state as usize]
    }

    fn walk_part(
        &mut self,
        graph: &Graph,
        parts: &Parts,
        part: &[StateId],
        entering: &[u128],
        walks_left: &mut u64,
    ) {
        if let [state] = *part {
            self.paths[state as usize] = entering[state as usize];
            return;
        }
        let number = parts.of_state[part[0] as usize];
        let inside = |to: StateId| to != NOWHERE && parts.of_state[to as usize] == number;
        for &entry in part.iter().filter(|&&state| entering[state as usize] > 0) {
            let ways = entering[entry as usize];
            let mut trail = vec![(entry, 0)];
            self.add(entry, ways);
            while let Some((state, call)) = trail.pop() {
                let Some(&to) = graph.targets(state).get(call) else { continue };
                trail.push((state, call + 1));
                if !inside(to) || trail.iter().any(|&(seen, _)| seen == to) {
                    continue;
                }
                if *walks_left == 0 {
                    self.is_exact = false;
                    return;
                }
                *walks_left -= 1;
                self.add(to, ways);
                trail.push((to, 0));
            }
        }
    }

    fn add(&mut self, state: StateId, ways: u128) {
        let paths = &mut self.paths[state as usize];
        *paths = paths.saturating_add(ways);
    }
}

/// Strongly connected parts, each after those that it leads to (Tarjan).
struct Parts {
    members: Vec<Vec<StateId>>,
    of_state: Vec<u32>,
}

/// Not yet in a part.
const OPEN: u32 = u32::MAX;

impl Parts {
    fn of(graph: &Graph) -> Parts {
        let states = graph.len();
        let mut parts = Parts { members: Vec::new(), of_state: vec![OPEN; states] };
        // Order of arrival plus one, and the earliest that can be reached back.
        let (mut order, mut lowest) = (vec![0_u32; states], vec![0_u32; states]);
        let (mut arrived, mut waiting) = (0, Vec::new());
        let mut trail: Vec<(StateId, usize)> = Vec::new();
        if states > 0 {
            trail.push((0, 0));
        }
        while let Some((state, call)) = trail.pop() {
            let at = state as usize;
            if call == 0 {
                arrived += 1;
                (order[at], lowest[at]) = (arrived, arrived);
                waiting.push(state);
            }
            if let Some(&to) = graph.targets(state).get(call) {
                trail.push((state, call + 1));
                if to == NOWHERE {
                    continue;
                }
                if order[to as usize] == 0 {
                    trail.push((to, 0));
                } else if parts.of_state[to as usize] == OPEN {
                    lowest[at] = lowest[at].min(order[to as usize]);
                }
                continue;
            }
            if lowest[at] == order[at] {
                parts.close(state, &mut waiting);
            }
            if let Some(&(parent, _)) = trail.last() {
                lowest[parent as usize] = lowest[parent as usize].min(lowest[at]);
            }
        }
        parts
    }

    fn close(&mut self, state: StateId, waiting: &mut Vec<StateId>) {
        let first = waiting.iter().rposition(|&other| other == state).expect("it waits");
        let members = waiting.split_off(first);
        for &member in &members {
            self.of_state[member as usize] = self.members.len() as u32;
        }
        self.members.push(members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(states: u128, edges: &[(u32, usize, u32)]) -> Graph {
        let mut graph = Graph::new(2);
        for key in 0..states {
            graph.state(key);
        }
        edges.iter().for_each(|&(from, call, to)| graph.connect(from, call, to));
        graph
    }

    #[test]
    fn a_grid_has_as_many_paths_as_pascal_says() {
        let (mut edges, side) = (Vec::new(), 6);
        for row in 0..side {
            for column in 0..side {
                let at = row * side + column;
                if column + 1 < side {
                    edges.push((at, 0, at + 1));
                }
                if row + 1 < side {
                    edges.push((at, 1, at + side));
                }
            }
        }
        let counts = Counts::new(&graph(36, &edges));
        assert_eq!((counts.paths(35), counts.is_exact), (252, true));
    }

    #[test]
    fn coming_back_to_a_state_is_not_another_path() {
        // 0 spins on itself; 1 and 2 lead to each other; 3 is the end of both.
        let edges = [(0, 0, 0), (0, 1, 1), (1, 0, 2), (2, 0, 1), (1, 1, 3), (2, 1, 3)];
        let counts = Counts::new(&graph(4, &edges));
        assert_eq!(counts.paths(3), 2, "leaving from 1 at once, or from 2");
        assert!(counts.is_exact);
    }

    #[test]
    fn more_paths_than_numbers_stop_at_the_largest() {
        let edges: Vec<_> = (0..200).flat_map(|at| [(at, 0, at + 1), (at, 1, at + 1)]).collect();
        let counts = Counts::new(&graph(201, &edges));
        assert_eq!(counts.paths(200), u128::MAX);
        assert_eq!(counts.paths(100), 1 << 100);
    }

    #[test]
    fn a_part_with_too_many_paths_gives_a_lower_bound() {
        // One or two places on, and from the last back to the first: one part, Fibonacci's paths.
        let places = |last| {
            let mut edges: Vec<_> = (0..last).map(|at| (at, 0, at + 1)).collect();
            edges.extend((0..last - 1).map(|at| (at, 1, at + 2)));
            edges.push((last, 0, 0));
            edges
        };
        let few = Counts::new(&graph(11, &places(10)));
        assert_eq!((few.paths(10), few.is_exact), (89, true));
        let many = Counts::new(&graph(61, &places(60)));
        assert!(!many.is_exact && many.paths(60) > 0);
    }
}
