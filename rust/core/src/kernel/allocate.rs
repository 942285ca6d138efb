//! Frames by memory policy: which policy is in force where, and what it asks for.
//!
//! Data-model 10 (look-up order) and supporting-paths 14. [`crate::state::policy`] turns a policy
//! into a request, [`crate::state::zone`] serves it. Nothing here waits, and nothing is charged:
//! that is [`super::charge`]. Left out: reclaim inside an allocation.

use super::Kernel;
use crate::base::{MappingId, Pfn, VmaId};
use crate::state::policy::{Mode, Policy, shared};
use crate::state::zone::Request;
use crate::step::Me;

impl Kernel {
    /// Takes one frame as requested. The caller owns its only reference.
    #[inline(always)]
    pub fn allocate(&mut self, request: Request) -> Option<Pfn> {
        let page = self.zones.allocate(&mut self.frames, request)?;
        self.cost.allocations += 1;
        Some(page)
    }

    /// A frame under the task's own policy: page cache, kernel use. An interleave goes by the task's
    /// running node (`il_next`), which moves on.
    pub fn allocate_by_task(&mut self, me: Me) -> Option<Pfn> {
        let request = self.request_by_task(me);
        self.allocate(request)
    }

    /// A frame for page `index` of a file's page cache: for shmem under the shared policy of that
    /// page, else the task's, either interleaved by `index`; for other files as
    /// [`Kernel::allocate_by_task`].
    pub fn allocate_for_file(&mut self, me: Me, file: MappingId, index: u64) -> Option<Pfn> {
        if !self.mappings[file].kind.is_shmem() {
            return self.allocate_by_task(me);
        }
        let policy = self.shared_policy(file, index);
        let request = self.request_by_place(me, policy, index);
        self.allocate(request)
    }

    /// A frame for the page at `address` of an area, under the policy in force there. An interleave
    /// goes by the page's linear index.
    #[inline]
    pub fn allocate_for_area(&mut self, me: Me, vma: VmaId, address: u64) -> Option<Pfn> {
        let policy = self.area_policy(vma, address);
        let index = self.vmas[vma].linear_index(address);
        let request = self.request_by_place(me, policy, index);
        self.allocate(request)
    }

    /// The policy of an area at `address`; none: the task's counts. Areas of shmem have only shared
    /// policies, by the page's place in the file; all others only their own.
    #[inline]
    pub fn area_policy(&self, vma: VmaId, address: u64) -> Option<Policy> {
        let area = &self.vmas[vma];
        match area.file {
            Some(file) if self.mappings[file].kind.is_shmem() => {
                self.shared_policy(file, area.linear_index(address))
            }
            _ => area.policy,
        }
    }

    fn shared_policy(&self, file: MappingId, index: u64) -> Option<Policy> {
        shared::lookup(&self.mappings[file].host.as_ref()?.policies, index)
    }

    /// What `policy`, else the task's own, asks for at linear index `index`.
    #[inline]
    pub fn request_by_place(&self, me: Me, policy: Option<Policy>, index: u64) -> Request {
        let task = &self.tasks[me.task];
        let policy = policy.unwrap_or(task.policy);
        policy.request(self.zones.node_of_cpu(me.cpu), task.mems_allowed, index)
    }

    /// What the task's own policy asks for where no place counts.
    pub fn request_by_task(&mut self, me: Me) -> Request {
        let local = self.zones.node_of_cpu(me.cpu);
        let task = &mut self.tasks[me.task];
        let nodes = task.policy.nodes;
        let mut request = task.policy.request(local, task.mems_allowed, 0);
        if task.policy.mode == Mode::Interleave {
            request.node = task.next_interleave;
            task.next_interleave = nodes.next_after(task.next_interleave).unwrap_or(local);
        }
        request
    }
}
