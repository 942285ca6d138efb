//! Where the new frame comes from: the allocation callbacks of `migrate_pages`.

use serde::{Deserialize, Serialize};

use crate::base::{MmId, NodeId, NodeMask, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::Owner;
use crate::state::zone::{Request, Supply};
use crate::step::Me;

/// Which frames a batch may take.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
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
    /// The same as [`Target::allocate`], for one of many, whose descriptor the caller writes.
    #[inline(always)]
    pub fn allocate_next(
        &self,
        kernel: &mut Kernel,
        me: Me,
        page: Pfn,
        item: usize,
        supply: &mut Supply,
    ) -> Option<Pfn> {
        if let Target::Exactly(nodes) = self {
            let Kernel { frames, zones, cost, .. } = &mut *kernel;
            if let Some(page) = zones.take_from(frames, supply, nodes[item]) {
                cost.allocations += 1;
                return Some(page);
            }
        }
        self.allocate(kernel, me, page, item)
    }

    /// One frame for `page`, which is item number `item`. The caller owns its only reference.
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
            Target::Anywhere => kernel.request_by_task(me),
            Target::ByPlace { mm, from } => by_place(kernel, me, *mm, *from, page),
        };
        kernel.allocate(request)
    }
}

/// The policy at the page's place; that of the task if it has none.
#[inline(never)]
fn by_place(kernel: &mut Kernel, me: Me, mm: MmId, from: u64, page: Pfn) -> Request {
    let index = kernel.frames[page].index();
    let areas = kernel.mms[mm].areas_from(from);
    let found = areas.into_iter().find_map(|vma| Some((vma, address_in(kernel, page, vma)?)));
    match found {
        Some((vma, address)) => {
            let policy = kernel.area_policy(vma, address);
            kernel.request_by_place(me, policy, index)
        }
        None => kernel.request_by_task(me),
    }
}

/// `page_address_in_vma`: an anonymous page may lie wherever its index does; one of a file only
/// where that file is mapped; any other nowhere.
fn address_in(kernel: &Kernel, page: Pfn, vma: VmaId) -> Option<u64> {
    let (frame, area) = (&kernel.frames[page], &kernel.vmas[vma]);
    let fits = match frame.owner() {
        Owner::Anon(_) | Owner::Ksm(_) => true,
        Owner::File(file) => area.file == Some(file),
        Owner::None => false,
    };
    area.address_of(frame.index()).filter(|_| fits)
}
