//! Verbs of one step about memory cgroups.

use super::Machine;
use crate::base::{Errno, MemcgId, Misuse, TaskId};
use crate::state::memcg::{Memcg, Memcgs};

/// Groups at most: as many as there are numbers for.
const GROUPS_MAX: usize = u16::MAX as usize;

impl Machine {
    /// A new memory cgroup below `parent` that may use `limit` pages. The first one turns charging
    /// on; pages that are in use by then stay uncharged.
    ///
    /// # Errors
    /// If there is no such parent, or it has a group of that name already.
    pub fn create_memcg(
        &mut self,
        name: String,
        limit: Option<u64>,
        parent: MemcgId,
    ) -> Result<MemcgId, Misuse> {
        self.check_memcg(parent)?;
        let memcgs = &self.kernel.memcgs;
        if name.is_empty() {
            return Err(Misuse::Other("a memory cgroup needs a name".into()));
        }
        let is_taken =
            |(_, group): &(MemcgId, &Memcg)| group.parent == Some(parent) && group.name == name;
        if let Some((id, _)) = memcgs.iter().find(is_taken) {
            return Err(Misuse::Other(format!("memory cgroup {id} is called {name:?} already")));
        }
        if memcgs.iter().count() >= GROUPS_MAX {
            return Err(Misuse::Other(format!("there are {GROUPS_MAX} memory cgroups already")));
        }
        let frames = self.kernel.frames.len();
        if !memcgs.are_on() && !Memcgs::has_room_for(frames) {
            let what = "this host has no room to note who pays for each frame; nothing has changed";
            return Err(Misuse::Other(what.into()));
        }
        Ok(self.kernel.memcgs.create(name, parent, limit, frames))
    }

    /// Changes the limit of a group; none: unlimited.
    ///
    /// # Errors
    /// Outside: if there is no such group, or it is the root, which has no limit. Inside: `Busy` if
    /// it uses more pages than that; nothing has changed then.
    pub fn set_memcg_limit(
        &mut self,
        group: MemcgId,
        limit: Option<u64>,
    ) -> Result<Result<(), Errno>, Misuse> {
        self.check_memcg(group)?;
        if group == MemcgId::ROOT {
            return Err(Misuse::Other("memory cgroup 0 is the root, which has no limit".into()));
        }
        let group = &mut self.kernel.memcgs[group];
        if limit.is_some_and(|limit| group.usage > limit) {
            return Ok(Err(Errno::Busy));
        }
        group.limit = limit;
        Ok(Ok(()))
    }

    /// Moves a task to a group. What is charged already stays where it is.
    ///
    /// # Errors
    /// If there is no such group or task.
    pub fn attach_memcg(&mut self, group: MemcgId, pid: TaskId) -> Result<(), Misuse> {
        self.check_memcg(group)?;
        self.task_mut(pid)?.memcg = group;
        Ok(())
    }

    /// Checks the number of a group; 0 is the root even while there are no others.
    fn check_memcg(&self, group: MemcgId) -> Result<(), Misuse> {
        let groups = self.kernel.memcgs.iter().count().max(1);
        if group.index() >= groups {
            let last = groups - 1;
            return Err(Misuse::Other(format!(
                "no memory cgroup {group}; this machine has 0 (the root) to {last}"
            )));
        }
        Ok(())
    }
}
