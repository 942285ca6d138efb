//! What a search over schedules asks of a machine: steps without a record, and time that passes.
//!
//! Start with [`Machine::settle`]: it is the one rule by which a schedule and a search let time go on,
//! so that a schedule means the same to both. [`Machine::step_unrecorded`] and
//! [`Machine::take_outcome`] are cheaper ways to do what [`Machine::step`] and [`Machine::outcome`] do.

use std::hash::{Hash, Hasher};

use super::call::Call;
use super::{Machine, Outcome, State};
use crate::base::{CallId, Misuse};
use crate::step::{Me, Progress, Step};

/// Whether some calls of a machine can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// One of them can make a step now.
    Ready,
    /// All have made their last step.
    Done,
    /// Those left wait, and no transfer ever ends: see [`Machine::deadlock`].
    Stuck,
}

impl Machine {
    /// Lets time pass, transfer by transfer, until one of `calls` can make a step. A call that is
    /// not there counts as done. Nothing happens if one can go on, or all are done.
    pub fn settle(&mut self, calls: &[CallId]) -> Settled {
        loop {
            let mut is_open = false;
            for call in calls {
                match self.flights.get(call).map_or(State::Done, |flight| flight.state) {
                    State::Ready => return Settled::Ready,
                    State::Waiting(_) => is_open = true,
                    State::Done => {}
                }
            }
            if !is_open {
                return Settled::Done;
            }
            if !self.pass_time() {
                return Settled::Stuck;
            }
        }
    }

    /// Whether a call is there and can make a step.
    pub fn is_ready(&self, call: CallId) -> bool {
        self.flights.get(&call).is_some_and(|flight| flight.state == State::Ready)
    }

    /// One step of a call that is ready, as [`Machine::step`] makes it, but neither its history nor
    /// the trace grows.
    ///
    /// # Panics
    /// If the call is not ready.
    pub fn step_unrecorded(&mut self, call: CallId) -> State {
        let flight = self.flights.get_mut(&call).expect("a call of this machine");
        assert!(flight.state == State::Ready, "call {call} cannot make a step");
        let me = Me { call, task: flight.task, cpu: flight.cpu, is_fine: flight.is_fine };
        let progress = flight.call.advance::<Step>(&mut self.kernel, me);
        self.kernel.steps += 1;
        flight.state = match progress {
            Progress::Ran => State::Ready,
            Progress::Waiting(lock) => State::Waiting(lock),
            Progress::Done => State::Done,
        };
        let after = flight.state;
        self.wake();
        // Copies and fingerprints need not read what has not changed since.
        let kernel = &mut self.kernel;
        kernel.contents.look(kernel.zones.touched_spans());
        after
    }

    /// Feeds everything but the kernel to `state`: the calls, and the number of the next one; the tick
    /// where a call has a deadline.
    pub fn hash_calls<H: Hasher>(&self, state: &mut H) {
        self.flights.hash(state);
        self.next_call.hash(state);
        let has_deadline = |call: &Call| matches!(call, Call::Offline(call) if call.has_deadline());
        if self.flights.values().any(|flight| has_deadline(&flight.call)) {
            self.kernel.now.hash(state);
        }
    }

    /// Becomes equal to `other`, which began as a copy of the same machine, in the memory that it has
    /// already: what a search does with machines that it has no more use for.
    pub fn copy_from(&mut self, other: &Machine) {
        self.kernel.copy_from(&other.kernel);
        self.flights.clone_from(&other.flights);
        self.next_call = other.next_call;
    }

    /// Takes away a call that is done, with what it came to.
    ///
    /// # Errors
    /// If there is no such call, or it is not done.
    pub fn take_outcome(&mut self, call: CallId) -> Result<Outcome, Misuse> {
        if !self.flight(call)?.is_done() {
            return Err(Misuse::CallNotDone(call));
        }
        let flight = self.flights.remove(&call).expect("just found");
        Ok(flight.call.into_outcome())
    }

    /// Forgets where calls have been and what was recorded: a search starts from here.
    pub fn forget_the_past(&mut self) {
        self.record(0);
        for flight in self.flights.values_mut() {
            flight.history = Vec::new();
        }
        self.kernel.contents.look(self.kernel.zones.touched_spans());
    }
}
