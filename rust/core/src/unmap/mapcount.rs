//! The map count of a page, and the counters that follow it (supporting-paths 4).

use crate::base::{CpuId, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::state::lru::{self, ListKind};
use crate::state::mm::VmFlags;
use crate::state::zone::Counter;

/// An ordinary entry for an anonymous page came (`page_add_anon_rmap`).
///
/// The first one re-points the page at the *oldest* list of the area (Q14).
///
/// # Panics
/// If the page is not locked, or is known under another index: errors of the model.
#[inline]
pub fn add_anon(kernel: &mut Kernel, page: Pfn, vma: VmaId, address: u64) {
    let area = &kernel.vmas[vma];
    let index = area.linear_index(address);
    let frame = &mut kernel.frames[page];
    let is_ours = frame.has(PageFlags::LOCKED) || frame.is_ksm();
    assert!(is_ours, "anonymous page {page} mapped while unlocked");
    let is_ksm = frame.is_ksm();
    if frame.add_mapping() {
        if !is_ksm {
            let oldest = area.oldest_anon_vma().expect("an area with anonymous pages has a list");
            frame.set_owner(Owner::Anon(oldest));
            frame.set_index(index);
        }
        kernel.zones.counters_of(page).add(Counter::AnonPages, 1);
    } else {
        assert!(is_ksm || frame.index() == index, "page {page} mapped under a second index");
    }
}

/// An ordinary entry for a page of a file came (`page_add_file_rmap`).
#[inline]
pub fn add_file(kernel: &mut Kernel, page: Pfn) {
    if kernel.frames[page].add_mapping() {
        kernel.zones.counters_of(page).add(Counter::FileMapped, 1);
        kernel.count_mapped_file(page, 1);
    }
}

/// The first entry for a new anonymous page came (`page_add_new_anon_rmap`): the page joins the
/// area's own list and waits for the active LRU list, or is unevictable at once.
#[inline]
pub fn add_new_anon(kernel: &mut Kernel, cpu: CpuId, page: Pfn, vma: VmaId, address: u64) {
    let area = &kernel.vmas[vma];
    let list = area.anon_vma.expect("prepared before the first write");
    let is_mlocked =
        area.flags.contains(VmFlags::LOCKED) && !area.flags.intersects(VmFlags::UNLOCKABLE);
    let index = area.linear_index(address);
    let frame = &mut kernel.frames[page];
    frame.set(PageFlags::SWAPBACKED);
    frame.add_mapping();
    frame.set_owner(Owner::Anon(list));
    frame.set_index(index);
    let counters = kernel.zones.counters_of(page);
    counters.add(Counter::AnonPages, 1);
    let Kernel { frames, zones, lru, .. } = kernel;
    if is_mlocked {
        frames[page].set(PageFlags::MLOCKED);
        zones.counters_of(page).add(Counter::Mlock, 1);
        lru::add_unevictable(frames, zones, lru, page);
    } else {
        lru.add(frames, zones, cpu, page, ListKind::ActiveAnon);
    }
}

/// An ordinary entry for the page went (`page_remove_rmap`). `mapping` stays.
#[inline]
pub fn remove(kernel: &mut Kernel, page: Pfn) {
    let frame = &mut kernel.frames[page];
    if frame.drop_mapping() {
        let is_anon = frame.is_anon();
        let counter = if is_anon { Counter::AnonPages } else { Counter::FileMapped };
        if is_anon {
            kernel.uncharge_unmapped(page);
        } else {
            kernel.count_mapped_file(page, -1);
        }
        kernel.zones.counters_of(page).add(counter, -1);
    }
}
