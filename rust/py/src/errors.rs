//! What comes back wrong, as Python exceptions. They are defined in Python.

use pagemig_core::base::{KERNEL_HALTS, Misuse};
use pagemig_core::machine::{Deadlock, RunError};
use pagemig_explore::ReplayError;
use pyo3::import_exception;
use pyo3::prelude::*;

use crate::panics;

import_exception!(pagemig.errors, DeadlockError);
import_exception!(pagemig.errors, InternalError);
import_exception!(pagemig.errors, MachineBusyError);
import_exception!(pagemig.errors, UsageError);

/// Why a machine did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The person's mistake.
    Misuse(Misuse),
    /// The calls can never go on.
    Deadlock(Deadlock),
    /// A schedule that cannot be followed.
    Replay(ReplayError),
    /// Another thread is inside.
    Busy,
    /// Our own mistake, made earlier.
    Broken,
    /// An assertion that failed now, and where: our own mistake, or, without a place, what comes of a
    /// kernel that was made to break a rule.
    Bug(String, String),
}

impl Refusal {
    /// What a caught panic says, and where it was if it is our own mistake: neither of a kernel that was made
    /// to break a rule, nor of one that halts where Linux did.
    pub(crate) fn bug(cause: Box<dyn std::any::Any + Send>, is_ours: bool) -> Refusal {
        let place = panics::place();
        let text = match cause.downcast::<String>() {
            Ok(text) => *text,
            Err(cause) => cause.downcast::<&str>().map_or("a panic".into(), |text| (*text).into()),
        };
        let is_ours = is_ours && !text.ends_with(KERNEL_HALTS);
        Refusal::Bug(text, if is_ours { place } else { String::new() })
    }
}

impl From<Misuse> for Refusal {
    fn from(misuse: Misuse) -> Refusal {
        Refusal::Misuse(misuse)
    }
}

impl From<Deadlock> for Refusal {
    fn from(deadlock: Deadlock) -> Refusal {
        Refusal::Deadlock(deadlock)
    }
}

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Refusal {
        match error {
            RunError::Misuse(misuse) => Refusal::Misuse(misuse),
            RunError::Deadlock(deadlock) => Refusal::Deadlock(deadlock),
        }
    }
}

impl From<ReplayError> for Refusal {
    fn from(error: ReplayError) -> Refusal {
        Refusal::Replay(error)
    }
}

impl From<Refusal> for PyErr {
    fn from(refusal: Refusal) -> PyErr {
        // No `_` arm: a new refusal must be given its face here.
        match refusal {
            Refusal::Misuse(misuse) => UsageError::new_err(misuse.to_string()),
            Refusal::Deadlock(deadlock) => {
                let row = |w: &pagemig_core::machine::Waiter| {
                    (w.call.0, w.task.0, w.lock.to_string(), w.holder.map(|holder| holder.0))
                };
                let graph: Vec<_> = deadlock.waiters.iter().map(row).collect();
                let message = deadlock.to_string();
                Python::attach(|py| match pyo3::types::PyTuple::new(py, graph) {
                    Ok(graph) => DeadlockError::new_err((message, graph.unbind())),
                    Err(error) => error,
                })
            }
            Refusal::Replay(error) => UsageError::new_err(error.to_string()),
            Refusal::Busy => MachineBusyError::new_err("another thread is running this machine"),
            Refusal::Broken => {
                InternalError::new_err("this machine broke earlier; build a new one")
            }
            Refusal::Bug(cause, place) => InternalError::new_err((cause, place)),
        }
    }
}

/// A complaint that is not a machine's.
pub(crate) fn usage(message: impl ToString) -> PyErr {
    UsageError::new_err(message.to_string())
}
