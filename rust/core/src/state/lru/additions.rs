//! The pages on their way to a list on one CPU, fourteen of a list at a time.
//!
//! Start with [`Additions::add`]. Whoever adds many borrows them once, with [`Lru::additions`].
//! Data-model 4.2.

use super::{List, ListKind, Lru, Pagevec, free};
use crate::base::{CpuId, Pfn, ZoneId};
use crate::state::frame::{FrameTable, PageFlags};
use crate::state::zone::Zones;

/// One CPU's pagevecs of additions, and the lists that they are drained onto.
#[derive(Debug)]
pub struct Additions<'a> {
    lists: &'a mut [[List; 5]],
    pagevecs: &'a mut [Pagevec; 5],
}

impl Lru {
    /// The additions of `cpu`.
    #[inline]
    pub fn additions(&mut self, cpu: CpuId) -> Additions<'_> {
        let pagevecs = &mut self.pagevecs[cpu.index()].additions;
        Additions { lists: &mut self.lists, pagevecs }
    }
}

impl Additions<'_> {
    /// Lets a page without PG_active and PG_unevictable wait for list `kind`. The pagevec takes over a
    /// reference of the caller's; if this fills it, it is drained at once.
    #[inline(always)]
    pub fn add(&mut self, frames: &mut FrameTable, zones: &mut Zones, pfn: Pfn, kind: ListKind) {
        if self.pagevecs[kind as usize].push(pfn) {
            self.drain(frames, zones, kind);
        }
    }

    /// Moves one pagevec's pages to their lists, then drops its references (`____pagevec_lru_add`).
    ///
    /// A page that only the pagevec keeps would come onto the list and at once off it again: it is freed
    /// without, in its turn.
    #[inline(never)]
    pub(super) fn drain(&mut self, frames: &mut FrameTable, zones: &mut Zones, kind: ListKind) {
        let Additions { lists, pagevecs } = self;
        let pagevec = &mut pagevecs[kind as usize];
        let pages = pagevec.pages();
        let (flags, mut last_users) = (kind.flags_on_list(), 0_u32);
        // Neighbours mostly come onto the same list, which is then counted once.
        let (mut at, mut added) = (ZoneId(0), 0);
        let mut zone = &mut zones[at];
        let all = frames.as_mut_slice();
        for (number, &pfn) in pages.iter().enumerate() {
            let frame = &mut all[pfn.index()];
            debug_assert!(
                !frame.has(PageFlags::LRU | PageFlags::ACTIVE | PageFlags::UNEVICTABLE),
                "a page in a pagevec is on no list (I-43, I-45)"
            );
            if frame.count() == 1 {
                last_users |= 1 << number;
                // What a poisoned frame has, it keeps, and so it takes the long way.
                if !frame.has(PageFlags::HWPOISON) {
                    continue;
                }
            } else {
                frame.drop_reference();
            }
            frame.set(flags);
            if !zone.contains(pfn) {
                zone.counters.add_lru(kind as usize, added);
                (at, added) = (zones.zone_of(pfn), 0);
                zone = &mut zones[at];
            }
            lists[at.index()][kind as usize].push_head(all, pfn);
            added += 1;
        }
        zone.counters.add_lru(kind as usize, added);
        if last_users != 0 {
            free_last_users(lists, frames, zones, pages, last_users);
        }
        pagevec.clear();
    }
}

/// Frees the pages whose bit is set: the pagevec's reference is the last one.
#[inline]
fn free_last_users(
    lists: &mut [[List; 5]],
    frames: &mut FrameTable,
    zones: &mut Zones,
    pages: &[Pfn],
    mut last_users: u32,
) {
    let mut zone = &mut zones[ZoneId(0)];
    while last_users != 0 {
        let pfn = pages[last_users.trailing_zeros() as usize];
        last_users &= last_users - 1;
        if !zone.contains(pfn) {
            let at = zones.zone_of(pfn);
            zone = &mut zones[at];
        }
        if !zone.release_last(&mut frames[pfn], pfn) {
            frames[pfn].drop_reference();
            free(lists, frames, zones, pfn);
            zone = &mut zones[ZoneId(0)];
        }
    }
}
