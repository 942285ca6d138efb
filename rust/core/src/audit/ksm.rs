//! Rules about pages that KSM merged.

use std::collections::BTreeMap;

use super::{Report, View};
use crate::base::{AnonVmaId, RmapItemId, StableNodeId};
use crate::state::frame::Owner;
use crate::state::ksm::StableNode;
use crate::state::pagetable::Entry;

/// Nobody may write to a merged page; and a page says that a node is its own only if the node says
/// so, too, but for the moment in which it moves.
pub(super) fn merged_pages_are_read_only(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for leaf in view.leaves() {
        let (page, may_write) = match leaf.entry.as_migration() {
            Some((page, is_write)) => (Some(page), is_write),
            None if leaf.entry.is_present() => {
                (leaf.entry.normal_page(), leaf.entry.has(Entry::WRITABLE))
            }
            None => continue,
        };
        let Some(page) = page.filter(|&page| kernel.frames[page].is_ksm()) else { continue };
        if may_write {
            let at = leaf.address;
            report(Some(page), format!("merged, but mm {} may write to it at {at:#x}", leaf.mm));
        }
    }
    for page in view.touched() {
        let Owner::Ksm(Some(id)) = kernel.frames[page].owner() else { continue };
        let named = kernel.ksm.nodes.find(id).map(|node| node.kpfn);
        let moves = &view.holdings.moves;
        let moves_here = |named| moves.contains(&(page, named)) || moves.contains(&(named, page));
        if !named.is_some_and(|named| named == page || moves_here(named)) {
            report(Some(page), format!("it belongs to node {id}, which names frame {named:?}"));
        }
    }
}

/// Every entry of a merged page is found by walking the places of its node, unless the node knows
/// that the page may have been mapped at that address before KSM looked there.
pub(super) fn merged_pages_are_found(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for leaf in view.leaves().filter(|leaf| leaf.entry.is_present()) {
        let (Some(page), Some(area)) = (leaf.entry.normal_page(), leaf.vma) else { continue };
        let Owner::Ksm(Some(id)) = kernel.frames[page].owner() else { continue };
        let Some(node) = kernel.ksm.nodes.find(id) else { continue };
        let leads_here = |item: RmapItemId| {
            let item = &kernel.ksm.items[item];
            let list = item.anon_vma.map(|list| kernel.anon_vmas.areas(list));
            item.address == leaf.address && list.is_some_and(|areas| areas.contains(&area))
        };
        let own = kernel.ksm.places.get(&(leaf.mm, leaf.address));
        let has_own = own.is_some_and(|own| node.items.contains(own));
        let is_excused = node.strays.contains(&leaf.address) && !has_own;
        if !is_excused && !node.items.iter().any(|&item| leads_here(item)) {
            let at = leaf.address;
            report(Some(page), format!("node {id} does not lead to its entry at {at:#x}"));
        }
    }
}

/// Nodes and places name each other, the lists that places hold are counted, and so are the nodes
/// with places and the places beyond the first.
pub(super) fn merged_places_are_counted(view: &View<'_>, report: Report<'_>) {
    let ksm = &view.kernel.ksm;
    let (mut shared, mut sharing, mut listed) = (0, 0, 0);
    for (id, node) in view.lookout.watch(ksm.nodes.iter()) {
        let StableNode { items, .. } = node;
        shared += u64::from(!items.is_empty());
        sharing += items.len().saturating_sub(1) as u64;
        listed += items.len();
        if items.iter().any(|&item| ksm.items.find(item).is_none_or(|i| i.node != Some(id))) {
            report(Some(node.kpfn), format!("node {id} lists a place that does not name it"));
        }
        if ksm.tree.place_of(id).and_then(|place| ksm.tree.get(place)) != Some(id) {
            report(Some(node.kpfn), format!("node {id} is not in the tree"));
        }
    }
    let mut holds: BTreeMap<AnonVmaId, u32> = BTreeMap::new();
    let mut named: Vec<StableNodeId> = Vec::new();
    for (id, item) in view.lookout.watch(ksm.items.iter()) {
        named.extend(item.node);
        if let Some(list) = item.anon_vma {
            *holds.entry(list).or_default() += 1;
        }
        let is_gone = item.mm == crate::base::MmId::GONE;
        if !is_gone && ksm.places.get(&(item.mm, item.address)) != Some(&id) {
            report(None, format!("place {id} of mm {} is not known as one", item.mm));
        }
    }
    if named.len() != listed || holds != ksm.holds || ksm.tree.len() != ksm.nodes.len() {
        let (nodes, tree) = (ksm.nodes.len(), ksm.tree.len());
        let named = named.len();
        let held = (&ksm.holds, &holds);
        report(
            None,
            format!(
                "{listed} places of {nodes} nodes ({tree} in the tree), {named} named; {held:?}"
            ),
        );
    }
    if (ksm.pages_shared, ksm.pages_sharing) != (shared, sharing) {
        let counted = (ksm.pages_shared, ksm.pages_sharing);
        report(None, format!("{counted:?} pages shared and sharing, not {:?}", (shared, sharing)));
    }
}
