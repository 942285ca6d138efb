//! Memory cgroups and KSM, as plain Python values.

use pagemig_core::base::{MemcgId, Misuse, Pfn, RmapItemId, TaskId};
use pagemig_core::kernel::Kernel;
use pagemig_core::machine::Machine;
use pagemig_core::state::memcg::Memcg;
use pyo3::prelude::*;

use crate::errors::Refusal;
use crate::machine::PyMachine;
use crate::naming::{Which, is_meant};
use crate::outcome::code;

/// (number, name, parent, usage, limit, cache, rss, mapped file, swapout)
pub(crate) type MemcgRow = (u16, String, Option<u16>, u64, Option<u64>, i64, i64, i64, i64);
/// (node, kpfn, places newest first)
pub(crate) type KsmNodeRow = (u32, u32, Vec<(u32, u64)>);

/// All groups, or those that are meant; while there are none, the root alone.
fn memcgs(kernel: &Kernel, only: Option<&Which>) -> Vec<MemcgRow> {
    let row = |(id, group): (MemcgId, &Memcg)| {
        let parent = group.parent.map(|parent| parent.0);
        let Memcg { cache, rss, mapped_file, swapout, .. } = *group;
        let name = group.name.clone();
        (id.0, name, parent, group.usage, group.limit, cache, rss, mapped_file, swapout)
    };
    if kernel.memcgs.iter().next().is_none() {
        let root: MemcgRow = (MemcgId::ROOT.0, "root".into(), None, 0, None, 0, 0, 0, 0);
        return Some(root).filter(|row| is_meant(only, row.0.into(), &row.1)).into_iter().collect();
    }
    let meant = |(id, group): &(MemcgId, &Memcg)| is_meant(only, id.0.into(), &group.name);
    kernel.memcgs.iter().filter(meant).map(row).collect()
}

/// (cpuset, memcg)
pub(crate) fn of_task(kernel: &Kernel, pid: u32) -> Result<(Option<u16>, u16), Refusal> {
    let task = kernel.tasks.find(TaskId(pid)).ok_or(Misuse::NoSuchTask(TaskId(pid)))?;
    Ok((task.cpuset.map(|cpuset| cpuset.0), task.memcg.0))
}

/// (record flags, owner)
pub(crate) fn of_frame(kernel: &Kernel, page: Pfn) -> (u8, u16) {
    let record = kernel.memcg_record(page);
    (record.flags.bits(), record.owner.0)
}

/// (shared, sharing, unshared)
pub(crate) fn ksm(kernel: &Kernel) -> (u64, u64, u64) {
    (kernel.ksm.pages_shared, kernel.ksm.pages_sharing, kernel.ksm.pages_unshared)
}

pub(crate) fn ksm_nodes(kernel: &Kernel) -> Vec<KsmNodeRow> {
    let place = |&item: &RmapItemId| {
        let item = &kernel.ksm.items[item];
        (item.mm.0, item.address)
    };
    let nodes = kernel.ksm.nodes.iter();
    nodes.map(|(id, node)| (id.0, node.kpfn.0, node.items.iter().map(place).collect())).collect()
}

#[pymethods]
impl PyMachine {
    #[pyo3(signature = (name, limit_pages, parent))]
    fn create_memcg(
        &self,
        py: Python<'_>,
        name: String,
        limit_pages: Option<u64>,
        parent: u16,
    ) -> PyResult<u16> {
        let made = |machine: &mut Machine| machine.create_memcg(name, limit_pages, MemcgId(parent));
        self.enter(py, made).map(|memcg| memcg.0)
    }

    #[pyo3(signature = (only=None))]
    fn memcgs(&self, only: Option<Which>) -> PyResult<Vec<MemcgRow>> {
        self.look(|machine| Ok(memcgs(machine.kernel(), only.as_ref())))
    }

    #[pyo3(signature = (memcg, limit_pages))]
    fn set_memcg_limit(
        &self,
        py: Python<'_>,
        memcg: u16,
        limit_pages: Option<u64>,
    ) -> PyResult<i32> {
        self.enter(py, |machine| machine.set_memcg_limit(MemcgId(memcg), limit_pages)).map(code)
    }

    fn attach_memcg(&self, py: Python<'_>, memcg: u16, pid: u32) -> PyResult<()> {
        self.enter(py, |machine| machine.attach_memcg(MemcgId(memcg), TaskId(pid)))
    }

    fn task_groups(&self, pid: u32) -> PyResult<(Option<u16>, u16)> {
        self.look(|machine| of_task(machine.kernel(), pid))
    }

    fn frame_memcg(&self, pfn: u32) -> PyResult<(u8, u16)> {
        self.look(|machine| {
            machine.check_frame(Pfn(pfn))?;
            Ok(of_frame(machine.kernel(), Pfn(pfn)))
        })
    }

    fn ksm(&self) -> PyResult<(u64, u64, u64)> {
        self.look(|machine| Ok(ksm(machine.kernel())))
    }

    fn ksm_nodes(&self) -> PyResult<Vec<KsmNodeRow>> {
        self.look(|machine| Ok(ksm_nodes(machine.kernel())))
    }
}
