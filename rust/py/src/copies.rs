//! Whole machines: as bytes, from bytes, and twice. Each is one long look that Ctrl-C ends.

use pagemig_core::machine::Machine;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::arrays::bytes;
use crate::gate::Gate;
use crate::machine::PyMachine;
use crate::slices::{self, GoesOn};

#[pymethods]
impl PyMachine {
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
