//! Rules about page-table entries.

use super::{Report, View};
use crate::base::Pfn;
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::mm::{VmFlags, Vma};
use crate::state::pagetable::Entry;
use crate::state::rmap::successor;
use crate::step::LockId;

/// A migration entry names a locked, isolated old page that a migrator has in hand right now.
pub(super) fn migration_entries_have_a_migrator(view: &View<'_>, report: Report<'_>) {
    for (page, row) in
        view.lookout.watch(view.census.rows()).filter(|(_, row)| row.migration_entries > 0)
    {
        let entries = row.migration_entries;
        if !view.kernel.frames[page].has(PageFlags::LOCKED) {
            report(Some(page), format!("{entries} migration entries name it, and it is unlocked"));
        }
        if row.isolated == 0 {
            report(
                Some(page),
                format!("{entries} migration entries name it, and nobody isolated it"),
            );
        }
        if !view.holdings.migrating.contains(&page) {
            report(Some(page), format!("{entries} migration entries outlive the attempt"));
        }
    }
}

/// An entry lies inside an area, at the address where the reverse map expects it, and is of a
/// known sort: a page, the zero page where nothing else can be mapped, a slot of a device, or a page
/// on its way.
pub(super) fn entries_lie_inside_areas(view: &View<'_>, report: Report<'_>) {
    for leaf in view.leaves() {
        let (at, entry) = (leaf.address, leaf.entry);
        let Some(vma) = leaf.vma.map(|id| &view.kernel.vmas[id]) else {
            let message =
                format!("mm {}: entry {:#x} at {at:#x}, outside any area", leaf.mm, entry.0);
            report(None, message);
            continue;
        };
        let page = match entry.as_migration() {
            Some((page, _)) => Some(page),
            None if entry.is_present() => entry.normal_page(),
            None => None,
        };
        match page {
            Some(page) => check_index(view, page, vma.linear_index(at), report),
            None if is_known(view.kernel, entry, vma) => {}
            None => {
                report(None, format!("mm {}: unknown entry {:#x} at {at:#x}", leaf.mm, entry.0))
            }
        }
    }
}

/// A page is mapped where its index says; once MC-9 has cleared its owner, the old page's still does.
/// A page of KSM has the index of the place where it was first (I-72 says where it is).
fn check_index(view: &View<'_>, page: Pfn, expected: u64, report: Report<'_>) {
    let kernel = view.kernel;
    let is_ksm = kernel.frames[successor(&kernel.frames, &kernel.locks, page)].is_ksm();
    let index = kernel.frames[page].index();
    if !is_ksm && index != expected {
        report(Some(page), format!("index {index:#x}, but mapped where {expected:#x} belongs"));
    }
}

/// Whether an entry that names no page makes sense in its area: a slot of a swap device, or a special
/// entry where the area permits one.
fn is_known(kernel: &Kernel, entry: Entry, vma: &Vma) -> bool {
    if let Some(slot) = entry.as_swap() {
        let device = kernel.swaps.devices.get(usize::from(slot.device()));
        let slots = device.map_or(0, |device| device.slots.len());
        return (1..slots).contains(&(slot.offset() as usize));
    }
    let may_be_special = vma.file.is_none() && entry.pfn() == kernel.frames.zero_page();
    entry.is_present()
        && (may_be_special || vma.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP))
}

/// Nobody can store where his area forbids it: no entry is writable there, nor will one come back
/// writable (Q27). Whoever changes the area has its `mmap_sem` for writing, and may be half way.
pub(super) fn entries_permit_no_more_than_areas(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for leaf in view.leaves() {
        let Some(area) = leaf.vma.map(|id| &kernel.vmas[id]) else { continue };
        let is_writable = leaf.entry.is_present() && leaf.entry.has(Entry::WRITABLE);
        let may_come_back = leaf.entry.as_migration().is_some_and(|(_, is_write)| is_write);
        let is_changing = kernel.locks.is_exclusive(LockId::MmapSem(leaf.mm));
        let is_permitted = area.flags.contains(VmFlags::WRITE) || is_changing;
        if (is_writable || may_come_back) && !is_permitted {
            let at = leaf.address;
            report(None, format!("mm {}: writable at {at:#x}, where its area is not", leaf.mm));
        }
    }
}

/// At rest, a private area's writable entry names an anonymous page that nobody else maps.
pub(super) fn writable_private_pages_are_unshared(view: &View<'_>, report: Report<'_>) {
    if view.holdings.is_busy {
        return;
    }
    for leaf in view.leaves().filter(|leaf| leaf.entry.is_present()) {
        let is_private = leaf.vma.is_some_and(|id| view.kernel.vmas[id].is_copy_on_write());
        let Some(page) = leaf.entry.normal_page() else {
            continue;
        };
        let frame = &view.kernel.frames[page];
        let is_sound = frame.is_anon() && frame.mapcount() == 1;
        if is_private && leaf.entry.has(Entry::WRITABLE) && !is_sound {
            let count = frame.mapcount();
            report(Some(page), format!("writable in a private area and mapped {count} times"));
        }
    }
}
