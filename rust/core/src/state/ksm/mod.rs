//! KSM: pages that were merged, and where they are mapped (data-model 7.3).
//!
//! A [`StableNode`] is one merged page; its [`RmapItem`]s, newest first, say at which addresses KSM
//! put it. [`crate::ksm`] merges and breaks. Left out: the tree shapes; both trees order pages by
//! content and are searched as such.

use std::collections::BTreeMap;

use crate::base::{AnonVmaId, Arena, MmId, Pfn, RmapItemId, StableNodeId};

/// One place that KSM knows a page at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RmapItem {
    /// Whose memory.
    pub mm: MmId,
    /// The address of the page.
    pub address: u64,
    /// The list that leads to every area the page may be mapped in; held while the item is stable.
    pub anon_vma: Option<AnonVmaId>,
    /// The merged page, once it is one.
    pub node: Option<StableNodeId>,
}

/// One merged page. *Stale* once its page was freed, until a look-up notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StableNode {
    /// The frame.
    pub kpfn: Pfn,
    /// Its places, newest first.
    pub items: Vec<RmapItemId>,
}

/// Everything that KSM knows.
#[derive(Clone, Debug, Default)]
pub struct Ksm {
    /// Merged pages.
    pub nodes: Arena<StableNodeId, StableNode>,
    /// Places.
    pub items: Arena<RmapItemId, RmapItem>,
    /// The place of an address, if KSM has looked there.
    pub places: BTreeMap<(MmId, u64), RmapItemId>,
    /// `ksm_refcount` of anon_vmas: items that hold them.
    pub holds: BTreeMap<AnonVmaId, u32>,
    /// Stable nodes with items.
    pub pages_shared: u64,
    /// Items beyond the first of each node.
    pub pages_sharing: u64,
    /// Pages looked at and found alone.
    pub pages_unshared: u64,
}
