//! KSM: pages that were merged, and where they are mapped (data-model 7.3).
//!
//! A [`StableNode`] is one merged page; its [`RmapItem`]s, newest first, say at which addresses KSM
//! put it. [`crate::ksm`] merges and breaks. [`StableTree`] keeps nodes in the order of the pages'
//! contents. Left out: the unstable tree, which lives in the scan that builds it.

mod tree;

pub use tree::StableTree;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{AnonVmaId, Arena, MmId, Pfn, RmapItemId, StableNodeId};

/// One place that KSM knows a page at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RmapItem {
    /// Whose memory; [`MmId::GONE`] once that is no more.
    pub mm: MmId,
    /// The address of the page.
    pub address: u64,
    /// The list that leads to every area the page may be mapped in; held while the item is stable.
    pub anon_vma: Option<AnonVmaId>,
    /// The merged page, once it is one.
    pub node: Option<StableNodeId>,
}

/// One merged page. *Stale* once its page was freed, until a look-up notices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StableNode {
    /// The frame.
    pub kpfn: Pfn,
    /// Its places, newest first.
    pub items: Vec<RmapItemId>,
    /// Addresses at which the page may be mapped though no place leads there (I-72): other areas
    /// mapped it when it became KSM's, or a place was dropped there.
    pub strays: BTreeSet<u64>,
}

/// Everything that KSM knows.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(try_from = "Kept")]
pub struct Ksm {
    /// Merged pages.
    pub nodes: Arena<StableNodeId, StableNode>,
    /// Places.
    pub items: Arena<RmapItemId, RmapItem>,
    /// The place of an address, if KSM has looked there.
    pub places: BTreeMap<(MmId, u64), RmapItemId>,
    /// Merged pages in the order of their contents: the stable tree.
    pub tree: StableTree,
    /// `ksm_refcount` of anon_vmas: items that hold them.
    pub holds: BTreeMap<AnonVmaId, u32>,
    /// Stable nodes with items.
    pub pages_shared: u64,
    /// Items beyond the first of each node.
    pub pages_sharing: u64,
    /// Pages looked at and found alone.
    pub pages_unshared: u64,
}

/// The same as a snapshot has it.
#[derive(Deserialize)]
struct Kept {
    nodes: Arena<StableNodeId, StableNode>,
    items: Arena<RmapItemId, RmapItem>,
    places: BTreeMap<(MmId, u64), RmapItemId>,
    tree: Vec<StableNodeId>,
    holds: BTreeMap<AnonVmaId, u32>,
    pages_shared: u64,
    pages_sharing: u64,
    pages_unshared: u64,
}

impl TryFrom<Kept> for Ksm {
    type Error = &'static str;

    fn try_from(kept: Kept) -> Result<Ksm, &'static str> {
        let Kept { nodes, items, places, holds, .. } = kept;
        let Kept { pages_shared, pages_sharing, pages_unshared, .. } = kept;
        let mut tree = StableTree::default();
        for (place, id) in kept.tree.into_iter().enumerate() {
            if nodes.find(id).is_none() || tree.place_of(id).is_some() {
                return Err("a stable tree of nodes that are not there, or twice");
            }
            tree.insert(place, id);
        }
        Ok(Ksm { nodes, items, places, tree, holds, pages_shared, pages_sharing, pages_unshared })
    }
}

impl MmId {
    /// The memory of an item whose own memory is no more. No memory has this number.
    pub const GONE: MmId = MmId(u32::MAX);
}

impl Ksm {
    /// Whether there may be merged pages: one that is just being merged has no node yet.
    pub fn has_looked(&self) -> bool {
        !self.items.is_empty() || !self.nodes.is_empty()
    }

    /// The place of an address, known from now on.
    pub fn place(&mut self, mm: MmId, address: u64) -> RmapItemId {
        let Ksm { items, places, .. } = self;
        let new = RmapItem { mm, address, anon_vma: None, node: None };
        *places.entry((mm, address)).or_insert_with(|| items.insert(new))
    }

    /// An address space is no more, and its number will be used again. Its places stay until a scan
    /// notices.
    pub fn note_exit(&mut self, mm: MmId) {
        let of_mm = (mm, 0)..=(mm, u64::MAX);
        let addresses: Vec<u64> = self.places.range(of_mm).map(|(&(_, at), _)| at).collect();
        for address in addresses {
            let item = self.places.remove(&(mm, address)).expect("just found");
            self.items[item].mm = MmId::GONE;
        }
    }

