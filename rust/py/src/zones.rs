//! Zones, cpusets and ledgers, as plain Python values.

use std::collections::BTreeMap;

use pagemig_core::base::{CpusetId, Errno, NodeMask};
use pagemig_core::base::{NodeId, Pfn};
use pagemig_core::kernel::Kernel;
use pagemig_core::state::cpuset::Cpuset;
use pagemig_core::state::zone::{Counter, Zone};
use pyo3::prelude::*;

use crate::machine::PyMachine;
use crate::naming::{Which, is_meant};

/// (number, name, parent, nodes, memory_migrate)
pub(crate) type CpusetRow = (u16, String, Option<u16>, u64, bool);
/// (ledger, where, by how much)
pub(crate) type DriftRow = (&'static str, u32, i64);

/// (node, zone kind, first frame, frames spanned and present, watermarks, counters)
pub(crate) type ZoneRow = (u8, u8, u32, u64, u64, (u64, u64, u64), Vec<(&'static str, i64)>);

/// Every zone, in frame order.
pub(crate) fn zone_rows(kernel: &Kernel) -> Vec<ZoneRow> {
    let row = |zone: &Zone| {
        let spanned = (zone.end() - zone.first.index()) as u64;
        let marks = (zone.marks.min, zone.marks.low, zone.marks.high);
        let free = ("nr_free_pages", zone.free.count() as i64);
        let others =
            Counter::ALL.into_iter().map(|counter| (counter.name(), zone.counters.get(counter)));
        let counters = std::iter::once(free).chain(others).collect();
        (zone.node.0, zone.kind as u8, zone.first.0, spanned, zone.present(), marks, counters)
    };
    kernel.zones.iter().map(|(_, zone)| row(zone)).collect()
}

/// All cpusets, or those that are meant.
fn cpusets(kernel: &Kernel, only: Option<&Which>) -> Vec<CpusetRow> {
    let row = |(number, cpuset): (usize, &Cpuset)| {
        let number = number as u16;
        let parent = cpuset.parent.map(|parent| parent.0);
        is_meant(only, number.into(), &cpuset.name)
            .then(|| (number, cpuset.name.clone(), parent, cpuset.mems.0, cpuset.memory_migrate))
    };
    kernel.cpusets.rows.iter().enumerate().filter_map(row).collect()
}

fn cpuset_pids(kernel: &Kernel, cpuset: CpusetId) -> Vec<u32> {
    let tasks = kernel.tasks.iter().filter(|(_, task)| task.cpuset == Some(cpuset));
    tasks.map(|(pid, _)| pid.0).collect()
}

/// What documented quirks carried off; zones of one node together.
pub(crate) fn drift(kernel: &Kernel) -> Vec<DriftRow> {
    let mut by_node: BTreeMap<(usize, u32), (&'static str, i64)> = BTreeMap::new();
    for (zone, counter, by) in kernel.ledger.iter() {
        let node = u32::from(kernel.zones[zone].node.0);
        let row = by_node.entry((counter as usize, node)).or_insert((counter.name(), 0));
        row.1 += by;
    }
    let mut rows: Vec<DriftRow> =
        by_node.into_iter().map(|((_, node), (name, by))| (name, node, by)).collect();
    for (mm, space) in kernel.mms.iter() {
        rows.extend([("anon", mm.0, space.anon_drift), ("file", mm.0, space.file_drift)]);
    }
    for (group, row) in kernel.memcgs.iter() {
        let group = u32::from(group.0);
        rows.push(("mapped_file", group, -row.mapped_file_drift));
        rows.push(("charge", group, row.leaked as i64));
    }
    rows.retain(|&(_, _, by)| by != 0);
    rows
}

/// (first frame, migrate type) of every pageblock of a node, cut to its zones.
pub(crate) fn pageblocks(kernel: &Kernel, node: NodeId) -> Vec<(u32, u8)> {
    let mut rows = Vec::new();
    for (_, zone) in kernel.zones.iter().filter(|(_, zone)| zone.node == node) {
        let mut first = zone.first.index();
        while first < zone.end() {
            rows.push((first as u32, zone.blocks.kind(Pfn::from(first)) as u8));
            first = (first / zone.blocks.frames() + 1) * zone.blocks.frames();
        }
    }
    rows
}

#[pymethods]
impl PyMachine {
    fn create_cpuset(
        &self,
        py: Python<'_>,
        name: String,
        mems: u64,
        memory_migrate: bool,
        parent: u16,
    ) -> PyResult<i32> {
        let (mems, parent) = (NodeMask(mems), CpusetId(parent));
        let made =
            self.enter(py, |machine| machine.create_cpuset(name, mems, memory_migrate, parent))?;
        Ok(made.map_or_else(Errno::negative, |cpuset| i32::from(cpuset.0)))
    }

    #[pyo3(signature = (only=None))]
    fn cpusets(&self, only: Option<Which>) -> PyResult<Vec<CpusetRow>> {
        self.look(|machine| Ok(cpusets(machine.kernel(), only.as_ref())))
    }

    fn cpuset_pids(&self, cpuset: u16) -> PyResult<Vec<u32>> {
        self.look(|machine| Ok(cpuset_pids(machine.kernel(), CpusetId(cpuset))))
    }

    fn set_memory_migrate(&self, py: Python<'_>, cpuset: u16, on: bool) -> PyResult<()> {
        self.enter(py, |machine| machine.set_memory_migrate(CpusetId(cpuset), on))
    }

    fn drift(&self) -> PyResult<Vec<DriftRow>> {
        self.look(|machine| Ok(drift(machine.kernel())))
    }

    fn memory_mask(&self) -> PyResult<u64> {
        self.look(|machine| Ok(machine.kernel().zones.nodes_with_memory().0))
    }

    fn zone_rows(&self) -> PyResult<Vec<ZoneRow>> {
        self.look(|machine| Ok(zone_rows(machine.kernel())))
    }

    fn present_pages(&self, node: u8) -> PyResult<u64> {
        self.look(|machine| Ok(machine.kernel().zones.present(NodeId(node))))
    }

    fn pageblocks(&self, node: u8) -> PyResult<Vec<(u32, u8)>> {
        self.look(|machine| Ok(pageblocks(machine.kernel(), NodeId(node))))
    }
}
