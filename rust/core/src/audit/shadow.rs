//! The rule about bytes: what was stored is there.

use super::{Report, View};
use crate::base::Pfn;
use crate::kernel::Found;
use crate::state::frame::PageFlags;
use crate::state::pagetable::Entry;
use crate::state::shadow::{Place, Sheet, Wrong};

/// Whoever watches stores finds them again: at every yield point the place where a program would load
/// a byte from has what was stored there last, a page that counts as clean is the same on disk, and
/// no load returned anything else.
pub(super) fn no_store_is_lost(view: &View<'_>, report: Report<'_>) {
    let shadow = &view.kernel.shadow;
    if !shadow.is_on() {
        return;
    }
    for (place, sheet) in view.lookout.watch(shadow.sheets()) {
        let found = match place {
            Place::Own(..) => Some(find_own(view, place)),
            Place::File(file, index) => {
                view.kernel.bytes_of_file(file, index, &view.holdings.moves)
            }
        };
        if let Some(found) = found {
            check(view, place, sheet, found, report);
        }
    }
    for &wrong in shadow.wrong() {
        match wrong {
            Wrong::Byte { place, at, stored, loaded, page } => report(
                Some(page),
                format!(
                    "{}: byte {at} was loaded as {loaded:#04x}, stored as {stored:#04x}",
                    describe(place)
                ),
            ),
            Wrong::Stale { place, page } => {
                report(
                    Some(page),
                    format!("{}: read from a frame that it has left", describe(place)),
                );
            }
        }
    }
}

/// Private memory, by its entry. One that `mremap` has in its hands counts as where it will be.
fn find_own<'a>(view: &'a View<'_>, place: Place) -> Found<'a> {
    let kernel = view.kernel;
    let Place::Own(mm, address) = place else { unreachable!("memory of a file has no address") };
    let carried = view.holdings.carried.iter().find(|&&(of, at, _)| (of, at) == (mm, address));
    let entry = match (carried, kernel.mms.find(mm)) {
        (Some(&(.., entry)), _) => entry,
        (None, Some(space)) => kernel.tables.entry(space.root, address),
        (None, None) => Entry::NONE,
    };
    kernel.bytes_of_entry(entry, &view.holdings.moves)
}

fn check(view: &View<'_>, place: Place, sheet: &Sheet, found: Found<'_>, report: Report<'_>) {
    if let Some((at, stored, is)) = sheet.first_lost(0, found.bytes) {
        let what = describe(place);
        report(found.page, format!("{what}: byte {at} is {is:#04x}, stored was {stored:#04x}"));
    }
    let Some(page) = found.page.filter(|&page| is_clean(view, page)) else { return };
    let behind = view.kernel.bytes_behind(page);
    if let Some((at, stored, is)) = behind.and_then(|bytes| sheet.first_lost(0, bytes)) {
        let what = describe(place);
        report(
            Some(page),
            format!("{what}: clean, but byte {at} on disk is {is:#04x}, stored was {stored:#04x}"),
        );
    }
}

/// Whether nobody would write the page before dropping it (I-111). Who has it locked may be about to
/// say that it is dirty.
fn is_clean(view: &View<'_>, page: Pfn) -> bool {
    let busy = PageFlags::DIRTY | PageFlags::WRITEBACK | PageFlags::LOCKED;
    let frame = &view.kernel.frames[page];
    let names_it = |entry: Entry| entry.is_present() && entry.normal_page() == Some(page);
    let mut leaves = view.leaves().map(|leaf| leaf.entry);
    !frame.flags().intersects(busy)
        && !leaves.any(|entry| entry.has(Entry::DIRTY) && names_it(entry))
}

fn describe(place: Place) -> String {
    match place {
        Place::Own(mm, address) => format!("mm {mm} at {address:#x}"),
        Place::File(file, index) => format!("page {index} of file {file}"),
    }
}
