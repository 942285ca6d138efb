//! Cpusets: which nodes a group of tasks may allocate from. Data only (data-model 10).
//!
//! [`crate::cpuset`] changes them by the kernel's rules. Left out: CPUs of a cpuset.

use serde::{Deserialize, Serialize};

use crate::base::{CpusetId, NodeMask};

/// One cpuset.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Cpuset {
    /// What people call it.
    pub name: String,
    /// Its parent; none for the root.
    pub parent: Option<CpusetId>,
    /// Its nodes.
    pub mems: NodeMask,
    /// Whether pages follow when the nodes change.
    pub memory_migrate: bool,
}

/// All cpusets; number 0 is the root, with all nodes that have memory.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Cpusets {
    /// The cpusets, by number.
    pub rows: Vec<Cpuset>,
}

impl Cpusets {
    /// The root alone.
    pub fn new(mems: NodeMask) -> Cpusets {
        let root = Cpuset { name: "root".into(), parent: None, mems, memory_migrate: false };
        Cpusets { rows: vec![root] }
    }

    /// `cpuset_mems_allowed`: the first mask from `id` towards the root that has nodes with memory,
    /// restricted to those; all of them if none does.
    pub fn mems_allowed(&self, id: CpusetId, with_memory: NodeMask) -> NodeMask {
        let mut at = Some(id);
        while let Some(row) = at.and_then(|id| self.rows.get(id.index())) {
            let mems = row.mems.and(with_memory);
            if !mems.is_empty() {
                return mems;
            }
            at = row.parent;
        }
        with_memory
    }

    /// Whether tasks in `id` may use what `above` has: they are in it, or no cpuset from theirs up to it
    /// has nodes with memory.
    pub fn goes_by(&self, id: CpusetId, above: CpusetId, with_memory: NodeMask) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            let row = &self.rows[id.index()];
            if id == above || !row.mems.and(with_memory).is_empty() {
                return id == above;
            }
            at = row.parent;
        }
        false
    }
}
