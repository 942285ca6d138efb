//! Rules about swap: slots, the swap cache, and who uses them.

use std::collections::BTreeMap;

use super::{Report, View};
use crate::base::{MappingId, Pfn, SwapEntry};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;

/// Every slot is used by as many entries as name it, and one more if a shmem file has it; migration
/// entries count nowhere.
pub(super) fn swap_slots_count_their_users(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut entries: BTreeMap<SwapEntry, u32> = BTreeMap::new();
    for slot in view.leaves().filter_map(|leaf| leaf.entry.as_swap()) {
        *entries.entry(slot).or_default() += 1;
    }
    let mut files: BTreeMap<SwapEntry, u32> = BTreeMap::new();
    for host in kernel.mappings.iter().filter_map(|(_, file)| file.host.as_ref()) {
        for &slot in view.lookout.watch(host.swapped.values()) {
            *files.entry(slot).or_default() += 1;
        }
    }
    for (entry, slot) in view.lookout.watch(slots(kernel)) {
        let named = entries.remove(&entry).unwrap_or(0);
        let owned = files.remove(&entry).unwrap_or(0);
        if slot.uses != named + owned || u32::from(slot.is_shmem) != owned {
            report(None, format!("{entry:?} is {slot:?}, with {named} entries and {owned} files"));
        }
    }
    for entry in view.lookout.watch(entries.keys().chain(files.keys())) {
        report(None, format!("{entry:?} is used, and there is no such slot"));
    }
}

/// A slot has SWAP_HAS_CACHE exactly if the swap cache has a page for it, which says so itself; and
/// every page that says so is there. While a page in the swap cache moves, the old or the new one
/// stands for both.
pub(super) fn the_swap_cache_and_slots_agree(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let index = &kernel.mappings[MappingId::SWAPPER].tree;
    let mut cached = 0;
    for (entry, slot) in view.lookout.watch(slots(kernel)) {
        let page = index.get(entry.neutral());
        cached += u64::from(page.is_some());
        if slot.has_cache != page.is_some() {
            report(page, format!("{entry:?} is {slot:?}, and its page is {page:?}"));
        }
        let Some(page) = page else { continue };
        let frame = &kernel.frames[page];
        if !frame.has(PageFlags::SWAPCACHE) || frame.private != entry.0 {
            let (flags, private) = (frame.flags(), frame.private);
            report(Some(page), format!("in {entry:?}, with {flags:?} and private {private:#x}"));
        }
    }
    if index.len() != cached {
        report(None, format!("{} pages in the swap cache, {cached} of them in slots", index.len()));
    }
    for page in view.touched() {
        let frame = &kernel.frames[page];
        if !frame.has(PageFlags::SWAPCACHE) {
            continue;
        }
        let entry = SwapEntry(frame.private);
        let found = index.get(entry.neutral());
        let stands = |other: Pfn| {
            let moves = &view.holdings.moves;
            moves.contains(&(page, other)) || moves.contains(&(other, page))
        };
        if found != Some(page) && !found.is_some_and(stands) {
            report(Some(page), format!("says it is in {entry:?}, where {found:?} is"));
        }
    }
}

/// Free slots are counted: all but those that an entry, a file or the swap cache has.
pub(super) fn free_swap_slots_are_counted(view: &View<'_>, report: Report<'_>) {
    let swaps = &view.kernel.swaps;
    let total = slots(view.kernel).count() as u64;
    let free = slots(view.kernel).filter(|(_, slot)| slot.is_free()).count() as u64;
    if (swaps.total, swaps.free) != (total, free) {
        let (counted, all) = (swaps.free, swaps.total);
        report(None, format!("{counted} of {all} slots counted free, not {free} of {total}"));
    }
}

/// All slots of all devices but the headers.
fn slots(kernel: &Kernel) -> impl Iterator<Item = (SwapEntry, crate::state::swap::Slot)> {
    let devices = kernel.swaps.devices.iter().enumerate();
    devices.flat_map(|(number, device)| {
        let slots = device.slots.iter().enumerate().skip(1);
        slots.map(move |(at, &slot)| (SwapEntry::new(number as u8, at as u32), slot))
    })
}
