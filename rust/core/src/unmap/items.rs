//! Where a walk over a KSM page stands: two rounds over the items of its stable node.
//!
//! Each item leads, through the list that it holds, to every area that may map the page at the
//! item's address. The first round takes the areas of the item's own mm, the second those of the
//! others, who inherited the page by fork (migration 4). The lock of a list is taken and given back
//! item by item.

use serde::{Deserialize, Serialize};

use crate::base::{AnonVmaId, RmapItemId, StableNodeId, VmaId};
use crate::kernel::Kernel;

/// One item of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Items {
    node: StableNodeId,
    item: u32,
    is_second_round: bool,
    /// The list of the item, while its lock is held.
    entered: Option<AnonVmaId>,
}

impl Items {
    /// Before the first item of the first round.
    pub(super) const fn new(node: StableNodeId) -> Items {
        Items { node, item: 0, is_second_round: false, entered: None }
    }

    /// Whether no item's lock is held.
    pub(super) const fn is_between(&self) -> bool {
        self.entered.is_none()
    }

    /// The list whose lock is held.
    pub(super) const fn entered(&self) -> Option<AnonVmaId> {
        self.entered
    }

    /// The current item's list and address; the second round follows the first. None at the end.
    pub(super) fn current(&mut self, kernel: &Kernel) -> Option<(AnonVmaId, u64)> {
        loop {
            match self.item_id(kernel) {
                Some(id) => {
                    let item = &kernel.ksm.items[id];
                    match self.entered.or(item.anon_vma) {
                        Some(list) => return Some((list, item.address)),
                        None => self.item += 1,
                    }
                }
                None if self.is_second_round => return None,
                None => (self.is_second_round, self.item) = (true, 0),
            }
        }
    }

    fn item_id(&self, kernel: &Kernel) -> Option<RmapItemId> {
        let node = kernel.ksm.nodes.find(self.node)?;
        node.items.get(self.item as usize).copied()
    }

    /// Whether this round is about the area.
    pub(super) fn wants(&self, kernel: &Kernel, vma: VmaId) -> bool {
        let own = self.item_id(kernel).map(|id| kernel.ksm.items[id].mm);
        (own == Some(kernel.vmas[vma].mm)) != self.is_second_round
    }

    /// The lock of the item's list is held now.
    pub(super) const fn enter(&mut self, list: AnonVmaId) {
        self.entered = Some(list);
    }

    /// It is not any more, and the next item's turn comes.
    pub(super) const fn leave(&mut self) {
        self.entered = None;
        self.item += 1;
    }
}
