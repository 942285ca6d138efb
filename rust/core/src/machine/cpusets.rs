//! Verbs of one step for cpusets.

use super::Machine;
use crate::base::{CpusetId, Errno, Misuse, NodeMask};
use crate::cpuset;

impl Machine {
    /// A new cpuset.
    ///
    /// # Errors
    /// As [`cpuset::create`].
    pub fn create_cpuset(
        &mut self,
        name: String,
        mems: NodeMask,
        memory_migrate: bool,
        parent: CpusetId,
    ) -> Result<Result<CpusetId, Errno>, Misuse> {
        cpuset::create(&mut self.kernel, name, mems, memory_migrate, parent)
    }

    /// Whether pages follow from now on when the nodes of a cpuset change.
    ///
    /// # Errors
    /// If there is no such cpuset.
    pub fn set_memory_migrate(&mut self, id: CpusetId, is_on: bool) -> Result<(), Misuse> {
        cpuset::check(&self.kernel, id)?;
        self.kernel.cpusets.rows[id.index()].memory_migrate = is_on;
        Ok(())
    }
}
