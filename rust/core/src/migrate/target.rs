//! Where the new frame comes from: the allocation callbacks of `migrate_pages`.

use crate::base::{MmId, NodeId, NodeMask, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::zone::Request;
use crate::step::Me;

/// Which frames a batch may take.
#[derive(Clone, Debug)]
pub enum Target {
    /// `new_page_node`: exactly the node of each item, from nowhere else.
    Exactly(Vec<NodeId>),
    /// One node first, others if it is full (Q22).
    Preferably(NodeId),
    /// Wherever the caller's policy says.
    Anywhere,
    /// By the policy in force where the page lies, in the first area of `mm` from `from` upwards
    /// in which it could (syscalls 6.2).
    ByPlace {
        /// The memory.
        mm: MmId,
        /// The first address.
        from: u64,
    },
}

impl Target {
    /// One frame for `page`, which is item number `item`. The caller owns its only reference.
    #[inline]
    pub fn allocate(&self, kernel: &mut Kernel, me: Me, page: Pfn, item: usize) -> Option<Pfn> {
        let all = NodeMask(u64::MAX);
        let from = |node, mems_allowed, is_this_node_only| Request {
            node,
            is_this_node_only,
            policy: all,
            mems_allowed,
        };
        let request = match self {
            Target::Exactly(nodes) => from(nodes[item], all, true),
            Target::Preferably(node) => from(*node, kernel.tasks[me.task].mems_allowed, false),
            Target::Anywhere => by_task_policy(kernel, me),
            Target::ByPlace { mm, from } => by_place(kernel, me, *mm, *from, page),
        };
        let page = kernel.zones.allocate(&mut kernel.frames, request)?;
        kernel.cost.allocations += 1;
        Some(page)
    }
}

/// The task's own policy; an interleave goes by its running count, which then advances.
fn by_task_policy(kernel: &mut Kernel, me: Me) -> Request {
    let local = kernel.zones.node_of_cpu(me.cpu);
    let task = &mut kernel.tasks[me.task];
    let nodes = task.policy.nodes;
    let mut request = task.policy.request(local, task.mems_allowed, 0);
    if task.policy.mode == crate::state::policy::Mode::Interleave {
        request.node = task.next_interleave;
        task.next_interleave = nodes.next_after(task.next_interleave).unwrap_or(local);
    }
    request
}

/// The policy at the page's place; that of the task if it has none.
fn by_place(kernel: &mut Kernel, me: Me, mm: MmId, from: u64, page: Pfn) -> Request {
    let index = kernel.frames[page].index();
    let areas = kernel.mms[mm].areas_from(from);
    let fits = |id: &VmaId| kernel.vmas[*id].address_of(index).is_some();
    let Some(area) = areas.into_iter().find(fits) else {
        return by_task_policy(kernel, me);
    };
    let task = &kernel.tasks[me.task];
    let policy = kernel.vmas[area].policy.unwrap_or(task.policy);
    policy.request(kernel.zones.node_of_cpu(me.cpu), task.mems_allowed, index)
}
