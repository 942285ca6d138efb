//! Long calls, slice by slice: between two of them signals are handled and progress is shown.
//!
//! Between two slices of a call ([`run`]) the machine's lock is free, but others are refused as they are while
//! a call runs. What becomes of a call that Ctrl-C interrupts is the core's business: [`Machine::cut`]. A
//! long look that changes nothing ([`watch`]) asks in its middle, and is thrown away.

use pagemig_core::base::{CallId, Misuse, TaskId};
use pagemig_core::machine::{Machine, Outcome, Request, Slice};
use pyo3::prelude::*;

use crate::errors::Refusal;
use crate::gate::{Between, Gate};
use crate::host_room;

/// Pages of a slice: some milliseconds, and some tens in a debug build.
const PAGES: u64 = 1 << 14;
/// Steps of a slice of stepped calls. One step can be a whole leaf table.
pub(crate) const STEPS: u64 = 1 << 10;
/// Transfers that end in a slice of passing time.
const TRANSFERS: u64 = 1 << 14;

/// Asks whether to go on; whoever is told not to comes to nothing.
pub(crate) type GoesOn<'a> = &'a mut (dyn FnMut() -> bool + Send);

/// Runs a call to its end, unless a signal handler or `progress(done, total)` raises.
pub(crate) fn run(
    gate: &Gate,
    py: Python<'_>,
    task: TaskId,
    request: Request,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Outcome> {
    let mut stop = None;
    let is_short = request.is_short();
    let (mut slice, between) = gate.enter_first(py, is_short, |machine| {
        host_room::check(machine, task, &request)?;
        machine.run_for_while(task, request, PAGES, &mut || goes_on(&mut stop))
    })?;
    loop {
        let paused = match slice {
            Slice::Done(outcome) => return Ok(outcome),
            Slice::Paused(paused) => paused,
            Slice::Stopped => return Err(stop.unwrap_or_else(|| unasked().into())),
        };
        if let Err(stop) = look_up(py, &between, paused.call(), progress) {
            between.enter(py, |machine| machine.cut(paused))?;
            return Err(stop);
        }
        slice = between.enter(py, |machine| machine.resume_for(paused, PAGES))?;
    }
}

/// Makes slices of steps until one says that all is done.
pub(crate) fn step<E: Into<Refusal>>(
    gate: &Gate,
    py: Python<'_>,
    slice: impl Fn(&mut Machine) -> Result<bool, E> + Send + Sync,
) -> PyResult<()> {
    find(gate, py, |machine| slice(machine).map(|is_done| is_done.then_some(())))
}

/// Makes slices of steps until one comes to something.
pub(crate) fn find<T: Send, E: Into<Refusal>>(
    gate: &Gate,
    py: Python<'_>,
    slice: impl Fn(&mut Machine) -> Result<Option<T>, E> + Send + Sync,
) -> PyResult<T> {
    let (mut found, between) = gate.enter_first(py, false, &slice)?;
    loop {
        if let Some(found) = found {
            return Ok(found);
        }
        py.check_signals()?;
        found = between.enter(py, &slice)?;
    }
}

/// One long look at a machine, which changes nothing: signals are handled every few milliseconds, while
/// the machine is busy. `work` comes to nothing once it was told not to go on.
pub(crate) fn watch<T: Send, E: Into<Refusal>>(
    gate: &Gate,
    py: Python<'_>,
    work: impl FnOnce(&Machine, GoesOn<'_>) -> Result<Option<T>, E> + Send,
) -> PyResult<T> {
    heed(|goes_on| gate.enter(py, |machine| work(machine, goes_on)))
}

/// The same for work without a machine, which lets Python go by itself.
pub(crate) fn heed<T>(work: impl FnOnce(GoesOn<'_>) -> PyResult<Option<T>>) -> PyResult<T> {
    let mut stop = None;
    let done = work(&mut || goes_on(&mut stop))?;
    match (stop, done) {
        (Some(stop), _) => Err(stop),
        (None, Some(done)) => Ok(done),
        (None, None) => Err(unasked().into()),
    }
}

/// Handles signals; tells whether to go on, and keeps what a handler raised.
fn goes_on(stop: &mut Option<PyErr>) -> bool {
    *stop = Python::attach(|py| py.check_signals()).err();
    stop.is_none()
}

/// Work that nobody ended, and that came to nothing all the same.
#[cold]
fn unasked() -> Refusal {
    Refusal::Bug("what nobody ended came to nothing".into(), format!("{}:{}", file!(), line!()))
}

/// Lets time pass, some transfers a slice.
pub(crate) fn pass_time(gate: &Gate, py: Python<'_>, ticks: u64) -> PyResult<()> {
    let now = gate.look(|machine| Ok(machine.kernel().now))?;
    let Some(until) = now.checked_add(ticks) else {
        return Err(
            Refusal::from(Misuse::Other(format!("{ticks} ticks more than the clock has"))).into()
        );
    };
    step(gate, py, |machine| Ok::<_, Misuse>(machine.advance_time_for(until, TRANSFERS)))
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
