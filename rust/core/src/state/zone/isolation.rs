//! Frames that leave the allocator: out of reach for a while, offline for good, or poisoned.
//!
//! syscalls 7, steps 2, 7 and 8; syscalls 8 for poison; data-model 2.2.

use std::ops::Range;

use super::{MigrateType, Zones};
use crate::base::{NodeId, NodeMask, Pfn, ZoneId, ZoneKind};
use crate::state::frame::{FrameTable, PageFlags};

/// Frames from a first one up to, and without, a last one.
pub type Span = Range<Pfn>;

impl Zones {
    /// The zone of a span that is whole pageblocks of one zone; none if it is not (step 1).
    pub fn zone_of_blocks(&self, span: &Span) -> Option<ZoneId> {
        let (first, end) = (span.start.index(), span.end.index());
        let (id, zone) =
            self.iter().find(|(_, zone)| zone.first.index() <= first && end <= zone.end())?;
        let frames = zone.blocks.frames();
        (first % frames == 0 && end % frames == 0).then_some(id)
    }

    /// Marks every pageblock of a span of one zone ISOLATE: their free frames are out of reach, and
    /// counted still. All of them or, if one is not MOVABLE, none (step 2); tells which.
    pub fn isolate(&mut self, zone: ZoneId, span: &Span) -> bool {
        let blocks = self.block_starts(zone, span);
        let zone = &mut self[zone];
        if blocks.iter().any(|&block| zone.blocks.kind(block) != MigrateType::Movable) {
            return false;
        }
        blocks.iter().for_each(|&block| zone.blocks.set_kind(block, MigrateType::Isolate));
        zone.free.withdraw(zone.places(span));
        true
    }

    /// The pageblocks of a span are MOVABLE again and their free frames within reach.
    pub fn undo_isolation(&mut self, zone: ZoneId, span: &Span) {
        for block in self.block_starts(zone, span) {
            self[zone].blocks.set_kind(block, MigrateType::Movable);
        }
        let zone = &mut self[zone];
        zone.free.return_withdrawn(zone.places(span));
    }

    /// Whether every frame of a span is free, in an ISOLATE pageblock (step 7).
    pub fn is_vacated(&self, zone: ZoneId, span: &Span) -> bool {
        let zone = &self[zone];
        let is_ready = |at: usize| zone.blocks.is_isolated(zone.frame(at)) && zone.free.is_free(at);
        zone.places(span).all(is_ready)
    }

    /// Takes the frames of a vacated span away for good: PG_reserved, in no count (step 8).
    pub fn take_offline(&mut self, frames: &mut FrameTable, zone: ZoneId, span: &Span) {
        for block in self.block_starts(zone, span) {
            self[zone].blocks.set_kind(block, MigrateType::Offline);
        }
        let zone = &mut self[zone];
        zone.free.remove_withdrawn(zone.places(span));
        for at in zone.places(span) {
            frames[zone.frame(at)].set(PageFlags::RESERVED);
        }
    }

    /// Nodes that have present pages (N_HIGH_MEMORY).
    pub fn nodes_with_memory(&self) -> NodeMask {
        self.zones.iter().filter(|zone| zone.present() > 0).map(|zone| zone.node).collect()
    }

    /// Nodes that had present pages once and have none any more.
    pub fn nodes_without_memory_left(&self) -> NodeMask {
        let with_memory = self.nodes_with_memory();
        self.zones
            .iter()
            .map(|zone| zone.node)
            .filter(|&node| !with_memory.contains(node))
            .collect()
    }

    /// Nodes with present pages in a zone other than MOVABLE: those that BIND is about (`policy_zone`).
    pub fn nodes_to_bind_to(&self) -> NodeMask {
        let counts = |zone: &&super::Zone| zone.present() > 0 && zone.kind != ZoneKind::Movable;
        self.zones.iter().filter(counts).map(|zone| zone.node).collect()
    }

    /// Frames of a node that are not offline (`present_pages`).
    pub fn present(&self, node: NodeId) -> u64 {
        self.zones.iter().filter(|zone| zone.node == node).map(super::Zone::present).sum()
    }

    /// Whether a frame is free, within reach or not. The zero page is not.
    pub fn is_free(&self, pfn: Pfn) -> bool {
        let is_in_zone = self.zones.last().is_some_and(|last| pfn.index() < last.end());
        is_in_zone && {
            let zone = &self[self.zone_of(pfn)];
            zone.free.is_free(pfn.index() - zone.first.index())
        }
    }

