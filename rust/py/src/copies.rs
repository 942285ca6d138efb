//! Whole machines: as bytes, from bytes, twice, and checked. Each is one long look that Ctrl-C ends.

use pagemig_core::audit::Finding;
use pagemig_core::base::Misuse;
use pagemig_core::machine::Machine;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::arrays::bytes;
use crate::gate::Gate;
use crate::machine::PyMachine;
use crate::slices::{self, GoesOn};

/// (rule, invariants, frame, detail)
type FindingRow = (&'static str, &'static str, Option<u32>, String);

#[pymethods]
impl PyMachine {
    fn audit(&self, py: Python<'_>) -> PyResult<Vec<FindingRow>> {
        let row = |f: Finding| (f.rule, f.ids, f.frame.map(|frame| frame.0), f.detail);
        let findings = self.watch(py, |machine, goes_on| {
            machine.check_room_for_audit()?;
            Ok::<_, Misuse>(machine.audit_while(goes_on))
        })?;
        Ok(findings.into_iter().map(row).collect())
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let keep = |machine: &Machine, goes_on: GoesOn<'_>| {
            machine.check_room_for_snapshot()?;
            machine.snapshot_while(goes_on)
        };
        let pieces = PyList::empty(py);
        for piece in self.watch(py, keep)? {
            py.check_signals()?;
            pieces.append(bytes(py, &piece)?)?;
        }
        Ok(pieces)
    }

    #[staticmethod]
    fn restore(py: Python<'_>, data: &[u8], start: usize) -> PyResult<PyMachine> {
        let snapshot = data.get(start..).unwrap_or_default();
        slices::heed(|goes_on| Gate::restored(py, snapshot, goes_on)).map(PyMachine::of)
    }

    #[pyo3(name = "clone")]
    fn copy(&self, py: Python<'_>) -> PyResult<PyMachine> {
        let copy = |machine: &Machine, goes_on: GoesOn<'_>| machine.try_clone_while(goes_on);
        self.watch(py, copy).map(PyMachine::of)
    }
}
