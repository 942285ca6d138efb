//! What reclaim does to a list: takes pages from its tail, and puts those that it could not free
//! back at its head (supporting-paths 12).

use super::{ListKind, Lru};
use crate::base::{Pfn, ZoneId};
use crate::state::frame::{FrameTable, PageFlags};
use crate::state::zone::Zones;

impl Lru {
    /// At most `most` pages of a list, from its tail on.
    pub fn oldest(
        &self,
        frames: &FrameTable,
        zone: ZoneId,
        kind: ListKind,
        most: usize,
    ) -> Vec<Pfn> {
        self.list(zone, kind).pages_from_tail(frames).take(most).collect()
    }
}

/// Puts an evictable page that is on no list at the head of the one that its flags name. The list
/// takes no reference.
///
/// # Panics
/// If the page is on a list: an error of the model.
pub fn return_to_list(frames: &mut FrameTable, zones: &mut Zones, lru: &mut Lru, pfn: Pfn) {
    assert!(!frames[pfn].has(PageFlags::LRU), "page {pfn} returned while on a list");
    debug_assert!(!frames[pfn].has(PageFlags::UNEVICTABLE), "page {pfn} belongs elsewhere");
    let kind = ListKind::of(frames[pfn].flags());
    frames[pfn].set(PageFlags::LRU);
    let zone = zones.zone_of(pfn);
    lru.lists[zone.index()][kind as usize].push_head(frames.as_mut_slice(), pfn);
    zones[zone].counters.add_lru(kind as usize, 1);
}
