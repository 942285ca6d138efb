//! Aging lists, and the per-CPU pagevecs in which pages wait to get onto them.
//!
//! A page is on one list of its zone exactly if it has PG_lru. Start with [`Lru::add`] (into a
//! pagevec), [`isolate`] (off a list, into somebody's hands) and [`putback`]. Every list adds at
//! its head; reclaim takes from the tail ([`Lru::oldest`]).
//!
//! Data-model 4. Left out: the statistics of the list scanner.

mod additions;
mod list;
mod pagevec;
mod scan;

pub use additions::Additions;
pub use list::{List, ListKind};
pub use pagevec::{PAGEVEC_SIZE, Pagevec};
pub use scan::return_to_list;

use serde::{Deserialize, Serialize};

use super::frame::{Frame, FrameTable, Owner, PageFlags};
use super::zone::Zones;
use crate::base::{CpuId, Errno, MappingId, Pfn, ZoneId};

/// The lists of all zones and the pagevecs of all CPUs.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Lru {
    lists: Vec<[List; 5]>,
    pagevecs: Vec<CpuPagevecs>,
    /// Files whose pages are never reclaimed (AS_UNEVICTABLE), ascending.
    unevictable: Vec<MappingId>,
}

/// One CPU's pagevecs: additions by list (that of the unevictable list stays empty) and rotations.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
struct CpuPagevecs {
    additions: [Pagevec; 5],
    rotate: Pagevec,
}

impl Lru {
    /// Empty lists for `zones`.
    pub fn new(zones: &Zones) -> Lru {
        Lru {
            lists: vec![[List::default(); 5]; zones.iter().count()],
            pagevecs: vec![CpuPagevecs::default(); zones.cpus()],
            unevictable: Vec::new(),
        }
    }

    /// Pages of this file are never reclaimed. Files are numbered as they are made.
    pub fn note_unevictable(&mut self, file: MappingId) {
        self.unevictable.push(file);
    }

    /// Whether reclaim may look at the page (`page_evictable` without a VMA).
    #[inline]
    pub fn is_evictable(&self, frame: &Frame) -> bool {
        if frame.has(PageFlags::MLOCKED) {
            return false;
        }
        if self.unevictable.is_empty() || frame.has(PageFlags::SWAPCACHE) {
            return true;
        }
        let Owner::File(file) = frame.owner() else { return true };
        self.unevictable.binary_search(&file).is_err()
    }

    /// One list of one zone.
    pub fn list(&self, zone: ZoneId, kind: ListKind) -> &List {
        &self.lists[zone.index()][kind as usize]
    }

    /// The pages waiting on `cpu` for list `index`; 5 is the rotate pagevec.
    pub fn pagevec(&self, cpu: CpuId, index: usize) -> &Pagevec {
        let of_cpu = &self.pagevecs[cpu.index()];
        of_cpu.additions.get(index).unwrap_or(&of_cpu.rotate)
    }

    /// Lets a page wait for list `kind` on `cpu` (`lru_cache_add_lru`). The pagevec takes a
    /// reference of its own; if this fills it, it is drained at once.
    #[inline]
    pub fn add(
        &mut self,
        frames: &mut FrameTable,
        zones: &mut Zones,
        cpu: CpuId,
        pfn: Pfn,
        kind: ListKind,
    ) {
        let frame = &mut frames[pfn];
        if !frame.take(PageFlags::ACTIVE) {
            frame.clear(PageFlags::UNEVICTABLE);
        }
        frame.get();
        self.additions(cpu).add(frames, zones, pfn, kind);
    }

    /// Lets a page that is on a list wait to be moved to its tail (`rotate_reclaimable_page`). As
    /// with [`Lru::add`], the pagevec takes a reference and is drained when full.
    pub fn rotate(&mut self, frames: &mut FrameTable, zones: &mut Zones, cpu: CpuId, pfn: Pfn) {
        frames[pfn].get();
        if self.pagevecs[cpu.index()].rotate.push(pfn) {
            self.drain_rotations(frames, zones, cpu);
        }
    }

    /// Drains all pagevecs of one CPU (`lru_add_drain`).
    pub fn drain(&mut self, frames: &mut FrameTable, zones: &mut Zones, cpu: CpuId) {
        let mut additions = self.additions(cpu);
        for kind in ListKind::ALL {
            additions.drain(frames, zones, kind);
        }
        self.drain_rotations(frames, zones, cpu);
    }

