//! Pages between memory and swap (data-model 8, supporting-paths 11).
//!
//! A page in the swap cache has PG_swapcache, its slot in `private`, and its place in address space
//! number 0 under [`SwapEntry::neutral`]; the slot has SWAP_HAS_CACHE. `mapping` and `index` stay
//! those of the anonymous page, or none.
//!
//! Whoever changes the swap cache here has the page locked, so `tree_lock` could be contended only
//! by work on other pages, which this neither sees nor disturbs: it is not taken.

use super::writeback::{self, Wrote};
use super::{dirty, tree};
use crate::base::{Errno, MappingId, MmId, Pfn, SwapEntry};
use crate::kernel::{ChargeKind, Kernel};
use crate::state::frame::{Owner, PageFlags};
use crate::state::io::Direction;
use crate::state::lru::ListKind;
use crate::state::zone::Counter;
use crate::step::{Me, Mode};

/// The slot of a page in the swap cache.
#[inline]
pub fn slot_of(kernel: &Kernel, page: Pfn) -> Option<SwapEntry> {
    let frame = &kernel.frames[page];
    frame.has(PageFlags::SWAPCACHE).then_some(SwapEntry(frame.private))
}

/// `add_to_swap`: a locked page gets a slot, enters the swap cache and becomes dirty; false if there
/// is no slot. PG_dirty is the bare flag: the slot gets no tag (I-66).
pub fn add_to_swap(kernel: &mut Kernel, page: Pfn) -> bool {
    debug_assert!(kernel.frames[page].has(PageFlags::UPTODATE), "page {page} has nothing to save");
    let Some(slot) = kernel.swaps.allocate() else { return false };
    enter(kernel, page, slot);
    kernel.frames[page].set(PageFlags::DIRTY);
    true
}

/// A new, locked page enters the swap cache under a slot in use, to be read (`read_swap_cache`). It
/// belongs to nothing until it is mapped, and waits for the inactive list.
///
/// # Panics
/// If nobody uses the slot, or its page is there already: errors of the model.
pub fn add_for_reading(kernel: &mut Kernel, me: Me, page: Pfn, slot: SwapEntry) {
    let state = kernel.swaps.slot(slot);
    assert!(state.uses > 0 && !state.has_cache, "{slot:?} read for nobody, or twice: {state:?}");
    kernel.swaps.set_cache(slot, true);
    kernel.frames[page].set(PageFlags::SWAPBACKED);
    enter(kernel, page, slot);
    let Kernel { frames, zones, lru, .. } = kernel;
    lru.add(frames, zones, me.cpu, page, ListKind::InactiveAnon);
}

/// The page gets its place in the index, with a reference; its slot has HAS_CACHE already.
fn enter(kernel: &mut Kernel, page: Pfn, slot: SwapEntry) {
    assert!(kernel.frames[page].has(PageFlags::LOCKED), "unlocked page {page} enters the cache");
    let index = &mut kernel.mappings[MappingId::SWAPPER].tree;
    assert!(index.insert(slot.neutral(), page), "{slot:?} has a page already (I-81)");
    let frame = &mut kernel.frames[page];
    frame.get();
    frame.set(PageFlags::SWAPCACHE);
    frame.private = slot.0;
    kernel.zones.counters_of(page).add(Counter::FilePages, 1);
}

/// Takes a locked page out of the swap cache, with counters, HAS_CACHE, uncharge and reference.
pub fn delete(kernel: &mut Kernel, page: Pfn) {
    take_out(kernel, page);
    kernel.put_page(page);
}

/// [`delete`] for a page that is frozen: it has no reference to drop.
pub fn take_out(kernel: &mut Kernel, page: Pfn) {
    let slot = slot_of(kernel, page).expect("a page in the swap cache has a slot");
    assert!(kernel.frames[page].has(PageFlags::LOCKED), "unlocked page {page} leaves the cache");
    assert!(!kernel.frames[page].has(PageFlags::WRITEBACK), "page {page} leaves while written");
    let taken = kernel.mappings[MappingId::SWAPPER].tree.delete(slot.neutral());
    assert_eq!(taken, Some(page), "{slot:?} has another page");
    let frame = &mut kernel.frames[page];
    frame.clear(PageFlags::SWAPCACHE);
    frame.private = 0;
    kernel.zones.counters_of(page).add(Counter::FilePages, -1);
    let is_used = kernel.swaps.slot(slot).uses > 0;
    kernel.swaps.set_cache(slot, false);
    if is_used {
        kernel.uncharge_to_swap(page, slot);
    } else {
        kernel.uncharge(page, ChargeKind::DroppedSwapCache);
    }
    kernel.forget_free_slot(slot);
}

