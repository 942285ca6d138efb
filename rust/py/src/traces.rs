//! The parsers of recorded accesses, for Python.

use std::sync::{Mutex, PoisonError};

use numpy::PyArray1;
use pagemig_inputs::{Columns, Format, ParseError, TraceParser as Parser};
use pyo3::prelude::*;

use crate::arrays::array;
use crate::errors::{Refusal, usage};

/// Three columns: addresses, sizes, kinds.
type Arrays<'py> = (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<u8>>);

/// A trace of one format to columns, in pieces of any size.
#[pyclass(frozen, module = "pagemig._core")]
pub(crate) struct TraceParser(Mutex<Parser>);

#[pymethods]
impl TraceParser {
    #[new]
    #[pyo3(signature = (format, *, instructions = false))]
    fn new(format: &str, instructions: bool) -> PyResult<Self> {
        let known = Format::named(format).ok_or_else(|| {
            let names: Vec<_> = Format::NAMES.iter().map(|&(name, _)| name).collect();
            usage(format!("format is {format:?}; it must be one of {}", names.join(", ")))
        })?;
        Ok(TraceParser(Mutex::new(Parser::new(known, instructions))))
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

impl TraceParser {
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
        Ok((array(py, columns.addresses), array(py, columns.sizes), array(py, columns.kinds)))
    }
}
