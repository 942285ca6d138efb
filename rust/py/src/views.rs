//! What can be looked at, as plain Python values.

use numpy::PyArray1;
use pagemig_core::base::{CallId, CpuId, NodeId, Pfn, TaskId};
use pagemig_core::kernel::Kernel;
use pagemig_core::machine::{Machine, State};
use pagemig_core::state::frame::Owner;
use pagemig_core::state::lru::ListKind;
use pagemig_core::state::pagetable::{Entry, Kind};
use pagemig_core::state::task::Task;
use pagemig_core::state::zone::Counter;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::frozen;
use crate::errors::Refusal;

/// (pfn, node, zone kind, flags, count, mapcount, owner kind, owner id, index, private)
pub(crate) type FrameRow = (u32, u8, u8, u32, u32, u32, u8, u32, u64, u32);
/// (kind, writable, dirty, accessed, special, pfn, value)
pub(crate) type EntryRow = (u8, bool, bool, bool, bool, u32, u64);
/// (pid, verb, done, label, waiting for (lock, number, holder), labels)
pub(crate) type CallRow = (
    u32,
    &'static str,
    bool,
    &'static str,
    Option<(&'static str, u32, Option<u32>)>,
    Vec<&'static str>,
);
/// (kind, number, the calls that hold it, the calls that wait for it)
pub(crate) type LockRow = (&'static str, u32, Vec<u32>, Vec<u32>);

pub(crate) fn memory(machine: &Machine, pid: u32) -> Result<&pagemig_core::state::mm::Mm, Refusal> {
    use pagemig_core::base::Misuse;
    let kernel = machine.kernel();
    let task = kernel.tasks.find(TaskId(pid)).ok_or(Misuse::NoSuchTask(TaskId(pid)))?;
    Ok(&kernel.mms[task.mm.ok_or(Misuse::NoMemory(TaskId(pid)))?])
}

pub(crate) fn frame(kernel: &Kernel, pfn: Pfn) -> FrameRow {
    let frame = &kernel.frames[pfn];
    let (owner, id) = match frame.owner() {
        Owner::None => (0, 0),
        Owner::Anon(list) => (1, list.0),
        Owner::File(file) => (2, file.0),
        Owner::Ksm(node) => (3, node.map_or(u32::MAX, |node| node.0)),
    };
    let kind = if pfn == kernel.frames.zero_page() {
        pagemig_core::base::ZoneKind::Normal
    } else {
        kernel.zones[kernel.zones.zone_of(pfn)].kind
    };
    (
        pfn.0,
        kernel.zones.node_of(pfn).0,
        kind as u8,
        frame.flags().bits(),
        frame.count(),
        frame.mapcount(),
        owner,
        id,
        frame.index(),
        frame.private,
    )
}

/// Columns of the frames of a node that are in use.
pub(crate) fn frames<'py>(
    py: Python<'py>,
    kernel: &Kernel,
    node: NodeId,
) -> PyResult<Bound<'py, PyDict>> {
    let of_node = kernel.zones.iter().filter(|(_, zone)| zone.node == node);
    let rows: Vec<FrameRow> = of_node
        .flat_map(|(_, zone)| {
            let page = |at| Pfn::from(zone.first.index() + at);
            let taken = (0..zone.free.touched()).map(page).filter(|&page| zone.is_in_use(page));
            taken.map(|page| frame(kernel, page))
        })
        .collect();
    let columns = PyDict::new(py);
    macro_rules! column {
        ($name:literal, $field:tt) => {
            let values = rows.iter().map(|row| row.$field).collect();
            columns.set_item($name, frozen(PyArray1::from_vec(py, values)))?;
        };
    }
    column!("pfn", 0);
    column!("node", 1);
    column!("zone", 2);
    column!("flags", 3);
    column!("count", 4);
    column!("mapcount", 5);
    column!("owner", 6);
    column!("owner_id", 7);
    column!("index", 8);
    column!("private", 9);
    Ok(columns)
}

pub(crate) fn entry(machine: &Machine, pid: u32, address: u64) -> Result<EntryRow, Refusal> {
    let entry = machine.kernel().tables.entry(memory(machine, pid)?.root, address);
    let kind = match entry.kind() {
        Kind::None => 0,
        Kind::Present => 1,
        Kind::Swap => 2,
        Kind::Migration => 3,
    };
    let is_present = kind == 1;
    let bit = |bits| is_present && entry.has(bits);
    let (pfn, writable) = match entry.as_migration() {
        Some((page, is_write)) => (page, is_write),
        None => (entry.pfn(), bit(Entry::WRITABLE)),
    };
    let (dirty, accessed) = (bit(Entry::DIRTY), bit(Entry::ACCESSED));
    Ok((kind, writable, dirty, accessed, bit(Entry::SPECIAL), pfn.0, entry.0))
}

/// The task and address of every entry that maps a frame, or would once its migration has ended.
pub(crate) fn entries_to(kernel: &Kernel, page: Pfn) -> Vec<(u32, u64)> {
    let names = |entry: Entry| match entry.as_migration() {
        Some((moving, _)) => moving == page,
        None => entry.is_present() && entry.normal_page() == Some(page),
    };
    let of_task = |(pid, task): (TaskId, &Task)| {
        let root = task.mm.map(|mm| kernel.mms[mm].root);
        let entries = root.into_iter().flat_map(|root| kernel.tables.entries(root));
        let naming = entries.filter(|&(_, _, entry)| names(entry));
        naming.map(move |(address, _, _)| (pid.0, address)).collect::<Vec<_>>()
    };
    kernel.tasks.iter().flat_map(of_task).collect()
}

