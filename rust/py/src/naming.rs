//! Which of many things with numbers and names is meant.

use pyo3::prelude::*;

/// A number or a name.
#[derive(FromPyObject)]
pub(crate) enum Which {
    Number(u32),
    Name(String),
}

/// Whether something is meant; everything, if nothing was said.
pub(crate) fn is_meant(only: Option<&Which>, number: u32, name: &str) -> bool {
    match only {
        None => true,
        Some(Which::Number(wanted)) => *wanted == number,
        Some(Which::Name(wanted)) => wanted == name,
    }
}
