//! The stable tree: pages merged before, found by their contents.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::base::{Pfn, StableNodeId};
use crate::kernel::Kernel;
use crate::state::frame::Owner;
use crate::state::ksm::StableNode;

/// `get_ksm_page`: the page of a node, with a reference. A node whose frame is somebody else's by now
/// is forgotten, and its places with it.
pub(super) fn get_page(kernel: &mut Kernel, node: StableNodeId) -> Option<Pfn> {
    let page = kernel.ksm.nodes[node].kpfn;
    let is_ours = kernel.frames[page].owner() == Owner::Ksm(Some(node));
    if is_ours && kernel.frames[page].try_get() {
        return Some(page);
    }
    kernel.ksm.drop_node(node);
    None
}

/// The merged page with the contents of `page`, referenced; `page` itself if it is one. Stale nodes
/// on the way are forgotten.
pub(super) fn search(kernel: &mut Kernel, page: Pfn) -> Option<(StableNodeId, Pfn)> {
    if let Owner::Ksm(Some(node)) = kernel.frames[page].owner() {
        return get_page(kernel, node).map(|page| (node, page));
    }
    match find(kernel, page) {
        Ok((node, found)) => Some((node, found)),
        Err(_) => None,
    }
}

/// Enters a page just merged, which is locked; none if its like is in the tree already.
pub(super) fn insert(kernel: &mut Kernel, page: Pfn) -> Option<StableNodeId> {
    match find(kernel, page) {
        Ok((_, found)) => {
            kernel.put_page(found);
            None
        }
        Err(at) => {
            let node = StableNode { kpfn: page, items: Vec::new(), strays: BTreeSet::new() };
            let node = kernel.ksm.nodes.insert(node);
            kernel.ksm.tree.insert(at, node);
            kernel.frames[page].set_owner(Owner::Ksm(Some(node)));
            Some(node)
        }
    }
}

/// Where in the tree the contents of `page` are, with a reference, or where they belong.
fn find(kernel: &mut Kernel, page: Pfn) -> Result<(StableNodeId, Pfn), usize> {
    let (mut low, mut high) = (0, kernel.ksm.tree.len());
    while low < high {
        let middle = low.midpoint(high);
        let node = kernel.ksm.tree[middle];
        let Some(other) = get_page(kernel, node) else {
            high -= 1;
            continue;
        };
        match kernel.contents.page(page).cmp(kernel.contents.page(other)) {
            Ordering::Equal => return Ok((node, other)),
            Ordering::Less => high = middle,
            Ordering::Greater => low = middle + 1,
        }
        kernel.put_page(other);
    }
    Err(low)
}
