//! One call in flight: who makes it, how far it is, where it has been.

use super::Call;
use crate::base::{CpuId, TaskId};
use crate::step::{Label, LockId};

/// Whether a call can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can make a step.
    Ready,
    /// It sleeps until this is released.
    Waiting(LockId),
    /// It has made its last step.
    Done,
}

/// A call among others.
#[derive(Clone, Debug)]
pub struct Flight {
    pub(super) task: TaskId,
    pub(super) cpu: CpuId,
    pub(super) verb: &'static str,
    pub(super) is_fine: bool,
    pub(super) is_exit: bool,
    pub(super) call: Call,
    pub(super) state: State,
    pub(super) history: Vec<Label>,
}

/// The label of a call that has nothing left to do.
const END: Label = "end";

impl Flight {
    /// The task that makes it.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// What it is called.
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// The operation itself.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Whether it can go on.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it has made its last step.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The first step of the specification that its next advance makes.
    pub fn at(&self) -> Label {
        if self.is_done() { END } else { self.call.labels().first().copied().unwrap_or(END) }
    }

    /// Every step that its next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        if self.is_done() { &[] } else { self.call.labels() }
    }

    /// Where it has been: the first label of each advance so far.
    pub fn history(&self) -> &[Label] {
        &self.history
    }
}
