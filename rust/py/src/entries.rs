//! The entries of a call, as Python gives them, and as the core keeps them.
//!
//! A call keeps its entries for as long as it is in flight, so they are copied; they can be the largest
//! pieces that it takes, so a host without room for them is no surprise, and copying them hears Ctrl-C.
//!
//! Start with [`Places`] and [`Nodes`]. Neighbours: [`super::request`], which they become part of.

use std::ops::Range;

use numpy::{PyReadonlyArray1, PyUntypedArrayMethods};
use pagemig_core::base::{NODES_MAX, NodeId, PAGE_SIZE};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};

use crate::errors::usage;
use crate::huge_pages;

/// Pages as Python names them.
pub(crate) enum Places<'py> {
    /// Their addresses.
    Listed(PyReadonlyArray1<'py, u64>),
    /// Neighbours: where the first begins, and how many there are.
    Neighbours(u64, usize),
}

impl<'py> FromPyObject<'_, 'py> for Places<'py> {
    type Error = PyErr;

    fn extract(from: Borrowed<'_, 'py, PyAny>) -> PyResult<Places<'py>> {
        if let Ok(pair) = from.cast::<PyTuple>() {
            let (start, count) = pair.extract()?;
            return Ok(Places::Neighbours(start, count));
        }
        Ok(Places::Listed(from.extract()?))
    }
}

impl Places<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Places::Listed(all) => all.len(),
            Places::Neighbours(_, count) => *count,
        }
    }

    pub(crate) fn listed(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        match self {
            Places::Listed(all) => copied(py, all),
            Places::Neighbours(start, count) => {
                let address = |page| start.wrapping_add(page as u64 * PAGE_SIZE);
                in_pieces(py, *count, |all, piece| {
                    all.extend(piece.map(address));
                    Ok(())
                })
            }
        }
    }
}

/// Nodes as Python names them.
pub(crate) enum Nodes<'py> {
    /// One for every page.
    All(i32),
    /// One for each.
    Each(PyReadonlyArray1<'py, i32>),
}

impl<'py> FromPyObject<'_, 'py> for Nodes<'py> {
    type Error = PyErr;

    fn extract(from: Borrowed<'_, 'py, PyAny>) -> PyResult<Nodes<'py>> {
        if let Ok(one) = from.cast::<PyInt>() {
            return Ok(Nodes::All(one.extract()?));
        }
        Ok(Nodes::Each(from.extract()?))
    }
}

impl Nodes<'_> {
    /// How many they are; none if one is for as many as there are pages.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Nodes::All(_) => None,
            Nodes::Each(nodes) => Some(nodes.len()),
        }
    }

    pub(crate) fn listed(&self, py: Python<'_>, count: usize) -> PyResult<Vec<NodeId>> {
        match self {
            Nodes::All(_) if count == 0 => Ok(Vec::new()),
            Nodes::All(node) if is_node(*node) => {
                let id = NodeId(*node as u8);
                in_pieces(py, count, |all, piece| {
                    all.resize(piece.end, id);
                    Ok(())
                })
            }
            Nodes::All(node) => Err(no_node(*node)),
            Nodes::Each(nodes) => node_ids(py, nodes),
        }
    }
}

/// An array as a vector of our own, or MemoryError: these can be the largest pieces that a call takes.
pub(crate) fn copied<T: Copy + numpy::Element>(
    py: Python<'_>,
    array: &PyReadonlyArray1<'_, T>,
) -> PyResult<Vec<T>> {
    converted(py, array, |all, piece| {
        all.extend_from_slice(piece);
        Ok(())
    })
}

/// Bytes, which nobody can change.
pub(crate) fn kept(py: Python<'_>, bytes: &[u8]) -> PyResult<Vec<u8>> {
    in_pieces(py, bytes.len(), |all, piece| {
        all.extend_from_slice(&bytes[piece]);
        Ok(())
    })
}

/// What `more` makes of an array, piece by piece. Each is borrowed anew: whatever handles signals in
/// between may write to the array, or give it other memory.
fn converted<T: Copy + numpy::Element, U>(
    py: Python<'_>,
    array: &PyReadonlyArray1<'_, T>,
    more: impl Fn(&mut Vec<U>, &[T]) -> PyResult<()>,
) -> PyResult<Vec<U>> {
    if array.as_slice().is_err() {
        let mut all = with_room(array.len())?;
        more(&mut all, &collected(array.as_array().iter().copied())?)?;
        return Ok(all);
    }
    in_pieces(py, array.len(), |all, piece| {
        let now = array.as_slice().ok().and_then(|entries| entries.get(piece));
        more(all, now.ok_or_else(|| usage("an array was changed while it was read"))?)
    })
}

/// Entries that are copied between two looks at signals. Memory that the host has yet to find can take it
/// some milliseconds a MiB.
const PIECE: usize = 1 << 20;

/// A vector that `more` fills, range by range; signals are handled in between.
fn in_pieces<T>(
    py: Python<'_>,
    len: usize,
    mut more: impl FnMut(&mut Vec<T>, Range<usize>) -> PyResult<()>,
) -> PyResult<Vec<T>> {
    let mut all = with_room(len)?;
    for start in (0..len).step_by(PIECE) {
        if start > 0 {
            py.check_signals()?;
        }
        more(&mut all, start..len.min(start + PIECE))?;
    }
    Ok(all)
}

pub(crate) fn collected<T>(all: impl ExactSizeIterator<Item = T>) -> PyResult<Vec<T>> {
    let mut copy = with_room(all.len())?;
    copy.extend(all);
    Ok(copy)
}

fn with_room<T>(len: usize) -> PyResult<Vec<T>> {
    let mut room = Vec::<T>::new();
    let bytes = len.saturating_mul(size_of::<T>());
    let no_room = |_| PyMemoryError::new_err(format!("{len} entries of a call need {bytes} bytes"));
    room.try_reserve_exact(len).map_err(no_room)?;
    huge_pages::ask_for(room.spare_capacity_mut());
    Ok(room)
}

fn is_node(node: i32) -> bool {
    (node as u32) < NODES_MAX as u32
}

#[cold]
fn no_node(node: i32) -> PyErr {
    usage(format!("no node {node}; nodes are 0 to {}", NODES_MAX - 1))
}

pub(crate) fn node_ids(py: Python<'_>, nodes: &PyReadonlyArray1<'_, i32>) -> PyResult<Vec<NodeId>> {
    converted(py, nodes, |ids, piece| match piece.iter().find(|&&node| !is_node(node)) {
        Some(&node) => Err(no_node(node)),
        None => {
            ids.extend(piece.iter().map(|&node| NodeId(node as u8)));
            Ok(())
        }
    })
}
