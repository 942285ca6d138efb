//! Changes of cpusets: which nodes a group of tasks may use, and what follows when that changes
//! (supporting-paths 18).
//!
//! [`create`] makes one. [`ChangeCpuset`] is the long operation: writing new nodes to a cpuset, or
//! attaching a task to another one, goes through the tasks concerned, re-binds their memory policies
//! and may move their pages. The cpusets themselves are in [`crate::state::cpuset`], the re-binding of
//! one policy in [`crate::state::policy`].
//!
//! Below us: [`crate::migrate::migrate_pages`]. Left out: CPUs, exclusive cpusets, the file system
//! of cpusets, memory spreading.

mod change;
#[cfg(test)]
mod tests;

pub use change::{Change, ChangeCpuset};

use crate::base::{CpusetId, Errno, Misuse, NodeMask};
use crate::kernel::Kernel;
use crate::state::cpuset::Cpuset;

/// A new cpuset below `parent`, with nodes and without tasks.
///
/// # Errors
/// Outside: for a name that no directory could have, or no such parent. Inside, in this order:
/// `Exists` if the parent has one of this name, `Invalid` for a node without memory, `Access` for one
/// outside the parent's.
pub fn create(
    kernel: &mut Kernel,
    name: String,
    mems: NodeMask,
    memory_migrate: bool,
    parent: CpusetId,
) -> Result<Result<CpusetId, Errno>, Misuse> {
    check(kernel, parent)?;
    if name.is_empty() || name.contains('/') {
        let what = "a cpuset's name is that of a directory: not empty, and without a slash";
        return Err(Misuse::Other(format!("{name:?}: {what}")));
    }
    let rows = &kernel.cpusets.rows;
    let Ok(id) = u16::try_from(rows.len()) else {
        return Err(Misuse::Other(format!("{} cpusets are too many", rows.len())));
    };
    if rows.iter().any(|row| row.parent == Some(parent) && row.name == name) {
        return Ok(Err(Errno::Exists));
    }
    if !mems.is_within(kernel.zones.nodes_with_memory()) {
        return Ok(Err(Errno::Invalid));
    }
    if !mems.is_within(rows[parent.index()].mems) {
        return Ok(Err(Errno::Access));
    }
    kernel.cpusets.rows.push(Cpuset { name, parent: Some(parent), mems, memory_migrate });
    Ok(Ok(CpusetId(id)))
}

/// Checks the number of a cpuset.
///
/// # Errors
/// If there is none.
pub fn check(kernel: &Kernel, id: CpusetId) -> Result<(), Misuse> {
    let count = kernel.cpusets.rows.len();
    if id.index() < count {
        return Ok(());
    }
    let last = count - 1;
    Err(Misuse::Other(format!("no cpuset {}; this machine has cpusets 0 to {last}", id.0)))
}

/// Whether new nodes would change anything (supporting-paths 18, refusals).
///
/// # Errors
/// `Access` for the root, `Invalid` for a node without memory, `Busy` for a child that would be left
/// outside, `Access` for a node outside the parent's, `NoSpace` for no nodes while it has tasks.
fn check_mems(kernel: &Kernel, id: CpusetId, mems: NodeMask) -> Result<bool, Errno> {
    let rows = &kernel.cpusets.rows;
    let Some(parent) = rows[id.index()].parent else { return Err(Errno::Access) };
    if !mems.is_within(kernel.zones.nodes_with_memory()) {
        return Err(Errno::Invalid);
    }
    if rows[id.index()].mems == mems {
        return Ok(false);
    }
    if rows.iter().any(|row| row.parent == Some(id) && !row.mems.is_within(mems)) {
        return Err(Errno::Busy);
    }
    if !mems.is_within(rows[parent.index()].mems) {
        return Err(Errno::Access);
    }
    if mems.is_empty() && kernel.tasks.iter().any(|(_, task)| task.cpuset == Some(id)) {
        return Err(Errno::NoSpace);
    }
    Ok(true)
}
