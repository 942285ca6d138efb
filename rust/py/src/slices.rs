//! Long calls, slice by slice: between two of them signals are handled and progress is shown.
//!
//! The machine's lock is free then, but others are refused as they are while a call runs. What becomes of a
//! call that Ctrl-C interrupts is the core's business: [`Machine::cut`].

use pagemig_core::base::{CallId, TaskId};
use pagemig_core::machine::{Machine, Outcome, Request, Slice};
use pyo3::prelude::*;

use crate::errors::Refusal;
use crate::gate::{Between, Gate};

/// Pages of a slice: some milliseconds, and some tens in a debug build.
const PAGES: u64 = 1 << 14;
/// Steps, and rounds of steps, of a slice of stepped calls.
pub(crate) const STEPS: u64 = 1 << 13;
/// See [`STEPS`].
pub(crate) const ROUNDS: u64 = 1 << 12;

/// Runs a call to its end, unless a signal handler or `progress(done, total)` raises.
pub(crate) fn run(
    gate: &Gate,
    py: Python<'_>,
    task: TaskId,
    request: Request,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Outcome> {
    let (mut slice, between) =
        gate.enter_first(py, |machine| machine.run_for(task, request, PAGES))?;
    loop {
        let call = match slice {
            Slice::Done(outcome) => return Ok(outcome),
            Slice::Paused(call) => call,
        };
        if let Err(stop) = look_up(py, &between, call, progress) {
            between.enter(py, |machine| machine.cut(call))?;
            return Err(stop);
        }
        slice = between.enter(py, |machine| machine.resume_for(call, PAGES))?;
    }
}

/// Makes slices of steps until one says that all is done.
pub(crate) fn step<E: Into<Refusal>>(
    gate: &Gate,
    py: Python<'_>,
    slice: impl Fn(&mut Machine) -> Result<bool, E> + Send + Sync,
) -> PyResult<()> {
    let (mut is_done, between) = gate.enter_first(py, &slice)?;
    while !is_done {
        py.check_signals()?;
        is_done = between.enter(py, &slice)?;
    }
    Ok(())
}

/// Handles signals and shows how far the call is.
fn look_up(
    py: Python<'_>,
    between: &Between<'_>,
    call: CallId,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    py.check_signals()?;
    let Some(progress) = progress else { return Ok(()) };
    let done = between.enter(py, |machine| machine.done_of(call).map_err(Refusal::from))?;
    if let Some((done, total)) = done {
        progress.call1((done, total))?;
    }
    Ok(())
}
