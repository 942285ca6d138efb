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
                in_pieces(py, *count, |all, piece| all.extend(piece.map(address)))
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
    pub(crate) fn listed(&self, py: Python<'_>, count: u64) -> PyResult<Vec<NodeId>> {
        match self {
            Nodes::All(_) if count == 0 => Ok(Vec::new()),
            Nodes::All(node) if is_node(*node) => {
                let id = NodeId(*node as u8);
                in_pieces(py, count as usize, |all, piece| all.resize(piece.end, id))
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
    match array.as_slice() {
        Ok(all) => kept(py, all),
        Err(_) => collected(array.as_array().iter().copied()),
    }
}

pub(crate) fn kept<T: Copy>(py: Python<'_>, all: &[T]) -> PyResult<Vec<T>> {
    in_pieces(py, all.len(), |copy, piece| copy.extend_from_slice(&all[piece]))
}

/// Entries that are copied between two looks at signals. Memory that the host has yet to find can take it
/// some milliseconds a MiB.
const PIECE: usize = 1 << 20;

/// A vector that `more` fills, range by range; signals are handled in between.
fn in_pieces<T>(
    py: Python<'_>,
    len: usize,
    mut more: impl FnMut(&mut Vec<T>, Range<usize>),
) -> PyResult<Vec<T>> {
    let mut all = with_room(len)?;
    for start in (0..len).step_by(PIECE) {
        if start > 0 {
            py.check_signals()?;
        }
        more(&mut all, start..len.min(start + PIECE));
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
    if let Ok(all) = nodes.as_slice() {
        if all.iter().all(|&node| is_node(node)) {
            let ids = |piece: Range<usize>| all[piece].iter().map(|&node| NodeId(node as u8));
            return in_pieces(py, all.len(), |copy, piece| copy.extend(ids(piece)));
        }
    }
    let array = nodes.as_array();
    match array.iter().find(|&&node| !is_node(node)) {
        Some(&node) => Err(no_node(node)),
        None => collected(array.iter().map(|&node| NodeId(node as u8))),
    }
}
