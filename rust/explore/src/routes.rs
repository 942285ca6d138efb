//! The shortest schedule to each state: fewest steps, then fewest switches between calls.
//!
//! Start with [`Routes::new`]. Breadth first over the graph that a search left behind, with one row
//! for each call that may have made the last step; so a route is exact as far as the graph goes.

use pagemig_core::step::Schedule;

use crate::graph::{Graph, NOWHERE, StateId};

/// How long a schedule is: steps, then switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Length {
    /// Steps.
    pub(crate) steps: u32,
    /// How often another call than the one before makes a step.
    pub(crate) switches: u32,
}

impl Length {
    /// Of a schedule.
    pub(crate) fn of(schedule: &Schedule) -> Length {
        let steps = schedule.steps();
        let switches = steps.windows(2).filter(|pair| pair[0] != pair[1]).count();
        Length { steps: steps.len() as u32, switches: switches as u32 }
    }
}

/// No such route.
const NEVER: u32 = u32::MAX;

/// Ways from the first state to every other.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    calls: usize,
    depths: Vec<u32>,
    /// By state and last call: fewest switches of a shortest route, and the state and call before.
    arrivals: Vec<Arrival>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    switches: u32,
    from: StateId,
    before: u8,
}

impl Routes {
    /// Finds them all.
    pub(crate) fn new(graph: &Graph) -> Routes {
        let calls = graph.calls();
        let none = Arrival { switches: NEVER, from: NOWHERE, before: 0 };
        let mut routes = Routes {
            calls,
            depths: vec![NEVER; graph.len()],
            arrivals: vec![none; graph.len() * calls],
        };
        let mut layer: Vec<StateId> = Vec::new();
        if !graph.is_empty() {
            routes.depths[0] = 0;
            layer.push(0);
        }
        while !layer.is_empty() {
            let mut next = Vec::new();
            for &state in &layer {
                let depth = routes.depths[state as usize];
                for (call, &to) in graph.targets(state).iter().enumerate() {
                    if to == NOWHERE || routes.depths[to as usize] <= depth {
                        continue;
                    }
                    if routes.depths[to as usize] == NEVER {
                        routes.depths[to as usize] = depth + 1;
                        next.push(to);
                    }
                    routes.arrive(state, call, to);
                }
            }
            layer = next;
        }
        routes
    }

    /// A step of `call` from `state`, all of whose own arrivals are known, leads to `to`.
    fn arrive(&mut self, state: StateId, call: usize, to: StateId) {
        let mut best = Arrival { switches: 0, from: state, before: call as u8 };
        if state != 0 {
            let own = &self.arrivals[state as usize * self.calls..][..self.calls];
            let cost = |(before, arrival): (usize, &Arrival)| {
                (arrival.switches.saturating_add(u32::from(before != call)), before)
            };
            let (switches, before) = own.iter().enumerate().map(cost).min().expect("a call");
            best = Arrival { switches, from: state, before: before as u8 };
        }
        let known = &mut self.arrivals[to as usize * self.calls + call];
        if best.switches < known.switches {
            *known = best;
        }
    }

    /// How long the shortest schedule to a state is.
    pub(crate) fn length(&self, state: StateId) -> Length {
        let own = &self.arrivals[state as usize * self.calls..][..self.calls];
        let switches = own.iter().map(|arrival| arrival.switches).min().unwrap_or(0);
        Length {
            steps: self.depths[state as usize],
            switches: if state == 0 { 0 } else { switches },
        }
    }

    /// The shortest schedule to a state that the search has reached.
    pub(crate) fn schedule(&self, state: StateId) -> Schedule {
        let mut steps = Vec::with_capacity(self.depths[state as usize] as usize);
        let mut at = state;
        let own = &self.arrivals[at as usize * self.calls..][..self.calls];
        let last = own.iter().enumerate().min_by_key(|(_, arrival)| arrival.switches);
        let mut call = last.map_or(0, |(call, _)| call);
        while at != 0 {
            steps.push(call as u8);
            let arrival = self.arrivals[at as usize * self.calls + call];
            (at, call) = (arrival.from, usize::from(arrival.before));
        }
        steps.reverse();
        let mut schedule = Schedule::default();
        steps.into_iter().for_each(|call| schedule.push(call));
        schedule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square with a tail: two ways to the far corner, and a long way round.
    fn graph() -> Graph {
        let mut graph = Graph::new(2);
        for key in 0..6 {
            graph.state(key);
        }
        graph.connect(0, 0, 1);
        graph.connect(0, 1, 2);
        graph.connect(1, 1, 3);
        graph.connect(2, 0, 3);
        graph.connect(1, 0, 4);
        graph.connect(4, 1, 3);
        graph.connect(3, 0, 5);
        graph
    }

    #[test]
    fn the_shortest_way_has_fewest_steps_then_fewest_switches() {
        let routes = Routes::new(&graph());
        assert_eq!(routes.schedule(0).to_string(), "");
        assert_eq!(routes.length(0), Length { steps: 0, switches: 0 });
        assert_eq!(routes.schedule(3).to_string(), "1b1a");
        assert_eq!(routes.schedule(5).to_string(), "1b2a", "one switch, not two");
        assert_eq!(routes.length(5), Length { steps: 3, switches: 1 });
        assert_eq!(Length::of(&routes.schedule(5)), routes.length(5));
    }
}
