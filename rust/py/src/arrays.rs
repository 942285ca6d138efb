//! Arrays and bytes on their way to Python.

use numpy::npyffi::NPY_ARRAY_WRITEABLE;
use numpy::{PyArray1, PyUntypedArrayMethods};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Bytes that are copied between two looks at signals.
const PIECE: usize = 1 << 23;

/// A copy for Python. It can be a GiB, which takes a while: signals are handled meanwhile. MemoryError, if
/// the host has no room.
pub(crate) fn bytes<'py>(py: Python<'py>, from: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let len = from.len() as ffi::Py_ssize_t;
    // SAFETY: without a source, this makes an object of our own with `len` bytes of room, or raises.
    let made = unsafe {
        let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), len);
        Bound::from_owned_ptr_or_err(py, object)?
    };
    // SAFETY: it is a bytes object.
    let start = unsafe { ffi::PyBytes_AsString(made.as_ptr()) }.cast::<u8>();
    for (at, piece) in from.chunks(PIECE).enumerate() {
        if at > 0 {
            py.check_signals()?;
        }
        // SAFETY: the pieces lie in `from` one after the other, which is as long as the object; and
        // nobody else has seen the object yet.
        unsafe {
            std::ptr::copy_nonoverlapping(piece.as_ptr(), start.add(at * PIECE), piece.len());
        }
    }
    Ok(made.cast_into()?)
}

/// More values than this are handed to Python where they are; copying fewer is cheaper.
const FEW: usize = 256;

/// Values as a read-only array.
pub(crate) fn array<T: numpy::Element + Copy>(
    py: Python<'_>,
    values: Vec<T>,
) -> Bound<'_, PyArray1<T>> {
    frozen(if values.len() <= FEW {
        PyArray1::from_slice(py, &values)
    } else {
        PyArray1::from_vec(py, values)
    })
}

/// Makes an array that nobody else has seen read-only.
pub(crate) fn frozen<T: numpy::Element>(array: Bound<'_, PyArray1<T>>) -> Bound<'_, PyArray1<T>> {
    // SAFETY: it is a live array, and nobody else has borrowed it, nor reads its flags meanwhile.
    unsafe { (*array.as_array_ptr()).flags &= !NPY_ARRAY_WRITEABLE };
    array
}

/// A struct of columns that a host without room for them refuses, and that becomes a `dict` of arrays.
macro_rules! columns {
    ($(#[$about:meta])* $columns:ident of $row:ty { $($name:ident: $type:ty = $field:tt,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub(crate) struct $columns {
            $($name: Vec<$type>,)*
        }

        impl $columns {
            /// Whether the host has room for so many rows.
            fn try_reserve(&mut self, rows: usize) -> bool {
                $(self.$name.try_reserve_exact(rows).is_ok() &&)* true
            }

            fn push(&mut self, row: &$row) {
                $(self.$name.push(row.$field);)*
            }

            /// By name; what was reserved for nothing is given back.
            pub(crate) fn into_dict(
                self,
                py: pyo3::Python<'_>,
            ) -> pyo3::PyResult<pyo3::Bound<'_, pyo3::types::PyDict>> {
                use pyo3::types::PyDictMethods;
                let columns = pyo3::types::PyDict::new(py);
                $(
                    let mut values = self.$name;
                    values.shrink_to_fit();
                    let array = crate::arrays::array(py, values);
                    columns.set_item(stringify!($name), array)?;
                )*
                Ok(columns)
            }
        }
    };
}
pub(crate) use columns;
