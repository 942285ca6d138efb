//! Where a search stands: a machine, and what its finished calls came to.
//!
//! Start with [`Point::step`]. The reduction is here: a call that is done is taken off the machine, and
//! only what it came to is kept, as a hash. Nobody reads a finished call, so two ways that differ in
//! nothing but how one got there have the same future, and are one state.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pagemig_core::base::CallId;
use pagemig_core::machine::{Machine, Settled, State};

use crate::fingerprint::Fingerprint;

/// What a panic said.
pub(crate) type Fall = String;

/// A state with its machine.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// The machine, without the calls that are done.
    pub(crate) machine: Machine,
    /// What those came to, in any order.
    pub(crate) results: u128,
    /// Whose step was the last, if that call could make the next one, too.
    pub(crate) running: Option<u8>,
    /// How often such a call may still be interrupted.
    pub(crate) preemptions_left: u32,
    /// Steps so far.
    pub(crate) depth: u32,
    /// Whether a call that is done leaves nothing behind but what it came to.
    pub(crate) reduces: bool,
}

impl Point {
    /// Where a search begins.
    pub(crate) fn root(mut machine: Machine, preemptions: Option<u32>, reduces: bool) -> Point {
        machine.forget_the_past();
        Point {
            machine,
            results: 0,
            running: None,
            preemptions_left: preemptions.unwrap_or(0),
            depth: 0,
            reduces,
        }
    }

    /// Becomes equal to another point of the same search, in the memory that it has already.
    pub(crate) fn copy_from(&mut self, other: &Point) {
        self.machine.copy_from(&other.machine);
        let Point { machine: _, results, running, preemptions_left, depth, reduces } = other;
        (self.results, self.running) = (*results, *running);
        (self.preemptions_left, self.depth, self.reduces) = (*preemptions_left, *depth, *reduces);
    }

    /// Lets time pass if it must.
    pub(crate) fn settle(&mut self, calls: &[CallId]) -> Result<Settled, Fall> {
        guarded(|| self.machine.settle(calls))
    }

    /// One step of a call that is ready, and what time must pass after it.
    ///
    /// # Errors
    /// If the model panics. The point is broken then, and must not be looked at again.
    pub(crate) fn step(&mut self, calls: &[CallId], who: usize) -> Result<Settled, Fall> {
        guarded(|| {
            let state = self.machine.step_unrecorded(calls[who]);
            self.depth += 1;
            if state == State::Done {
                let outcome = if self.reduces {
                    self.machine.take_outcome(calls[who])
                } else {
                    self.machine.outcome(calls[who])
                };
                let outcome = outcome.expect("it is done");
                self.results = self.results.wrapping_add(Fingerprint::of(&(who, &outcome)));
            }
            let is_interrupted = self.running.is_some_and(|running| usize::from(running) != who);
            self.preemptions_left -= u32::from(is_interrupted && self.preemptions_left > 0);
            self.running = self.machine.is_ready(calls[who]).then_some(who as u8);
            self.machine.settle(calls)
        })
    }

    /// The calls that may make the next step, one bit each.
    pub(crate) fn choices(&self, calls: &[CallId], is_bounded: bool) -> u32 {
        match self.running {
            Some(running) if is_bounded && self.preemptions_left == 0 => 1 << running,
            _ => (0..calls.len())
                .filter(|&who| self.machine.is_ready(calls[who]))
                .fold(0, |bits, who| bits | 1 << who),
        }
    }

    /// The fingerprint of what decides how it goes on, but for the bound on preemptions; and that of
    /// the kernel alone.
    pub(crate) fn fingerprints(&self) -> (u128, u128) {
        let mut hasher = Fingerprint::default();
        self.machine.kernel().hash(&mut hasher);
        let kernel = hasher.value();
        self.machine.hash_calls(&mut hasher);
        hasher.write_u128(self.results);
        (hasher.value(), kernel)
    }
}

/// Runs `work`; a panic is what it said.
///
/// # Errors
/// If it panics.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Fall> {
    catch_unwind(AssertUnwindSafe(work)).map_err(said)
}

fn said(cause: Box<dyn Any + Send>) -> Fall {
    match cause.downcast::<String>() {
        Ok(text) => *text,
        Err(cause) => cause.downcast::<&str>().map_or("a panic".into(), |text| (*text).into()),
    }
}
