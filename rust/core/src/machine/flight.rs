//! One call in flight: who makes it, how far it is, where it has been.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::Call;
use crate::base::{CpuId, TaskId};
use crate::step::{Label, LockId};

/// Whether a call can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// It can make a step.
    Ready,
    /// It sleeps until this is released.
    Waiting(LockId),
    /// It has made its last step.
    Done,
}

/// What people call an operation.
type Verb = &'static str;

/// A call among others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flight {
    pub(super) task: TaskId,
    pub(super) cpu: CpuId,
    #[serde(with = "kept_verb")]
    pub(super) verb: Verb,
    pub(super) is_fine: bool,
    pub(super) is_exit: bool,
    pub(super) call: Call,
    pub(super) state: State,
    #[serde(with = "crate::step::label::kept")]
    pub(super) history: Vec<Label>,
}

/// Where it has been does not decide where it goes, and its name follows from the call.
impl Hash for Flight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.task, self.cpu, self.is_fine, self.is_exit, self.state).hash(state);
        self.call.hash(state);
    }
}

/// How the name of a verb is kept in a snapshot.
mod kept_verb {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::machine::request::VERBS;

    pub(super) fn serialize<S: Serializer>(verb: &&str, to: S) -> Result<S::Ok, S::Error> {
        verb.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<&'static str, D::Error> {
        let name = String::deserialize(from)?;
        let known = VERBS.iter().find(|verb| **verb == name);
        known.copied().ok_or_else(|| D::Error::custom(format!("there is no verb {name:?}")))
    }
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
