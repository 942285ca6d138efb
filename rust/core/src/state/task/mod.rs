//! Tasks: who a process is, what it may do, and where it runs. Data only (data-model 10).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::base::{CpuId, CpusetId, MemcgId, MmId, NodeId, NodeMask, TaskId};

/// One simulated process.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Task {
    /// What people call it.
    pub name: String,
    /// Its memory; none for a kernel thread or an exiting task.
    pub mm: Option<MmId>,
    /// Who it is.
    pub credentials: Credentials,
    /// The CPU it runs on.
    pub cpu: CpuId,
    /// Whether it is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// Batches that have set PF_SWAPWRITE, which is set while there is one (MP-1, MP-4).
    pub swap_writers: u32,
    /// Its memory policy.
    pub policy: Policy,
    /// The node of its next interleaved page that belongs to no area.
    pub next_interleave: NodeId,
    /// Nodes it may allocate from.
    pub mems_allowed: NodeMask,
    /// The cpuset it is in; none if its nodes were given to it by hand.
    pub cpuset: Option<CpusetId>,
    /// The memory cgroup that pays for its pages.
    pub memcg: MemcgId,
    /// Whether a signal is pending. Only offlining looks (S48).
    pub has_signal: bool,
    /// Whether it is on its way out (PF_EXITING): it is charged nothing.
    pub is_exiting: bool,
}

/// User ids and capabilities, as bits by capability number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as in the kernel")]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub capabilities: u64,
}

/// All tasks by pid.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Tasks {
    tasks: BTreeMap<TaskId, Task>,
    next: u32,
}

impl Tasks {
    /// Enters a task under the next pid, from 0. Pids are never used again.
    pub fn insert(&mut self, task: Task) -> TaskId {
        let pid = TaskId(self.next);
        self.next += 1;
        self.tasks.insert(pid, task);
        pid
    }

    /// How many tasks were ever made.
    pub fn made(&self) -> u32 {
        self.next
    }

    /// The task, if it is there.
    pub fn find(&self, pid: TaskId) -> Option<&Task> {
        self.tasks.get(&pid)
    }

    /// The task to be changed, if it is there.
    pub fn find_mut(&mut self, pid: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&pid)
    }

    /// Forgets a task that is gone.
    pub fn remove(&mut self, pid: TaskId) {
        self.tasks.remove(&pid);
    }

    /// All tasks by pid, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.tasks.iter().map(|(&pid, task)| (pid, task))
    }
}

impl std::ops::Index<TaskId> for Tasks {
    type Output = Task;

    fn index(&self, pid: TaskId) -> &Task {
        self.tasks.get(&pid).expect("a live task")
    }
}

impl std::ops::IndexMut<TaskId> for Tasks {
    fn index_mut(&mut self, pid: TaskId) -> &mut Task {
        self.tasks.get_mut(&pid).expect("a live task")
    }
}
