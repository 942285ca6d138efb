//! A search over schedules, for Python: advanced in slices, so that Ctrl-C works between them.

use std::sync::{Mutex, PoisonError};

use pagemig_core::base::{CallId, Misuse};
use pagemig_explore::{Exploration, Kind, Report, Settings, Stop, Strategy};
use pyo3::prelude::*;

use crate::errors::usage;
use crate::machine::PyMachine;

/// (state, outcome, schedules)
type EndRow = (u32, u32, u128);
/// (kind, rule, invariants, detail, schedules, schedule)
type FaultRow = (&'static str, String, &'static str, String, u128, String);
/// (name, preemptions or depth, runs, seed)
type StrategyRow = (String, Option<u32>, u64, u64);

/// What Python calls it.
pub(crate) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Invariant => "invariant",
        Kind::Assertion => "assertion",
        Kind::Deadlock => "deadlock",
        Kind::LostStore => "lost_store",
    }
}

/// A search.
#[pyclass(frozen, module = "pagemig._core", name = "Exploration")]
pub(crate) struct PyExploration(Mutex<(Exploration, Option<Report>)>);

impl PyExploration {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut (Exploration, Option<Report>)) -> T + Send,
    ) -> T {
        py.detach(|| {
            let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut inside)
        })
    }

    fn report<T: Send>(&self, py: Python<'_>, read: impl FnOnce(&Report) -> T + Send) -> T {
        self.with(py, |(search, report)| read(report.get_or_insert_with(|| search.report())))
    }
}

#[pymethods]
impl PyExploration {
    #[new]
    #[pyo3(signature = (machine, calls, *, strategy, memory, transitions, steps, stop_at_first, reduction))]
    #[allow(clippy::too_many_arguments, reason = "what bounds a search")]
    fn new(
        py: Python<'_>,
        machine: &PyMachine,
        calls: Vec<u32>,
        strategy: StrategyRow,
        memory: u64,
        transitions: Option<u64>,
        steps: u32,
        stop_at_first: bool,
        reduction: bool,
    ) -> PyResult<PyExploration> {
        let strategy = match strategy {
            (name, preemptions, _, _) if name == "exhaustive" => {
                Strategy::Exhaustive { preemptions }
            }
            (name, _, runs, seed) if name == "random" => Strategy::Random { runs, seed },
            (name, Some(depth), runs, seed) if name == "pct" => Strategy::Pct { depth, runs, seed },
            (name, ..) => return Err(usage(format!("no strategy {name:?}"))),
        };
        let stops_at_first = stop_at_first;
        let reduces = reduction;
        let settings = Settings { strategy, memory, transitions, steps, stops_at_first, reduces };
        let calls: Vec<CallId> = calls.into_iter().map(CallId).collect();
        if calls.is_empty() || calls.len() > pagemig_explore::CALLS_MAX {
            return Err(usage(format!("{} calls; 1 to 26 can be explored", calls.len())));
        }
        let search = machine.watch(py, |machine, goes_on| {
            for &call in &calls {
                if machine.flight(call)?.is_done() {
                    return Err(Misuse::CallDone(call));
                }
            }
            let copy = machine.try_clone_while(goes_on)?;
            Ok::<_, Misuse>(copy.map(|copy| Exploration::new(copy, calls, settings)))
        })?;
        Ok(PyExploration(Mutex::new((search, None))))
    }

    fn advance(&self, py: Python<'_>, transitions: u64) -> bool {
        self.with(py, |(search, report)| {
            *report = None;
            search.advance(transitions)
        })
    }

    fn stopped(&self, py: Python<'_>) -> Option<&'static str> {
        let stop = self.with(py, |(search, _)| search.stop())?;
        Some(match stop {
            Stop::Covered => "covered",
            Stop::Runs => "runs",
            Stop::Memory => "memory",
            Stop::Transitions => "transitions",
            Stop::Length => "length",
            Stop::FirstFinding => "first_finding",
        })
    }

    fn statistics(&self, py: Python<'_>) -> (u64, u64, u64, u64, u64, u64, u32) {
        let now = self.with(py, |(search, _)| search.statistics());
        (now.states, now.transitions, now.ends, now.faults, now.bytes, now.runs, now.depth)
    }

    fn schedules(&self, py: Python<'_>) -> (u128, bool) {
        self.report(py, |report| (report.schedules, report.is_exact))
    }

    fn ends(&self, py: Python<'_>) -> Vec<EndRow> {
        self.report(py, |report| {
            report.ends.iter().map(|end| (end.state, end.outcome, end.schedules)).collect()
        })
    }

    fn schedule(&self, py: Python<'_>, state: u32) -> String {
        self.report(py, |report| report.schedule(state).to_string())
    }

    fn findings(&self, py: Python<'_>) -> Vec<FaultRow> {
        let row = |found: &pagemig_explore::Finding| {
            let kind = kind_name(found.kind);
            let (rule, detail) = (found.rule.clone(), found.detail.clone());
            (kind, rule, found.ids, detail, found.schedules, found.schedule.to_string())
        };
        self.report(py, |report| report.findings.iter().map(row).collect())
    }
}