    /// Moves the pages of the rotate pagevec to their lists' tails, if they are still to be reclaimed.
    fn drain_rotations(&mut self, frames: &mut FrameTable, zones: &mut Zones, cpu: CpuId) {
        let rotate = self.pagevecs[cpu.index()].rotate.take();
        for &pfn in rotate.pages() {
            let flags = frames[pfn].flags();
            let is_busy = flags.intersects(PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
            if flags.contains(PageFlags::LRU) && !is_busy {
                let kind = ListKind::of(flags);
                let list = &mut self.lists[zones.zone_of(pfn).index()][kind as usize];
                list.remove(frames.as_mut_slice(), pfn);
                list.push_tail(frames.as_mut_slice(), pfn);
            }
        }
        for &pfn in rotate.pages() {
            put_page(frames, zones, self, pfn);
        }
    }

    /// Drains all pagevecs of all CPUs, ascending (`lru_add_drain_all`).
    pub fn drain_all(&mut self, frames: &mut FrameTable, zones: &mut Zones) {
        for cpu in 0..self.pagevecs.len() {
            self.drain(frames, zones, CpuId::from(cpu));
        }
    }

    /// Takes a page off its list, which its caller has found out; flags and counters are the caller's.
    #[inline]
    pub fn take_off(&mut self, frames: &mut [Frame], zone: ZoneId, kind: ListKind, pfn: Pfn) {
        self.lists[zone.index()][kind as usize].remove(frames, pfn);
    }
}

/// Takes a page that has PG_lru off its list and clears that flag.
#[inline]
fn unlink(lists: &mut [[List; 5]], frames: &mut FrameTable, zones: &mut Zones, pfn: Pfn) {
    let kind = ListKind::of(frames[pfn].flags());
    let zone = zones.zone_of(pfn);
    frames[pfn].clear(PageFlags::LRU);
    lists[zone.index()][kind as usize].remove(frames.as_mut_slice(), pfn);
    zones[zone].counters.add_lru(kind as usize, -1);
}

/// A page that has lost its last reference leaves its list, if it is on one, and is freed.
#[inline]
fn free(lists: &mut [[List; 5]], frames: &mut FrameTable, zones: &mut Zones, pfn: Pfn) {
    if frames[pfn].has(PageFlags::LRU) {
        unlink(lists, frames, zones, pfn);
        frames[pfn].clear(PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
    }
    zones.release(frames, pfn);
}

/// Drops a reference; the last one takes the page off its list and frees it.
#[inline]
pub fn put_page(frames: &mut FrameTable, zones: &mut Zones, lru: &mut Lru, pfn: Pfn) {
    if frames[pfn].drop_reference() == 0 {
        free(&mut lru.lists, frames, zones, pfn);
    }
}

/// Takes a page off its LRU list so that nothing but the caller can move it (`isolate_lru_page`).
///
/// The caller owns one new reference afterwards, and owes the isolated counter. Fails with
/// [`Errno::Busy`] when the page is not on a list, for instance because it still waits in a
/// pagevec.
#[inline]
pub fn isolate(
    frames: &mut FrameTable,
    zones: &mut Zones,
    lru: &mut Lru,
    pfn: Pfn,
) -> Result<(), Errno> {
    if !frames[pfn].has(PageFlags::LRU) || !frames[pfn].try_get() {
        return Err(Errno::Busy);
    }
    unlink(&mut lru.lists, frames, zones, pfn);
    Ok(())
}

/// Sends an isolated or new page to where it belongs and drops the caller's reference
/// (`putback_lru_page`).
///
/// # Panics
/// If the page is on a list: an error of the model (invariants 14).
#[inline]
pub fn putback(frames: &mut FrameTable, zones: &mut Zones, lru: &mut Lru, cpu: CpuId, pfn: Pfn) {
    let frame = &mut frames[pfn];
    assert!(!frame.has(PageFlags::LRU), "page {pfn} put back while on a list");
    let is_active = frame.take(PageFlags::ACTIVE);
    frame.clear(PageFlags::UNEVICTABLE);
    if lru.is_evictable(frame) {
        let kind = ListKind::evictable(frame.is_file_family(), is_active);
        lru.add(frames, zones, cpu, pfn, kind);
    } else {
        // In one step it cannot become evictable meanwhile (data-model 4.3, point 5).
        add_unevictable(frames, zones, lru, pfn);
    }
    put_page(frames, zones, lru, pfn);
}

/// Puts a page straight on its zone's unevictable list; no pagevec is involved.
pub fn add_unevictable(frames: &mut FrameTable, zones: &mut Zones, lru: &mut Lru, pfn: Pfn) {
    frames[pfn].set(PageFlags::UNEVICTABLE | PageFlags::LRU);
    let zone = zones.zone_of(pfn);
    lru.lists[zone.index()][ListKind::Unevictable as usize].push_head(frames.as_mut_slice(), pfn);
    zones[zone].counters.add_lru(ListKind::Unevictable as usize, 1);
}

/// Notes that a page is in use (`mark_page_accessed`): the second time, it becomes active.
pub fn mark_accessed(frames: &mut FrameTable, zones: &mut Zones, lru: &mut Lru, pfn: Pfn) {
    let flags = frames[pfn].flags();
    let is_settled = flags.intersects(PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
    let is_settled = is_settled || !lru.is_evictable(&frames[pfn]);
    if !is_settled && flags.contains(PageFlags::REFERENCED | PageFlags::LRU) {
        let kind = ListKind::of(flags);
        let active = ListKind::evictable(frames[pfn].is_file_family(), true);
        let zone = zones.zone_of(pfn);
        let lists = &mut lru.lists[zone.index()];
        lists[kind as usize].remove(frames.as_mut_slice(), pfn);
        lists[active as usize].push_head(frames.as_mut_slice(), pfn);
        zones[zone].counters.add_lru(kind as usize, -1);
        zones[zone].counters.add_lru(active as usize, 1);
        frames[pfn].set(PageFlags::ACTIVE);
        frames[pfn].clear(PageFlags::REFERENCED);
    } else {
        frames[pfn].set(PageFlags::REFERENCED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::MachineSpec;
    use crate::state::zone::Counter;

    fn machine() -> (FrameTable, Zones, Lru) {
        let zones = Zones::new(&MachineSpec::simple(&[32], 1, false));
        let lru = Lru::new(&zones);
        (FrameTable::new(32).unwrap(), zones, lru)
    }

    fn page(frames: &mut FrameTable, zones: &mut Zones) -> Pfn {
        let request = crate::state::zone::Request {
            node: crate::base::NodeId(0),
            is_this_node_only: true,
            policy: crate::base::NodeMask(1),
            mems_allowed: crate::base::NodeMask(1),
        };
        zones.allocate(frames, request).unwrap()
    }

    #[test]
    fn the_fourteenth_page_drains_the_pagevec_onto_the_list_head() {
        let (mut frames, mut zones, mut lru) = machine();
        for n in 1..=14 {
            let pfn = page(&mut frames, &mut zones);
            lru.add(&mut frames, &mut zones, CpuId(0), pfn, ListKind::InactiveFile);
            let waiting = lru.pagevec(CpuId(0), ListKind::InactiveFile as usize).pages().len();
            assert_eq!(waiting, n % 14);
        }
        let list = lru.list(ZoneId(0), ListKind::InactiveFile);
        assert_eq!(list.pages(&frames).next(), Some(Pfn(13)), "the last one in is at the head");
        assert_eq!(list.pages(&frames).count(), 14);
        assert_eq!(zones[ZoneId(0)].counters.get(Counter::InactiveFile), 14);
        assert_eq!(frames[Pfn(0)].count(), 1);
    }

    #[test]
    fn a_page_with_no_other_user_is_freed_by_the_drain() {
        let (mut frames, mut zones, mut lru) = machine();
        let pfn = page(&mut frames, &mut zones);
        putback(&mut frames, &mut zones, &mut lru, CpuId(0), pfn);
        assert_eq!(frames[pfn].count(), 1);
        lru.drain_all(&mut frames, &mut zones);
        assert!(zones[ZoneId(0)].free.is_free(0));
        assert_eq!(zones[ZoneId(0)].counters.get(Counter::InactiveFile), 0);
    }

    #[test]
    fn an_isolated_page_is_on_no_list_and_cannot_be_isolated_twice() {
        let (mut frames, mut zones, mut lru) = machine();
        let pfn = page(&mut frames, &mut zones);
        lru.add(&mut frames, &mut zones, CpuId(0), pfn, ListKind::ActiveAnon);
        assert_eq!(isolate(&mut frames, &mut zones, &mut lru, pfn), Err(Errno::Busy));
        frames[pfn].set(PageFlags::SWAPBACKED);
        lru.drain_all(&mut frames, &mut zones);
        assert_eq!(isolate(&mut frames, &mut zones, &mut lru, pfn), Ok(()));
        assert_eq!(isolate(&mut frames, &mut zones, &mut lru, pfn), Err(Errno::Busy));
        assert!(frames[pfn].has(PageFlags::ACTIVE), "PG_active stays (data-model 4.3)");
        assert_eq!(frames[pfn].count(), 2);
    }
}
