//! Memory cgroups and KSM, as plain Python values.

use pagemig_core::base::{MemcgId, Misuse, Pfn, RmapItemId, TaskId};
use pagemig_core::kernel::Kernel;

use crate::errors::Refusal;

/// (number, name, parent, usage, limit, cache, rss, mapped file, swapout)
pub(crate) type MemcgRow = (u16, String, Option<u16>, u64, Option<u64>, i64, i64, i64, i64);
/// (node, kpfn, places newest first)
pub(crate) type KsmNodeRow = (u32, u32, Vec<(u32, u64)>);

/// All groups; while there are none, the root alone.
pub(crate) fn memcgs(kernel: &Kernel) -> Vec<MemcgRow> {
    let row = |(id, group): (MemcgId, &pagemig_core::state::memcg::Memcg)| {
        let parent = group.parent.map(|parent| parent.0);
        let statistics = (group.cache, group.rss, group.mapped_file, group.swapout);
        let (cache, rss, mapped_file, swapout) = statistics;
        let name = group.name.clone();
        (id.0, name, parent, group.usage, group.limit, cache, rss, mapped_file, swapout)
    };
    let rows: Vec<MemcgRow> = kernel.memcgs.iter().map(row).collect();
    if rows.is_empty() {
        return vec![(MemcgId::ROOT.0, "root".into(), None, 0, None, 0, 0, 0, 0)];
    }
    rows
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
