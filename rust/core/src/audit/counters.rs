//! Rules about counters: of zones, and of address spaces.

use std::collections::BTreeMap;

use super::census::touched;
use super::{Report, View};
use crate::base::{MmId, ZoneId};
use crate::state::frame::PageFlags;
use crate::state::mm::Resident;
use crate::state::zone::{Counter, Counters};

/// Every zone counter is the number of frames of its sort, and the documented drift (Q15, Q19).
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
            let drift = kernel.ledger.drift(id, *counter);
            let (counted, found) = (zone.counters.get(*counter), found.get(*counter) + drift);
            if counted != found {
                report(None, format!("{} of zone {id} is {counted}, not {found}", counter.name()));
            }
        }
    }
}

/// An address space counts its present pages, and pages under migration like present ones, but
/// for the documented drift (Q16).
pub(super) fn resident_counters_count(view: &View<'_>, report: Report<'_>) {
    let mut found: BTreeMap<MmId, Resident> = BTreeMap::new();
    for leaf in &view.census.leaves {
        let counters = found.entry(leaf.mm).or_default();
        let is_page = leaf.entry.is_present() && leaf.entry.normal_page().is_some();
        counters.anon += i64::from(is_page || leaf.entry.as_migration().is_some());
    }
    for (id, mm) in view.kernel.mms.iter() {
        let mut expected = found.remove(&id).unwrap_or_default();
        expected.anon += mm.anon_drift;
        if mm.resident != expected {
            report(None, format!("mm {id} counts {:?}, not {expected:?}", mm.resident));
        }
    }
}
