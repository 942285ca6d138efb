//! Rules about the counters of zones.

use std::collections::BTreeMap;

use super::census::touched;
use super::{Report, View};
use crate::base::ZoneId;
use crate::state::frame::PageFlags;
use crate::state::zone::{Counter, Counters};

/// Every zone counter is the number of frames of its sort.
pub(super) fn zone_counters_count(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut found: BTreeMap<ZoneId, Counters> = BTreeMap::new();
    for page in touched(kernel) {
        let frame = &kernel.frames[page];
        let counters = found.entry(kernel.zones.zone_of(page)).or_default();
        if frame.is_mapped() {
            let sort = if frame.is_anon() { Counter::AnonPages } else { Counter::FileMapped };
            counters.add(sort, 1);
        }
        counters.add(Counter::Mlock, i64::from(frame.has(PageFlags::MLOCKED)));
        counters.add(Counter::Writeback, i64::from(frame.has(PageFlags::WRITEBACK)));
        let isolated = view.census.of(page).isolated;
        counters.add(Counter::isolated(frame.is_file_family()), i64::from(isolated));
    }
    for (id, zone) in kernel.zones.iter() {
        let found = found.remove(&id).unwrap_or_default();
        for counter in &Counter::ALL[Counter::Mlock as usize..] {
            let (counted, found) = (zone.counters.get(*counter), found.get(*counter));
            if counted != found {
                report(None, format!("{} of zone {id} is {counted}, not {found}", counter.name()));
            }
        }
    }
}
