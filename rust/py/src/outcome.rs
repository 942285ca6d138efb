//! What a call came to, as plain Python values.

use crate::arrays::{array, bytes};
use pagemig_core::base::Errno;
use pagemig_core::fault::Tally;
use pagemig_core::filemap::PageWritten;
use pagemig_core::machine::Outcome;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The outcome, in the form that `_core.pyi` gives for each request. `is_read`: with the bytes.
pub(crate) fn to_python(py: Python<'_>, outcome: Outcome, is_read: bool) -> PyResult<Py<PyAny>> {
    let object = match outcome {
        Outcome::Statuses(result, statuses, written) => {
            let statuses = array(py, statuses);
            (code(result), statuses, written).into_pyobject(py)?.into_any()
        }
        Outcome::Count(result) => {
            let count = result.map_or_else(|errno| i64::from(errno.negative()), i64::from);
            count.into_pyobject(py)?.into_any()
        }
        Outcome::Migrated(result, statuses, report) => {
            let count = result.map_or_else(|errno| i64::from(errno.negative()), i64::from);
            let statuses = array(py, statuses);
            let attempts = array(py, report.attempts);
            (count, statuses, attempts, report.passes, report.frames_discarded)
                .into_pyobject(py)?
                .into_any()
        }
        Outcome::Accessed(tally, data) if is_read => {
            let is_whole = tally.sigsegv.is_empty() && tally.sigbus.is_empty();
            let is_whole = is_whole && !tally.is_out_of_memory;
            let data = if is_whole { Some(bytes(py, &data)?) } else { None };
            let rest = accesses(py, tally)?;
            let mut items = vec![data.into_pyobject(py)?.into_any()];
            items.extend(rest.iter());
            PyTuple::new(py, items)?.into_any()
        }
        Outcome::Accessed(tally, _) => accesses(py, tally)?.into_any(),
        Outcome::Child(child) => {
            let pid = child.map_or_else(|errno| i64::from(errno.negative()), |pid| pid.0.into());
            pid.into_pyobject(py)?.into_any()
        }
        Outcome::Returned(result) => code(result).into_pyobject(py)?.into_any(),
        Outcome::Pinned(result) => result.ok().map(|page| page.0).into_pyobject(py)?.into_any(),
        Outcome::Freed(is_freed) => is_freed.into_pyobject(py)?.to_owned().into_any(),
        Outcome::Moved(result) => {
            let address = result.map_or_else(|errno| i64::from(errno.negative()), |at| at as i64);
            address.into_pyobject(py)?.into_any()
        }
        Outcome::Merged(pages) => pages.into_pyobject(py)?.into_any(),
        Outcome::FileRead(Ok(data)) => {
            (data.len(), bytes(py, &data)?).into_pyobject(py)?.into_any()
        }
        Outcome::FileRead(Err(errno)) => errno.negative().into_pyobject(py)?.into_any(),
        Outcome::FileWritten(result) => {
            let bytes = result.map_or_else(|e| i64::from(e.negative()), |bytes| bytes as i64);
            bytes.into_pyobject(py)?.into_any()
        }
        Outcome::PageWritten(result) => {
            result.map_or_else(Errno::negative, written).into_pyobject(py)?.into_any()
        }
        Outcome::Answered(is_so) => is_so.into_pyobject(py)?.to_owned().into_any(),
        Outcome::Nothing => py.None().into_bound(py),
    };
    Ok(object.unbind())
}

fn accesses<'py>(py: Python<'py>, tally: Tally) -> PyResult<Bound<'py, PyTuple>> {
    let sigsegv = array(py, tally.sigsegv);
    let sigbus = array(py, tally.sigbus);
    (
        tally.hits,
        tally.minor,
        tally.major,
        tally.copy_on_write,
        tally.spurious,
        sigsegv,
        sigbus,
        tally.is_out_of_memory,
    )
        .into_pyobject(py)
}

/// What a `writepage` returned; 1 if it was not called.
const fn written(written: PageWritten) -> i32 {
    match written {
        PageWritten::Nothing => 1,
        PageWritten::Started => 0,
        PageWritten::Activated => 0x80000,
    }
}

/// 0, or minus the errno.
pub(crate) fn code(result: Result<(), Errno>) -> i32 {
    result.map_or_else(Errno::negative, |()| 0)
}
