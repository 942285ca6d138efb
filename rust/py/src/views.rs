//! What can be looked at, as plain Python values.

use pagemig_core::base::{CallId, CpuId, Lookout, Misuse, NodeId, Pfn, TaskId, ZoneId};
use pagemig_core::kernel::Kernel;
use pagemig_core::machine::{Machine, State};
use pagemig_core::state::frame::Owner;
use pagemig_core::state::lru::ListKind;
use pagemig_core::state::pagetable::{Entry, Kind};
use pagemig_core::state::zone::Counter;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::arrays::{array, columns};
use crate::errors::Refusal;
use crate::slices::GoesOn;

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

columns! {
    /// Columns of frames.
    FrameColumns of FrameRow {
        pfn: u32 = 0,
        node: u8 = 1,
        zone: u8 = 2,
        flags: u32 = 3,
        count: u32 = 4,
        mapcount: u32 = 5,
        owner: u8 = 6,
        owner_id: u32 = 7,
        index: u64 = 8,
        private: u32 = 9,
    }
}

/// The frames of a node that are in use; nothing, if that was over early.
pub(crate) fn frames(
    kernel: &Kernel,
    node: NodeId,
    goes_on: GoesOn<'_>,
) -> Result<Option<FrameColumns>, Refusal> {
    let lookout = Lookout::new(goes_on);
    let of_node = || kernel.zones.iter().map(|(_, zone)| zone).filter(|zone| zone.node == node);
    let touched = of_node().map(|zone| zone.free.touched()).sum();
    let mut columns = FrameColumns::default();
    if !columns.try_reserve(touched) {
        return Err(no_room("rows of frames", touched));
    }
    for zone in of_node() {
        let page = |at| Pfn::from(zone.first.index() + at);
        let taken = lookout.watch(0..zone.free.touched()).map(page);
        for page in taken.filter(|&page| zone.is_in_use(page)) {
            columns.push(&frame(kernel, page));
        }
    }
    Ok((!lookout.is_over()).then_some(columns))
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

/// The task and address of every entry that maps a frame, or would once its migration has ended; nothing,
/// if that was over early.
pub(crate) fn entries_to(
    kernel: &Kernel,
    page: Pfn,
    goes_on: GoesOn<'_>,
) -> Option<Vec<(u32, u64)>> {
    let lookout = Lookout::new(goes_on);
    let names = |entry: Entry| match entry.as_migration() {
        Some((moving, _)) => moving == page,
        None => entry.is_present() && entry.normal_page() == Some(page),
    };
    let mut found = Vec::new();
    for (pid, task) in kernel.tasks.iter() {
        let Some(mm) = task.mm else { continue };
        let entries = lookout.watch(kernel.tables.entries(kernel.mms[mm].root));
        let naming = entries.filter(|&(_, _, entry)| names(entry));
        found.extend(naming.map(|(address, _, _)| (pid.0, address)));
    }
    (!lookout.is_over()).then_some(found)
}

/// The node of the page at each address, -1 where none is present. Looks, and touches nothing. Nothing, if
/// that was over early.
pub(crate) fn nodes_of(
    machine: &Machine,
    pid: u32,
    addresses: &[u64],
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<i32>>, Refusal> {
    let lookout = Lookout::new(goes_on);
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
    let mut nodes = Vec::new();
    if nodes.try_reserve_exact(addresses.len()).is_err() {
        return Err(no_room("nodes", addresses.len()));
    }
    nodes.extend(lookout.watch(addresses).map(node));
    Ok((!lookout.is_over()).then_some(nodes))
}

/// A host that does not give what an answer takes.
pub(crate) fn no_room(what: &str, count: usize) -> Refusal {
    Misuse::Other(format!("this host has no room for {count} {what}")).into()
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

/// The zone and kind of an LRU list, if there is one.
pub(crate) fn find_list(
    kernel: &Kernel,
    node: NodeId,
    zone: u8,
    index: usize,
) -> Option<(ZoneId, ListKind)> {
    let kind = *ListKind::ALL.get(index)?;
    let mut zones = kernel.zones.iter().filter(|(_, z)| z.node == node && z.kind as u8 == zone);
    zones.next().map(|(id, _)| (id, kind))
}

/// The pages of an LRU list; nothing, if that was over early.
pub(crate) fn list(
    kernel: &Kernel,
    zone: ZoneId,
    kind: ListKind,
    goes_on: GoesOn<'_>,
) -> Result<Option<Vec<u32>>, Refusal> {
    let lookout = Lookout::new(goes_on);
    let len = kernel.zones[zone].counters.get(Counter::ALL[kind as usize]).max(0) as usize;
    let mut pages: Vec<u32> = Vec::new();
    if pages.try_reserve(len).is_err() {
        return Err(no_room("pages of a list", len));
    }
    let listed = kernel.lru.list(zone, kind).pages(&kernel.frames);
    pages.extend(lookout.watch(listed).map(|page| page.0));
    Ok((!lookout.is_over()).then_some(pages))
}

/// Numbers as a Python list; signals are handled now and then.
pub(crate) fn to_list<'py>(py: Python<'py>, numbers: &[u32]) -> PyResult<Bound<'py, PyList>> {
    const PIECE: usize = 1 << 16;
    let list = PyList::empty(py);
    for piece in numbers.chunks(PIECE) {
        py.check_signals()?;
        piece.iter().try_for_each(|number| list.append(number))?;
    }
    Ok(list)
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
    columns.set_item("time", array(py, time))?;
    let pid: Vec<u32> = events().map(|event| event.task.0).collect();
    columns.set_item("pid", array(py, pid))?;
    let call: Vec<u32> = events().map(|event| event.call.0).collect();
    columns.set_item("call", array(py, call))?;
    let names: Vec<&str> = events().map(|event| event.kind.name()).collect();
    columns.set_item("event", names)?;
    let labels: Vec<&str> = events().map(|event| event.label).collect();
    columns.set_item("label", labels)?;
    let pfn: Vec<i64> = events().map(|e| e.pfn.map_or(-1, |page| i64::from(page.0))).collect();
    columns.set_item("pfn", array(py, pfn))?;
    let address: Vec<u64> = events().map(|event| event.address).collect();
    columns.set_item("address", array(py, address))?;
    let value: Vec<i64> = events().map(|event| event.value).collect();
    columns.set_item("value", array(py, value))?;
    Ok(columns)
}