    /// Places of address spaces that are no more.
    pub fn gone(&self) -> Vec<RmapItemId> {
        let is_gone = |item: &RmapItem| item.mm == MmId::GONE;
        self.items.iter().filter(|(_, item)| is_gone(item)).map(|(id, _)| id).collect()
    }

    /// Places of `mm` from one address up to another.
    pub fn places_in(&self, mm: MmId, from: u64, to: u64) -> Vec<RmapItemId> {
        self.places.range((mm, from)..(mm, to)).map(|(_, &item)| item).collect()
    }

    /// The page of a node, if that is not gone, is mapped at an address that no place may lead to (I-72).
    pub fn note_stray(&mut self, node: StableNodeId, address: u64) {
        if self.nodes.find(node).is_some() {
            self.nodes[node].strays.insert(address);
        }
    }

    /// Appends an item to a node: it becomes the newest. Its list is held.
    pub fn append(&mut self, id: RmapItemId, node: StableNodeId, list: AnonVmaId) {
        let item = &mut self.items[id];
        debug_assert!(item.node.is_none(), "an item is stable once");
        (item.node, item.anon_vma) = (Some(node), Some(list));
        *self.holds.entry(list).or_default() += 1;
        let items = &mut self.nodes[node].items;
        items.insert(0, id);
        let counter =
            if items.len() == 1 { &mut self.pages_shared } else { &mut self.pages_sharing };
        *counter += 1;
    }

    /// Takes an item off its node, if it is on one. The page may still be mapped where the item
    /// led.
    pub fn detach(&mut self, id: RmapItemId) {
        let item = &mut self.items[id];
        let (Some(node), Some(list)) = (item.node.take(), item.anon_vma.take()) else { return };
        let address = item.address;
        let StableNode { items, strays, .. } = &mut self.nodes[node];
        let at = items.iter().position(|&other| other == id);
        items.remove(at.expect("a node lists its items"));
        strays.insert(address);
        let counter =
            if items.is_empty() { &mut self.pages_shared } else { &mut self.pages_sharing };
        *counter -= 1;
        let hold = self.holds.get_mut(&list).expect("held by the item");
        *hold -= 1;
        if *hold == 0 {
            self.holds.remove(&list);
        }
    }

    /// Forgets a place.
    pub fn drop_item(&mut self, id: RmapItemId) {
        self.detach(id);
        let item = self.items.remove(id);
        self.places.remove(&(item.mm, item.address));
    }

    /// Forgets a merged page. Its places stay known, as places of ordinary pages.
    pub fn drop_node(&mut self, id: StableNodeId) {
        for item in self.nodes[id].items.clone() {
            self.detach(item);
        }
        self.nodes.remove(id);
        self.tree.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ksm: &mut Ksm) -> StableNodeId {
        let node = StableNode { kpfn: Pfn(3), items: Vec::new(), strays: BTreeSet::new() };
        let id = ksm.nodes.insert(node);
        ksm.tree.insert(ksm.tree.len(), id);
        id
    }

    #[test]
    fn the_first_item_of_a_node_is_shared_and_every_other_one_sharing() {
        let mut ksm = Ksm::default();
        let id = node(&mut ksm);
        let items = [0x1000, 0x2000, 0x3000].map(|at| ksm.place(MmId(0), at));
        items.iter().for_each(|&item| ksm.append(item, id, AnonVmaId(4)));
        assert_eq!(ksm.nodes[id].items, [items[2], items[1], items[0]], "newest first");
        assert_eq!((ksm.pages_shared, ksm.pages_sharing), (1, 2));
        assert_eq!(ksm.holds[&AnonVmaId(4)], 3);
        ksm.drop_item(items[0]);
        assert_eq!((ksm.pages_shared, ksm.pages_sharing), (1, 1));
        ksm.drop_node(id);
        assert_eq!((ksm.pages_shared, ksm.pages_sharing), (0, 0));
        assert!(ksm.holds.is_empty() && ksm.tree.is_empty());
        assert_eq!(ksm.places.len(), 2, "places of ordinary pages now");
    }

    #[test]
    fn the_items_of_a_dead_address_space_do_not_become_those_of_the_next_one() {
        let mut ksm = Ksm::default();
        let id = node(&mut ksm);
        let item = ksm.place(MmId(7), 0x1000);
        ksm.append(item, id, AnonVmaId(0));
        ksm.note_exit(MmId(7));
        assert_ne!(ksm.place(MmId(7), 0x1000), item);
        assert_eq!(ksm.gone(), [item]);
        assert_eq!(ksm.nodes[id].items, [item], "until a scan notices");
    }
}
