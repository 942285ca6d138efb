//! Arrays on their way to Python.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;

/// Makes an array that nobody else has seen read-only.
pub(crate) fn frozen<T: numpy::Element>(array: Bound<'_, PyArray1<T>>) -> Bound<'_, PyArray1<T>> {
    array.readwrite().make_nonwriteable();
    array
}
