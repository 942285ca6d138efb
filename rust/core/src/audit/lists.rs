//! Rules about LRU lists and pagevecs.

use std::collections::BTreeMap;

use super::census::PerFrame;
use super::{Report, View};
use crate::base::{CpuId, Pfn};
use crate::state::frame::{Owner, PageFlags};
use crate::state::lru::{ListKind, PAGEVEC_SIZE};

/// A page is on exactly one list, of its own zone and the one that its flags name, if it has
/// PG_lru; and every list is as long as its counter says.
pub(super) fn listed_pages_say_so(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut listed: PerFrame<u32> = PerFrame::default();
    for (zone_id, zone) in kernel.zones.iter() {
        for kind in ListKind::ALL {
            let (mut len, mut before) = (0, u32::MAX);
            let pages = kernel.lru.list(zone_id, kind).pages(&kernel.frames);
            for page in view.lookout.watch(pages) {
                let flags = kernel.frames[page].flags();
                *listed.at(page) += 1;
                len += 1;
                if kernel.frames[page].link.prev != before {
                    report(Some(page), format!("its link back does not lead to {before}"));
                }
                before = page.0;
                let is_home = kernel.zones.zone_of(page) == zone_id && ListKind::of(flags) == kind;
                if !flags.contains(PageFlags::LRU) || !is_home {
                    report(
                        Some(page),
                        format!("on list {kind:?} of zone {zone_id} with {flags:?}"),
                    );
                }
                let frame = &kernel.frames[page];
                // One that was truncated out of a file that is never reclaimed stays until it is freed.
                let is_evictable = !frame.is_unowned() && kernel.lru.is_evictable(frame);
                if kind == ListKind::Unevictable && !view.holdings.is_busy && is_evictable {
                    report(Some(page), "on the unevictable list, but evictable".into());
                }
                if len > kernel.frames.len() as i64 {
                    report(Some(page), format!("list {kind:?} of zone {zone_id} has no end"));
                    return;
                }
            }
            let counter = crate::state::zone::Counter::ALL[kind as usize];
            let counted = zone.counters.get(counter);
            if counted != len {
                report(
                    None,
                    format!("{} of zone {zone_id} is {counted}, not {len}", counter.name()),
                );
            }
        }
    }
    for page in view.touched() {
        let flags = kernel.frames[page].flags();
        let lists = listed.of(page);
        if u32::from(flags.contains(PageFlags::LRU)) != lists {
            report(Some(page), format!("on {lists} lists with {flags:?}"));
        }
        if flags.contains(PageFlags::ACTIVE | PageFlags::UNEVICTABLE) {
            report(Some(page), "active and unevictable at once".into());
        }
    }
}

/// A page that waits in an addition pagevec, or is isolated, is on no list; no pagevec is full.
pub(super) fn waiting_pages_are_on_no_list(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut waiting: BTreeMap<Pfn, u32> = BTreeMap::new();
    for cpu in (0..kernel.zones.cpus()).map(CpuId::from) {
        for index in 0..6 {
            let pages = kernel.lru.pagevec(cpu, index).pages();
            if pages.len() >= PAGEVEC_SIZE {
                report(None, format!("pagevec {index} of CPU {cpu} holds {} pages", pages.len()));
            }
            for &page in pages.iter().filter(|_| index < 5) {
                *waiting.entry(page).or_default() += 1;
                let flags = kernel.frames[page].flags();
                let settled = PageFlags::LRU | PageFlags::ACTIVE | PageFlags::UNEVICTABLE;
                if flags.intersects(settled) {
                    report(Some(page), format!("waits in a pagevec with {flags:?}"));
                }
            }
        }
    }
    for (page, times) in waiting {
        if times > 1 {
            report(Some(page), format!("waits in {times} pagevecs"));
        }
    }
    for (page, row) in view.lookout.watch(view.census.rows()) {
        if row.isolated > 1 {
            report(Some(page), format!("isolated {} times", row.isolated));
        }
        if row.isolated > 0 && kernel.frames[page].has(PageFlags::LRU) {
            report(Some(page), "isolated, but has PG_lru".into());
        }
    }
}

/// Anonymous pages, and those of shmem, belong to the anonymous LRU family, other pages of files do
/// not; pages of files that are never reclaimed do not become active.
pub(super) fn families_follow_owners(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for page in view.touched() {
        let frame = &kernel.frames[page];
        if frame.is_anon() && frame.is_file_family() {
            report(Some(page), "anonymous without PG_swapbacked".into());
        }
        let Owner::File(file) = frame.owner() else { continue };
        let kind = &kernel.mappings[file].kind;
        if kind.is_swap_backed == frame.is_file_family() {
            report(Some(page), format!("of {:?}, with {:?}", kind.name, frame.flags()));
        }
        let is_active = frame.flags().contains(PageFlags::LRU | PageFlags::ACTIVE);
        if kind.is_unevictable && is_active && frame.is_file_family() {
            report(Some(page), format!("of {:?}, which is unevictable, but active", kind.name));
        }
    }
}
