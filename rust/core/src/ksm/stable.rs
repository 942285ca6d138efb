//! The stable tree: pages merged before, found by their contents.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::base::{Pfn, RmapItemId, StableNodeId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::Owner;
use crate::state::ksm::StableNode;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::LockId;

/// `get_ksm_page`: the page of a node, with a reference. A node whose frame is somebody else's by
/// now is forgotten, and its places with it.
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
        let node = kernel.ksm.tree.get(middle).expect("a place between two others");
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

/// Notes at which addresses areas map a page just entered where the item that it was upgraded
/// through does not lead (I-72): areas that are not on its list, or moved by `mremap` since they
/// were forked, or just now. `family` is what the page belonged to before.
pub(super) fn note_strays(
    kernel: &mut Kernel,
    node: StableNodeId,
    family: Owner,
    item: RmapItemId,
) {
    let page = kernel.ksm.nodes[node].kpfn;
    let maps = |entry: &Entry| entry.is_present() && entry.normal_page() == Some(page);
    let item = kernel.ksm.items[item];
    let strays: Vec<u64> = if let Owner::Anon(list) = family {
        let index = kernel.frames[page].index();
        let led = item.anon_vma.map_or(&[] as &[VmaId], |own| kernel.anon_vmas.areas(own));
        let places = kernel.anon_vmas.areas(list).iter().filter_map(|vma| {
            let area = &kernel.vmas[*vma];
            let is_found = |at: &u64| *at == item.address && led.contains(vma);
            let address = area.address_of(index).filter(|at| !is_found(at))?;
            let leaf = kernel.tables.find_leaf(kernel.mms[area.mm].root, address)?;
            let entry = kernel.tables.get(leaf, leaf_index(address));
            // Who has locked a leaf without an entry may be carrying it there.
            let may_come = entry.is_none() && kernel.locks.is_exclusive(LockId::Leaf(leaf));
            (maps(&entry) || may_come).then_some(address)
        });
        places.collect()
    } else {
        // It was without node before: nobody knows any more whose it was.
        let roots = kernel.mms.iter().map(|(_, mm)| mm.root);
        let entries = roots.flat_map(|root| kernel.tables.entries(root));
        entries.filter(|(_, _, entry)| maps(entry)).map(|(address, _, _)| address).collect()
    };
    kernel.ksm.nodes[node].strays.extend(strays);
}
