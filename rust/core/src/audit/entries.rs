//! Rules about page-table entries.

use super::{Report, View};
use crate::state::frame::PageFlags;
use crate::state::pagetable::Entry;

/// A migration entry names a locked, isolated old page that a migrator has in hand right now.
pub(super) fn migration_entries_have_a_migrator(view: &View<'_>, report: Report<'_>) {
    for (page, row) in view.census.rows().filter(|(_, row)| row.migration_entries > 0) {
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
/// known sort.
pub(super) fn entries_lie_inside_areas(view: &View<'_>, report: Report<'_>) {
    for leaf in &view.census.leaves {
        let at = leaf.address;
        let Some(vma) = leaf.vma.map(|id| &view.kernel.vmas[id]) else {
            report(
                None,
                format!("mm {}: entry {:#x} at {at:#x}, outside any area", leaf.mm, leaf.entry.0),
            );
            continue;
        };
        let page = match leaf.entry.as_migration() {
            Some((page, _)) => Some(page),
            None if leaf.entry.is_present() => leaf.entry.normal_page(),
            None => {
                report(
                    None,
                    format!("mm {}: unknown entry {:#x} at {at:#x}", leaf.mm, leaf.entry.0),
                );
                continue;
            }
        };
        let Some(page) = page else { continue };
        let frame = &view.kernel.frames[page];
        // Once MC-9 has cleared the owner, the old page's index still names the address.
        // A page of KSM has the index of the place where it was first (I-72 says where it is).
        if !frame.is_ksm() && frame.index() != vma.linear_index(at) {
            let (index, expected) = (frame.index(), vma.linear_index(at));
            report(Some(page), format!("index {index:#x}, but mapped where {expected:#x} belongs"));
        }
    }
}

/// At rest, a private area's writable entry names an anonymous page that nobody else maps.
pub(super) fn writable_private_pages_are_unshared(view: &View<'_>, report: Report<'_>) {
    if view.holdings.is_busy {
        return;
    }
    for leaf in view.census.leaves.iter().filter(|leaf| leaf.entry.is_present()) {
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
