//! One door between Python and a machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, TryLockError};

use pagemig_core::machine::Machine;
use pyo3::prelude::*;

use crate::errors::{Refusal, usage};

/// A machine behind a lock that is tried, never awaited.
#[derive(Debug)]
pub(crate) struct Gate(Mutex<Machine>);

impl Gate {
    pub(crate) fn new(machine: Machine) -> Gate {
        Gate(Mutex::new(machine))
    }

    /// The machine of a snapshot. Whoever forged one for which its checksum is right, but that
    /// contradicts itself so that reading it is an assertion, is told so.
    pub(crate) fn restored(py: Python<'_>, snapshot: &[u8]) -> PyResult<Gate> {
        let attempt = || catch_unwind(|| Machine::restore(snapshot));
        match py.detach(attempt) {
            Ok(restored) => restored.map(Gate::new).map_err(usage),
            Err(_) => Err(usage("a snapshot of no machine: it contradicts itself")),
        }
    }

    /// Runs `work` on the machine, with Python let go.
    ///
    /// A second thread is refused at once instead of deadlocking. A panic is caught outside the
    /// guard, so it poisons the lock, and a machine in an unknown state is never read again.
    pub(crate) fn enter<T: Send, E: Into<Refusal>>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Machine) -> Result<T, E> + Send,
    ) -> PyResult<T> {
        let attempt = || match self.0.try_lock() {
            Ok(mut machine) => work(&mut machine).map_err(Into::into),
            Err(TryLockError::WouldBlock) => Err(Refusal::Busy),
            Err(TryLockError::Poisoned(_)) => Err(Refusal::Broken),
        };
        let guarded = || {
            catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|cause| Err(Refusal::bug(cause)))
        };
        py.detach(guarded).map_err(PyErr::from)
    }

    /// Looks at the machine: short, so Python is not let go.
    pub(crate) fn look<T>(&self, work: impl FnOnce(&Machine) -> Result<T, Refusal>) -> PyResult<T> {
        let attempt = || match self.0.try_lock() {
            Ok(machine) => work(&machine),
            Err(TryLockError::WouldBlock) => Err(Refusal::Busy),
            Err(TryLockError::Poisoned(_)) => Err(Refusal::Broken),
        };
        let outcome = catch_unwind(AssertUnwindSafe(attempt));
        outcome.unwrap_or_else(|cause| Err(Refusal::bug(cause))).map_err(PyErr::from)
    }
}
