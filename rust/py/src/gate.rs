//! One door between Python and a machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};

use pagemig_core::base::Misuse;
use pagemig_core::machine::Machine;
use pyo3::prelude::*;

use crate::errors::{Refusal, usage};
use crate::slices::GoesOn;
use crate::spare;

/// A machine behind a lock that is tried, never awaited.
#[derive(Debug)]
pub(crate) struct Gate {
    machine: Mutex<Machine>,
    /// Whether somebody is between two slices of a long call: others are refused as if it ran.
    is_between: AtomicBool,
}

/// A host that does not even give what the smallest call may take.
pub(crate) fn no_room() -> Misuse {
    Misuse::Other("this host has no memory left for a call; nothing has changed".into())
}

/// The right to come back for the next slice; others come in again when it is dropped.
#[derive(Debug)]
pub(crate) struct Between<'a>(&'a Gate);

impl Drop for Between<'_> {
    fn drop(&mut self) {
        self.0.is_between.store(false, Ordering::Release);
    }
}

/// How somebody comes in.
#[derive(Clone, Copy, Debug)]
struct Visit {
    /// For the next slice of a call.
    is_next: bool,
    /// So short that Python need not be let go.
    is_short: bool,
}

impl<'a> Between<'a> {
    /// As [`Gate::enter`], for the next slice.
    pub(crate) fn enter<T: Send, E: Into<Refusal>>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Machine) -> Result<T, E> + Send,
    ) -> PyResult<T> {
        self.0.let_in(py, work, |_| {}, Visit { is_next: true, is_short: false })
    }
}

impl Gate {
    pub(crate) fn new(machine: Machine) -> Gate {
        Gate { machine: Mutex::new(machine), is_between: AtomicBool::new(false) }
    }

    /// The machine of a snapshot. Whoever forged one for which its checksum is right, but that
    /// contradicts itself so that reading it is an assertion, is told so.
    pub(crate) fn restored(
        py: Python<'_>,
        snapshot: &[u8],
        goes_on: GoesOn<'_>,
    ) -> PyResult<Option<Machine>> {
        if !spare::is_kept() {
            return Err(usage(no_room()));
        }
        Machine::check_room_to_restore(snapshot.len()).map_err(usage)?;
        let read = AssertUnwindSafe(|| Machine::restore_while(snapshot, goes_on));
        let attempt = || catch_unwind(read);
        match py.detach(attempt) {
            Ok(restored) => restored.map_err(usage),
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
        self.let_in(py, work, |_| {}, Visit { is_next: false, is_short: false })
    }

    /// The same for work that may be the first slice of a long call: until what comes back with it is
    /// dropped, others are refused. Python is not let go for a short one, which that would take longer.
    pub(crate) fn enter_first<T: Send, E: Into<Refusal>>(
        &self,
        py: Python<'_>,
        is_short: bool,
        work: impl FnOnce(&mut Machine) -> Result<T, E> + Send,
    ) -> PyResult<(T, Between<'_>)> {
        let keep = |gate: &Gate| gate.is_between.store(true, Ordering::Release);
        let visit = Visit { is_next: false, is_short };
        self.let_in(py, work, keep, visit).map(|done| (done, Between(self)))
    }

    fn let_in<T: Send, E: Into<Refusal>>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Machine) -> Result<T, E> + Send,
        keep: impl FnOnce(&Gate) + Send,
        visit: Visit,
    ) -> PyResult<T> {
        let are_ours = AtomicBool::new(true);
        let attempt = || match self.machine.try_lock() {
            Ok(_) if !visit.is_next && self.is_between.load(Ordering::Acquire) => {
                Err(Refusal::Busy)
            }
            Ok(_) if !visit.is_next && !spare::is_kept() => Err(no_room().into()),
            Ok(mut machine) => {
                // Made to break a rule, its assertions are what is looked for, and nobody's mistake.
                are_ours.store(machine.kernel().bugs.is_empty(), Ordering::Relaxed);
                let done = work(&mut machine).map_err(Into::into)?;
                // Still under the lock: nobody comes in between.
                keep(self);
                Ok(done)
            }
            Err(TryLockError::WouldBlock) => Err(Refusal::Busy),
            Err(TryLockError::Poisoned(_)) => Err(Refusal::Broken),
        };
        let guarded = || {
            catch_unwind(AssertUnwindSafe(attempt))
                .unwrap_or_else(|cause| Err(Refusal::bug(cause, are_ours.load(Ordering::Relaxed))))
        };
        let done = if visit.is_short { guarded() } else { py.detach(guarded) };
        done.map_err(PyErr::from)
    }

    /// Looks at the machine: short, so Python is not let go.
    pub(crate) fn look<T>(&self, work: impl FnOnce(&Machine) -> Result<T, Refusal>) -> PyResult<T> {
        let are_ours = AtomicBool::new(true);
        let attempt = || match self.machine.try_lock() {
            Ok(_) if self.is_between.load(Ordering::Acquire) => Err(Refusal::Busy),
            Ok(machine) => {
                are_ours.store(machine.kernel().bugs.is_empty(), Ordering::Relaxed);
                work(&machine)
            }
            Err(TryLockError::WouldBlock) => Err(Refusal::Busy),
            Err(TryLockError::Poisoned(_)) => Err(Refusal::Broken),
        };
        let outcome = catch_unwind(AssertUnwindSafe(attempt));
        outcome
            .unwrap_or_else(|cause| Err(Refusal::bug(cause, are_ours.load(Ordering::Relaxed))))
            .map_err(PyErr::from)
    }
}
