//! Rules about frames: conservation, references, map counts.

use super::{Report, Row, View};

/// A free frame is all zeroes, but for poison, and nothing refers to it; free frames are counted.
pub(super) fn free_frames_are_blank(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for (_, zone) in kernel.zones.iter() {
        let mut taken = 0;
        for at in view.lookout.watch(0..zone.free.touched()) {
            let page = crate::base::Pfn::from(zone.first.index() + at);
            if !zone.free.is_free(at) {
                taken += 1;
            } else if !kernel.frames[page].is_blank() {
                report(
                    Some(page),
                    format!("free, but its descriptor is {:?}", kernel.frames[page]),
                );
            } else if view.census.of(page) != Row::default() {
                report(Some(page), format!("free, but in use: {:?}", view.census.of(page)));
            }
        }
        let free = zone.free.len() as u64 - taken;
        if free != zone.free.count() {
            let counted = zone.free.count();
            report(None, format!("node {}: {free} frames free, counted {counted}", zone.node));
        }
    }
}

/// The count of every page in use is the number of its holders, and not zero; that of a frozen page
/// is zero, and its holders are those that it was frozen with.
pub(super) fn references_add_up(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for page in view.touched() {
        let frame = &kernel.frames[page];
        let zone = &kernel.zones[kernel.zones.zone_of(page)];
        if !zone.is_in_use(page) {
            continue;
        }
        let row = view.census.of(page);
        if let Some(&frozen) = view.holdings.frozen.get(&page) {
            if frame.count() != 0 || row.references() != frozen {
                let count = frame.count();
                report(Some(page), format!("frozen from {frozen}: count {count}, holders {row:?}"));
            }
            continue;
        }
        if frame.count() != row.references() || frame.count() == 0 {
            let count = frame.count();
            report(Some(page), format!("count is {count}, but its holders are {row:?}"));
        }
    }
}

/// The zero page has a reference of its own, and one from everybody who looked it up.
pub(super) fn the_zero_page_is_held_once(view: &View<'_>, report: Report<'_>) {
    let zero = view.kernel.frames.zero_page();
    let (count, held) = (view.kernel.frames[zero].count(), view.census.of(zero).references());
    if count != 1 + held {
        report(Some(zero), format!("the zero page's count is {count}, not 1 and {held} held"));
    }
}

/// Every page's map count is the number of ordinary entries that name it.
///
/// Pairs with the assertion in `Frame::drop_mapping`, which checks it from the other side.
pub(super) fn mapcount_matches_entries(view: &View<'_>, report: Report<'_>) {
    let zero = view.kernel.frames.zero_page();
    for page in view.touched().chain(std::iter::once(zero)) {
        let (counted, found) = (view.kernel.frames[page].mapcount(), view.census.of(page).entries);
        if counted != found {
            report(Some(page), format!("map count is {counted}, but {found} entries name it"));
        }
    }
}
