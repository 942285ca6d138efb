//! Rules about the counters of zones.

use std::collections::BTreeMap;

use super::{Report, View};
use crate::base::{MappingId, Pfn, ZoneId};
use crate::state::frame::{Owner, PageFlags};
use crate::state::zone::{Counter, Counters};

/// Every zone counter is the number of frames of its sort, but for the documented drift (Q15, Q19).
pub(super) fn zone_counters_count(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut found: BTreeMap<ZoneId, Counters> = BTreeMap::new();
    for page in view.touched() {
        let frame = &kernel.frames[page];
        let counters = found.entry(kernel.zones.zone_of(page)).or_default();
        if frame.is_mapped() {
            let sort = if frame.is_anon() { Counter::AnonPages } else { Counter::FileMapped };
            counters.add(sort, 1);
        }
        counters.add(Counter::Mlock, i64::from(frame.has(PageFlags::MLOCKED)));
        counters.add(Counter::Writeback, i64::from(frame.has(PageFlags::WRITEBACK)));
        let row = view.census.of(page);
        counters.add(Counter::FilePages, i64::from(row.slots));
        let file = cached_in(view, page, row.slots);
        let is_shmem = file.is_some() && !frame.is_file_family();
        counters.add(Counter::Shmem, i64::from(is_shmem && row.slots > 0));
        let accounts = file.is_some_and(|file| kernel.mappings[file].kind.accounts_dirty);
        counters.add(Counter::FileDirty, i64::from(accounts && frame.has(PageFlags::DIRTY)));
        let isolated = row.isolated;
        counters.add(Counter::isolated(frame.is_file_family()), i64::from(isolated));
    }
    for (id, zone) in kernel.zones.iter() {
        let found = found.remove(&id).unwrap_or_default();
        let kept = |counter: &&Counter| **counter != Counter::VmscanWrite;
        for counter in Counter::ALL[Counter::Mlock as usize..].iter().filter(kept) {
            let (counted, found) = (zone.counters.get(*counter), found.get(*counter));
            let found = found + kernel.ledger.drift(id, *counter);
            if counted != found {
                report(None, format!("{} of zone {id} is {counted}, not {found}", counter.name()));
            }
        }
    }
}

/// The file that a page is counted for: it is in a slot, or it is the old page of a move that has left
/// its slot but not handed over its dirtiness yet (between MM-9 and MC-5).
fn cached_in(view: &View<'_>, page: Pfn, slots: u32) -> Option<MappingId> {
    let frame = &view.kernel.frames[page];
    match frame.owner() {
        Owner::File(file) if !frame.has(PageFlags::SWAPCACHE) => {
            let is_leaving = view.holdings.moves.iter().any(|&(old, _)| old == page);
            (slots > 0 || is_leaving).then_some(file)
        }
        _ => None,
    }
}