    /// Marks a frame as bad; a free one stays where it is until somebody picks it (syscalls 8).
    pub fn poison(&mut self, frames: &mut FrameTable, pfn: Pfn) {
        frames[pfn].set(PageFlags::HWPOISON);
        let id = self.zone_of(pfn);
        let zone = &mut self[id];
        zone.has_poison = true;
        zone.free.touch(pfn.index() - zone.first.index());
    }

    /// The first frame of every pageblock of a span.
    fn block_starts(&self, zone: ZoneId, span: &Span) -> Vec<Pfn> {
        let step = self[zone].blocks.frames();
        (span.start.index()..span.end.index()).step_by(step).map(Pfn::from).collect()
    }
}

impl super::Zone {
    /// Frames that are not offline (`present_pages`).
    pub fn present(&self) -> u64 {
        (self.free.len() - self.blocks.offline_frames()) as u64
    }

    /// Whether a frame of this zone is neither free, nor withheld, nor offline.
    pub fn is_in_use(&self, pfn: Pfn) -> bool {
        !self.free.is_free(pfn.index() - self.first.index())
            && !self.withheld.contains(&pfn)
            && !self.blocks.is_offline(pfn)
    }

    /// Picks and withholds every poisoned frame that is lower than the lowest sound one.
    #[cold]
    pub(super) fn withhold_lowest(&mut self, frames: &mut FrameTable) {
        let lowest = |zone: &Self| zone.free.lowest().map(|at| zone.frame(at));
        while let Some(page) = lowest(self).filter(|&page| frames[page].has(PageFlags::HWPOISON)) {
            self.free.take_lowest();
            self.withhold(frames, page);
        }
    }

    /// A poisoned frame was released, or picked: nobody gets it any more (data-model 2.2).
    #[cold]
    pub(super) fn withhold(&mut self, frames: &mut FrameTable, pfn: Pfn) {
        frames.withhold(pfn);
        self.withheld.insert(pfn);
    }

    /// Where the frames of a span are in the zone.
    fn places(&self, span: &Span) -> Range<usize> {
        span.start.index() - self.first.index()..span.end.index() - self.first.index()
    }

