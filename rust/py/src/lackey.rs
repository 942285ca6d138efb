//! The lackey parser, for Python.

use std::sync::{Mutex, PoisonError};

use numpy::{PyArray1, PyArrayMethods};
use pagemig_inputs::{Columns, LackeyParser as Parser, ParseError};
use pyo3::prelude::*;

use crate::errors::{Refusal, usage};

/// Three columns: addresses, sizes, kinds.
type Arrays<'py> = (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<u8>>);

/// Valgrind lackey text to columns, in pieces of any size.
#[pyclass(frozen, module = "pagemig._core")]
pub(crate) struct LackeyParser(Mutex<Parser>);

#[pymethods]
impl LackeyParser {
    #[new]
    #[pyo3(signature = (*, instructions = false))]
    fn new(instructions: bool) -> Self {
        LackeyParser(Mutex::new(Parser::new(instructions)))
    }

    fn feed<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Arrays<'py>> {
        self.parse(py, |parser, columns| parser.feed(data, columns))
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Arrays<'py>> {
        self.parse(py, Parser::finish)
    }

    #[getter]
    fn lines(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }
}

impl LackeyParser {
    fn parse<'py>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(&mut Parser, &mut Columns) -> Result<(), ParseError> + Send,
    ) -> PyResult<Arrays<'py>> {
        let columns = py.detach(|| {
            let mut parser = self.0.try_lock().map_err(|_| PyErr::from(Refusal::Busy))?;
            let mut columns = Columns::default();
            work(&mut parser, &mut columns).map_err(usage)?;
            Ok::<_, PyErr>(columns)
        })?;
        Ok((
            frozen(PyArray1::from_vec(py, columns.addresses)),
            frozen(PyArray1::from_vec(py, columns.sizes)),
            frozen(PyArray1::from_vec(py, columns.kinds)),
        ))
    }
}

/// Makes an array that nobody else has seen read-only.
pub(crate) fn frozen<T: numpy::Element>(array: Bound<'_, PyArray1<T>>) -> Bound<'_, PyArray1<T>> {
    array.readwrite().make_nonwriteable();
    array
}
