//! Has the page been used lately? `page_referenced`, and what follows from it.
//!
//! supporting-paths 12 (the rule of 2.6.34).

use serde::{Deserialize, Serialize};

use crate::base::{AnonVmaId, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::rmap::areas_of_page;
use crate::step::{LockId, Me, Mode};
use crate::unmap::passes;
use crate::unmap::walk::Place;

/// What the uses of a page speak for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Advice {
    /// Free it.
    Reclaim,
    /// Free it if that takes no write.
    ReclaimClean,
    /// Look again some other time.
    Keep,
    /// It is in use.
    Activate,
}

/// Forgets the uses of a locked page, in its entries and in PG_referenced, and tells what they speak
/// for. All in one step.
///
/// # Errors
/// The spinlock to wait for, if somebody is inside; nothing has changed then.
pub(super) fn check<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Advice, LockId> {
    for lock in locks(kernel, page) {
        passes::<M>(kernel, me, lock)?;
    }
    let places = places(kernel, page);
    for place in &places {
        passes::<M>(kernel, me, LockId::Leaf(place.leaf))?;
    }
    let mut is_used = false;
    for Place { leaf, address, .. } in places {
        let entry = kernel.tables.get(leaf, leaf_index(address));
        if entry.has(Entry::ACCESSED) {
            kernel.tables.set(leaf, leaf_index(address), entry.without(Entry::ACCESSED));
            kernel.cost.flushes += 1;
            is_used = true;
        }
    }
    let frame = &mut kernel.frames[page];
    let was_referenced = frame.take(PageFlags::REFERENCED);
    if !is_used {
        return Ok(if was_referenced { Advice::ReclaimClean } else { Advice::Reclaim });
    }
    if frame.is_anon() {
        return Ok(Advice::Activate);
    }
    frame.set(PageFlags::REFERENCED);
    Ok(if was_referenced { Advice::Activate } else { Advice::Keep })
}

/// The lists whose areas may map the page, with the address that a KSM item gives for each.
fn lists(kernel: &Kernel, page: Pfn) -> Vec<(AnonVmaId, Option<u64>)> {
    match kernel.frames[page].owner() {
        Owner::Anon(list) => vec![(list, None)],
        Owner::Ksm(Some(node)) => {
            let items = kernel.ksm.nodes[node].items.iter().map(|&item| &kernel.ksm.items[item]);
            items.filter_map(|item| Some((item.anon_vma?, Some(item.address)))).collect()
        }
        Owner::Ksm(None) | Owner::File(_) | Owner::None => Vec::new(),
    }
}

/// The locks under which the page's areas are looked for; none if nobody maps it.
fn locks(kernel: &Kernel, page: Pfn) -> Vec<LockId> {
    if !kernel.frames[page].is_mapped() {
        return Vec::new();
    }
    match kernel.frames[page].owner() {
        Owner::File(file) => vec![LockId::FileMap(file)],
        _ => lists(kernel, page).into_iter().map(|(list, _)| LockId::AnonVma(list)).collect(),
    }
}

/// Every entry that maps the page, once.
fn places(kernel: &mut Kernel, page: Pfn) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    if !kernel.frames[page].is_mapped() {
        return places;
    }
    let index = kernel.frames[page].index();
    let mut candidates: Vec<(VmaId, u64)> = Vec::new();
    let mut add = |vma: VmaId, address: Option<u64>| candidates.extend(address.map(|at| (vma, at)));
    if let Owner::File(file) = kernel.frames[page].owner() {
        for (vma, address) in areas_of_page(&kernel.mappings[file], &kernel.vmas, index) {
            add(vma, Some(address));
        }
    }
    for (list, item) in lists(kernel, page) {
        for &vma in kernel.anon_vmas.areas(list).iter() {
            let area = &kernel.vmas[vma];
            add(vma, item.map_or(area.address_of(index), |at| area.contains(at).then_some(at)));
        }
    }
    for (vma, address) in candidates {
        let root = kernel.mms[kernel.vmas[vma].mm].root;
        kernel.cost.walks += 1;
        let Some(leaf) = kernel.tables.leaf_of(root, address) else { continue };
        let entry = kernel.tables.get(leaf, leaf_index(address));
        let place = Place { vma, leaf, address };
        if entry.is_present() && entry.pfn() == page && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}