/// The node of the page at each address, -1 where none is present. Looks, and touches nothing.
pub(crate) fn nodes_of(
    machine: &Machine,
    pid: u32,
    addresses: &[u64],
) -> Result<Vec<i32>, Refusal> {
    let kernel = machine.kernel();
    let root = memory(machine, pid)?.root;
    let node = |&address: &u64| {
        let entry = kernel.tables.entry(root, address);
        let is_user = address < pagemig_core::base::USER_END;
        if is_user && entry.is_present() {
            i32::from(kernel.zones.node_of(entry.pfn()).0)
        } else {
            -1
        }
    };
    Ok(addresses.iter().map(node).collect())
}

/// The frame that each address maps, -1 where no page is present. Looks, and touches nothing.
pub(crate) fn frames_of(
    machine: &Machine,
    pid: u32,
    addresses: &[u64],
) -> Result<Vec<i64>, Refusal> {
    let root = memory(machine, pid)?.root;
    let frame = |&address: &u64| {
        let entry = machine.kernel().tables.entry(root, address);
        let is_there = address < pagemig_core::base::USER_END && entry.is_present();
        if is_there { i64::from(entry.pfn().0) } else { -1 }
    };
    Ok(addresses.iter().map(frame).collect())
}

/// Counters summed over the zones that `wanted` picks, spelled as in `/proc/vmstat`.
pub(crate) fn counters<'py>(
    py: Python<'py>,
    kernel: &Kernel,
    wanted: impl Fn(NodeId) -> bool,
) -> PyResult<Bound<'py, PyDict>> {
    let zones = || kernel.zones.iter().filter(|(_, zone)| wanted(zone.node)).map(|(_, zone)| zone);
    let sums = PyDict::new(py);
    sums.set_item("nr_free_pages", zones().map(|zone| zone.free.count()).sum::<u64>())?;
    for counter in Counter::ALL {
        let sum = zones().map(|zone| zone.counters.get(counter)).sum::<i64>();
        sums.set_item(counter.name(), sum)?;
    }
    Ok(sums)
}

pub(crate) fn list(kernel: &Kernel, node: NodeId, zone: u8, index: usize) -> Option<Vec<u32>> {
    let kind = *ListKind::ALL.get(index)?;
    let mut zones = kernel.zones.iter().filter(|(_, z)| z.node == node && z.kind as u8 == zone);
    let (id, _) = zones.next()?;
    Some(kernel.lru.list(id, kind).pages(&kernel.frames).map(|page| page.0).collect())
}

pub(crate) fn pagevec(kernel: &Kernel, cpu: CpuId, index: usize) -> Vec<u32> {
    kernel.lru.pagevec(cpu, index).pages().iter().map(|page| page.0).collect()
}

pub(crate) fn call(machine: &Machine, number: u32) -> Result<CallRow, Refusal> {
    let id = pagemig_core::base::CallId(number);
    let flight = machine.flight(id)?;
    let waiting = match flight.state() {
        State::Waiting(lock) => {
            let holder = machine.holder(lock, id).map(|holder| holder.0);
            Some((lock.kind(), lock.number(), holder))
        }
        State::Ready | State::Done => None,
    };
    let labels = flight.labels().to_vec();
    Ok((flight.task().0, flight.verb(), flight.is_done(), flight.at(), waiting, labels))
}

/// Every lock that somebody holds or awaits, in the order in which they are taken.
pub(crate) fn locks(kernel: &Kernel) -> Vec<LockRow> {
    let numbers = |calls: &[CallId]| calls.iter().map(|call| call.0).collect();
    let rows = kernel.locks.iter().map(|(lock, holders, waiters)| {
        (lock.kind(), lock.number(), numbers(holders), waiters.map(|call| call.0).collect())
    });
    rows.collect()
}

/// The recorded events as columns.
pub(crate) fn trace<'py>(py: Python<'py>, kernel: &Kernel) -> PyResult<Bound<'py, PyDict>> {
    let events = || kernel.recorder.events();
    let columns = PyDict::new(py);
    let time: Vec<u64> = events().map(|event| event.time).collect();
    columns.set_item("time", frozen(PyArray1::from_vec(py, time)))?;
    let pid: Vec<u32> = events().map(|event| event.task.0).collect();
    columns.set_item("pid", frozen(PyArray1::from_vec(py, pid)))?;
    let call: Vec<u32> = events().map(|event| event.call.0).collect();
    columns.set_item("call", frozen(PyArray1::from_vec(py, call)))?;
    let names: Vec<&str> = events().map(|event| event.kind.name()).collect();
    columns.set_item("event", names)?;
    let labels: Vec<&str> = events().map(|event| event.label).collect();
    columns.set_item("label", labels)?;
    let pfn: Vec<i64> = events().map(|e| e.pfn.map_or(-1, |page| i64::from(page.0))).collect();
    columns.set_item("pfn", frozen(PyArray1::from_vec(py, pfn)))?;
    let address: Vec<u64> = events().map(|event| event.address).collect();
    columns.set_item("address", frozen(PyArray1::from_vec(py, address)))?;
    let value: Vec<i64> = events().map(|event| event.value).collect();
    columns.set_item("value", frozen(PyArray1::from_vec(py, value)))?;
    Ok(columns)
}