/// `try_to_free_swap`: a locked page that nobody has swapped out leaves the swap cache; tells
/// whether it did.
pub fn try_to_free_swap(kernel: &mut Kernel, page: Pfn) -> bool {
    let Some(slot) = slot_of(kernel, page) else { return false };
    if kernel.frames[page].has(PageFlags::WRITEBACK) || kernel.swaps.slot(slot).uses > 0 {
        return false;
    }
    delete(kernel, page);
    kernel.frames[page].set(PageFlags::DIRTY);
    true
}

/// `reuse_swap_page`: whether a locked page is the only user's, who may then write to it. May take
/// it out of the swap cache.
pub fn reuse_swap_page(kernel: &mut Kernel, page: Pfn) -> bool {
    if kernel.frames[page].is_ksm() {
        return false;
    }
    let mut users = kernel.frames[page].mapcount();
    if let Some(slot) = slot_of(kernel, page).filter(|_| users <= 1) {
        users += kernel.swaps.slot(slot).uses;
        if users == 1 && !kernel.frames[page].has(PageFlags::WRITEBACK) {
            delete(kernel, page);
            kernel.frames[page].set(PageFlags::DIRTY);
        }
    }
    users <= 1
}

/// `free_swap_and_cache`: a genuine swap entry was cleared somewhere. Never waits: a page that is
/// locked is left alone (S30).
pub fn free_swap_and_cache<M: Mode>(kernel: &mut Kernel, me: Me, slot: SwapEntry) {
    if let Some(page) = free_swap_or_hold::<M>(kernel, me, slot) {
        kernel.put_page(page);
    }
}

/// [`free_swap_and_cache`] up to the try-lock: a page that is locked is returned, with the
/// reference that the caller has to drop. Until then a move of the page fails (S30).
#[must_use]
pub fn free_swap_or_hold<M: Mode>(kernel: &mut Kernel, me: Me, slot: SwapEntry) -> Option<Pfn> {
    kernel.swaps.free(slot);
    kernel.forget_free_slot(slot);
    let left = kernel.swaps.slot(slot);
    if left.uses > 0 || !left.has_cache {
        return None;
    }
    let found = kernel.mappings[MappingId::SWAPPER].tree.get(slot.neutral());
    // A page that is frozen is locked by whoever froze it.
    let page = found.filter(|&page| kernel.frames[page].try_get())?;
    if !kernel.try_lock_page::<M>(me, page) {
        return Some(page);
    }
    let frame = &kernel.frames[page];
    let is_unmapped = !frame.is_mapped() || kernel.swaps.is_full();
    if !frame.has(PageFlags::WRITEBACK) && is_unmapped {
        delete(kernel, page);
        kernel.frames[page].set(PageFlags::DIRTY);
    }
    kernel.unlock_page::<M>(me, page);
    kernel.put_page(page);
    None
}

/// The address space has a swap entry now, for swap-off.
pub fn note_swapped(kernel: &mut Kernel, mm: MmId) {
    kernel.swaps.mms.insert(mm);
}

/// The `writepage` method of the swap cache and, for a page that is moved to swap first, of shmem. A
/// page that is mapped cannot leave its file: the fallback has mapped it again (WO-3).
///
/// # Errors
/// Never fails by itself; the type is that of the method.
pub fn writepage<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Wrote, Errno> {
    let is_mapped = kernel.frames[page].is_mapped();
    if slot_of(kernel, page).is_none() && (is_mapped || !move_to_swap(kernel, page)) {
        dirty::set_page_dirty(kernel, page);
        return Ok(Wrote::Activate);
    }
    if try_to_free_swap(kernel, page) {
        kernel.unlock_page::<M>(me, page);
        return Ok(Wrote::Unlocked);
    }
    writeback::set_writeback(kernel, page);
    kernel.unlock_page::<M>(me, page);
    let due = kernel.swaps.io_ticks.map(|ticks| kernel.now.saturating_add(ticks));
    let transfer = kernel.io.number(page, Direction::Write, due, false);
    kernel.io.submit(transfer);
    Ok(Wrote::Unlocked)
}

/// A locked, unmapped shmem page leaves its file for the swap cache (data-model 8); false, with
/// nothing changed, if there is no slot. Its charge is kept: a page in the swap cache is not
/// uncharged.
fn move_to_swap(kernel: &mut Kernel, page: Pfn) -> bool {
    let frame = &kernel.frames[page];
    let Owner::File(file) = frame.owner() else { panic!("page {page} belongs to no file") };
    let index = frame.index();
    let Some(slot) = kernel.swaps.allocate() else { return false };
    enter(kernel, page, slot);
    tree::remove(kernel, page);
    kernel.put_page(page);
    kernel.swaps.give_to_shmem(slot);
    let host = kernel.mappings[file].host.as_mut().expect("shmem is a file");
    let before = host.swapped.insert(index, slot);
    assert_eq!(before, None, "page {index} of {file} is in memory and in swap");
    true
}