    /// The frame at a place of the zone.
    fn frame(&self, at: usize) -> Pfn {
        Pfn::from(self.first.index() + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::MachineSpec;
    use crate::state::zone::{Counter, Request};

    /// Two zones of 20 and 24 frames, in pageblocks of 8: the third block is in both.
    fn machine() -> (FrameTable, Zones) {
        let mut spec = MachineSpec::simple(&[20, 24], 1, false);
        spec.pageblock_frames = 8;
        (FrameTable::new(44).unwrap(), Zones::new(&spec))
    }

    fn take(frames: &mut FrameTable, zones: &mut Zones, node: u8) -> Option<u32> {
        let (policy, mems_allowed) = (NodeMask(u64::MAX), NodeMask(u64::MAX));
        let request =
            Request { node: NodeId(node), is_this_node_only: false, policy, mems_allowed };
        zones.allocate(frames, request).map(|pfn| pfn.0)
    }

    fn give(frames: &mut FrameTable, zones: &mut Zones, pfn: u32) {
        frames[Pfn(pfn)].drop_reference();
        zones.release(frames, Pfn(pfn));
    }

    const ZONE: ZoneId = ZoneId(0);

    #[test]
    fn only_whole_blocks_of_one_zone_can_go() {
        let (_, zones) = machine();
        let zone = |first, end| zones.zone_of_blocks(&(Pfn(first)..Pfn(end)));
        assert_eq!(zone(0, 16), Some(ZoneId(0)));
        assert_eq!(zone(24, 40), Some(ZoneId(1)));
        assert_eq!(zone(16, 24), None, "the third block is in two zones");
        assert_eq!(zone(0, 12), None, "half a block");
        assert_eq!(zone(40, 48), None, "beyond the machine");
    }

    #[test]
    fn i07_isolated_frames_are_counted_but_nobody_gets_one() {
        let (mut frames, mut zones) = machine();
        assert_eq!(take(&mut frames, &mut zones, 0), Some(0));
        assert_eq!(take(&mut frames, &mut zones, 0), Some(1));
        assert!(zones.isolate(ZONE, &(Pfn(0)..Pfn(8))));
        assert!(!zones.isolate(ZONE, &(Pfn(0)..Pfn(16))), "a block is marked once");
        assert_eq!(zones[ZONE].blocks.kind(Pfn(8)), MigrateType::Movable, "all or none");
        assert_eq!(zones[ZONE].free.count(), 18, "NR_FREE_PAGES counts them (I-02)");
        assert_eq!(take(&mut frames, &mut zones, 0), Some(8));
        give(&mut frames, &mut zones, 1);
        assert_eq!(take(&mut frames, &mut zones, 0), Some(9), "freed into the isolated ones");
        assert!(!zones.is_vacated(ZONE, &(Pfn(0)..Pfn(8))), "frame 0 is in use");
        zones.undo_isolation(ZONE, &(Pfn(0)..Pfn(8)));
        assert_eq!(take(&mut frames, &mut zones, 0), Some(1));
        assert_eq!(zones[ZONE].free.count(), 16);
    }

    #[test]
    fn a_zone_with_none_but_isolated_frames_leaves_the_request_to_the_next() {
        let (mut frames, mut zones) = machine();
        (0..4).for_each(|pfn| assert_eq!(take(&mut frames, &mut zones, 0), Some(pfn)));
        assert!(zones.isolate(ZONE, &(Pfn(0)..Pfn(16))));
        for pfn in [16, 17, 18, 19, 20] {
            assert_eq!(take(&mut frames, &mut zones, 0), Some(pfn));
        }
        assert_eq!(zones[ZONE].free.count(), 12);
        assert_eq!(zones[ZONE].free.in_reach(), 0);
    }

    #[test]
    fn offline_frames_are_reserved_and_not_present() {
        let (mut frames, mut zones) = machine();
        assert_eq!(zones.nodes_with_memory(), NodeMask(3));
        let (low, high) = (Pfn(24)..Pfn(32), Pfn(32)..Pfn(40));
        for span in [low, high] {
            assert!(zones.isolate(ZoneId(1), &span) && zones.is_vacated(ZoneId(1), &span));
            zones.take_offline(&mut frames, ZoneId(1), &span);
        }
        assert_eq!((zones.present(NodeId(1)), zones[ZoneId(1)].free.count()), (8, 8));
        assert!(frames[Pfn(31)].has(PageFlags::RESERVED) && !zones.is_free(Pfn(31)));
        assert_eq!(zones[ZoneId(1)].blocks.kind(Pfn(31)), MigrateType::Offline);
        assert!(!zones.isolate(ZoneId(1), &(Pfn(24)..Pfn(32))), "it is gone");
        assert!(zones.touched_spans().any(|span| span.contains(&39)), "a copy must have them");
    }

    #[test]
    fn a_zone_that_is_all_offline_takes_its_node_out_of_those_with_memory() {
        let mut spec = MachineSpec::simple(&[16, 16], 1, false);
        spec.pageblock_frames = 8;
        let (mut frames, mut zones) = (FrameTable::new(32).unwrap(), Zones::new(&spec));
        let span = Pfn(0)..Pfn(16);
        assert!(zones.isolate(ZONE, &span));
        zones.take_offline(&mut frames, ZONE, &span);
        assert_eq!(zones.nodes_with_memory(), NodeMask(2));
        assert_eq!(take(&mut frames, &mut zones, 0), Some(16));
    }

    #[test]
    fn a_poisoned_frame_is_withheld_when_it_is_released_or_picked() {
        let (mut frames, mut zones) = machine();
        assert_eq!(take(&mut frames, &mut zones, 0), Some(0));
        frames[Pfn(0)].set(PageFlags::MLOCKED);
        zones.counters_of(Pfn(0)).add(Counter::Mlock, 1);
        zones.poison(&mut frames, Pfn(0));
        zones.poison(&mut frames, Pfn(1));
        assert_eq!(zones[ZONE].free.count(), 19, "a free one stays");
        give(&mut frames, &mut zones, 0);
        assert_eq!(zones[ZONE].free.count(), 19, "a released one does not come back");
        assert_eq!(zones[ZONE].counters.get(Counter::Mlock), 1, "nor its share of NR_MLOCK");
        assert_eq!(take(&mut frames, &mut zones, 0), Some(2), "another is taken instead");
        assert_eq!(zones[ZONE].free.count(), 17);
        assert!(!zones[ZONE].is_in_use(Pfn(0)) && !zones[ZONE].is_in_use(Pfn(1)));
    }
}
