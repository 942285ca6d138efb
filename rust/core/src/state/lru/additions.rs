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
    /// without. Lists and free frames do not know of each other, so nobody sees that it goes first.
    #[inline(never)]
    pub(super) fn drain(&mut self, frames: &mut FrameTable, zones: &mut Zones, kind: ListKind) {
        let Additions { lists, pagevecs } = self;
        let pagevec = &mut pagevecs[kind as usize];
        let pages = pagevec.pages();
        let mut rest = free_unused(frames, zones, pages);
        let (flags, mut last_users) = (kind.flags_on_list(), 0_u32);
        // Neighbours mostly come onto the same list, which is then counted once.
        let (mut at, mut added) = (ZoneId(0), 0);
        let mut zone = &mut zones[at];
        let all = frames.as_mut_slice();
        while rest != 0 {
            let number = rest.trailing_zeros();
            rest &= rest - 1;
            let pfn = pages[number as usize];
            let frame = &mut all[pfn.index()];
            debug_assert!(
                !frame.has(PageFlags::LRU | PageFlags::ACTIVE | PageFlags::UNEVICTABLE),
                "a page in a pagevec is on no list (I-43, I-45)"
            );
            if frame.count() == 1 {
                last_users |= 1 << number;
                // What a poisoned frame has, it keeps.
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
        while last_users != 0 {
            let pfn = pages[last_users.trailing_zeros() as usize];
            last_users &= last_users - 1;
            frames[pfn].drop_reference();
            free(lists, frames, zones, pfn);
        }
        pagevec.clear();
    }
}

/// Frees the pages that only the pagevec keeps, if nothing else about them needs a look; a bit for each
/// of the others.
#[inline]
fn free_unused(frames: &mut FrameTable, zones: &mut Zones, pages: &[Pfn]) -> u32 {
    let mut rest = 0;
    let mut zone = &mut zones[ZoneId(0)];
    let all = frames.as_mut_slice();
    for (number, &pfn) in pages.iter().enumerate() {
        let frame = &mut all[pfn.index()];
        if frame.count() != 1 {
            rest |= 1 << number;
            continue;
        }
        if !zone.contains(pfn) {
            let at = zones.zone_of(pfn);
            zone = &mut zones[at];
        }
        rest |= u32::from(!zone.release_last(frame, pfn)) << number;
    }
    rest
}
