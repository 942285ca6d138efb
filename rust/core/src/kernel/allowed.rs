//! Which nodes a task may use, and what becomes of the policies that it asks for.
//!
//! Data-model 10 (cpusets) and syscalls 6.1, step 11. [`crate::state::cpuset`] has the cpusets,
//! [`crate::cpuset`] changes them.

use super::Kernel;
use crate::base::{Errno, NodeMask, TaskId};
use crate::state::policy::Policy;

impl Kernel {
    /// The nodes that a task may use by its cpuset (`cpuset_mems_allowed`); its own, if it is in none.
    pub fn mems_of(&self, pid: TaskId) -> NodeMask {
        let task = &self.tasks[pid];
        let with_memory = self.zones.nodes_with_memory();
        task.cpuset.map_or(task.mems_allowed, |id| self.cpusets.mems_allowed(id, with_memory))
    }

    /// What becomes of a policy that a task asks for (`mpol_set_nodemask`), bound to the nodes that
    /// the task has now.
    ///
    /// # Errors
    /// `Invalid` if none of its nodes may be used.
    pub fn contextualise(&self, pid: TaskId, policy: Policy) -> Result<Policy, Errno> {
        let with_memory = self.zones.nodes_with_memory();
        let mems = self.mems_of(pid).and(with_memory);
        let allowed = if mems.is_empty() { with_memory } else { mems };
        let policy = policy.contextualised(allowed, self.zones.nodes_to_bind_to())?;
        Ok(policy.bound_to(self.tasks[pid].mems_allowed))
    }
}
