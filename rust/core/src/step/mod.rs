//! Steps: how a long operation is cut into pieces between which others may run.
//!
//! Every kernel path that can sleep or be interleaved is a value with a phase. One
//! `advance` carries it from one yield point of `concurrency.md` to the next and answers
//! with a [`Progress`]. The same code runs in two modes ([`Mode`]): [`Run`], straight to the
//! end, where nobody else exists and the compiler removes every stop; and [`Step`], one
//! yield point at a time, with locks recorded.
//!
//! Above us: every room with verbs. The locks themselves live in [`crate::state::lock`].

mod fuel;
pub(crate) mod label;
mod lock_id;
mod schedule;

pub use fuel::Fuel;
pub use label::{LABELS, Label, is_label};
pub use lock_id::LockId;
pub use schedule::{BadSchedule, Schedule};

use serde::{Deserialize, Serialize};

use crate::base::{CallId, CpuId, TaskId};

/// What one advance came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// A step was made; there are more.
    Ran,
    /// Nothing was done: the call sleeps until the lock is released.
    Waiting(LockId),
    /// The last step was made.
    Done,
}

/// How a call is driven: a compile-time choice, so that the fast path pays nothing.
pub trait Mode {
    /// Whether the call stops at yield points and records its locks.
    const STEPS: bool;
}

/// To the end, alone on the machine: nothing can be contended, so nothing is recorded.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Run;

/// One yield point at a time, among others.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Step;

impl Mode for Run {
    const STEPS: bool = false;
}

impl Mode for Step {
    const STEPS: bool = true;
}

/// Who is running: the call, the task that made it, and where.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Me {
    /// The call in flight; meaningless in mode [`Run`].
    pub call: CallId,
    /// The task that made the call.
    pub task: TaskId,
    /// The CPU it runs on.
    pub cpu: CpuId,
    /// Whether to stop inside critical sections too (the fine mode of concurrency 1).
    pub is_fine: bool,
}

/// What lies between two phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Point {
    /// Nothing can happen here.
    None,
    /// Others may run; no spinlock is held.
    Open,
    /// Others may run only in fine mode: a spinlock is held.
    Held,
}

impl Point {
    /// Whether a call in mode `M` stops here.
    #[inline(always)]
    pub fn stops<M: Mode>(self, me: Me) -> bool {
        M::STEPS
            && match self {
                Point::None => false,
                Point::Open => true,
                Point::Held => me.is_fine,
            }
    }
}
