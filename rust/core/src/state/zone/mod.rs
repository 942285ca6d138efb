//! Nodes and zones: which frames are free, in which order zones are tried, and how many
//! pages there are of each sort.
//!
//! Start with [`Zones::allocate`]. Blocks of frames leave the allocator in `isolation`, for
//! memory offlining, and single ones when they are poisoned. Above us: [`crate::state::policy`] turns a memory policy
//! into a zone list. Data-model 1 and 3, supporting-paths 14. Left out: orders above 0,
//! per-CPU free lists, reclaim inside an allocation (`docs/rooms/zone.md`).

mod blocks;
mod counters;
mod extent;
mod free;
mod isolation;
mod supply;
mod zonelist;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::ops::Range;

pub use blocks::{MigrateType, Pageblocks};
pub use counters::{Counter, Counters};
pub use extent::Extent;
pub use free::FreeFrames;
pub use isolation::Span;
pub use supply::Supply;

use serde::{Deserialize, Serialize};

use super::frame::{Frame, FrameTable, PageFlags};
use crate::base::{CpuId, MachineSpec, NodeId, NodeMask, Pfn, Watermarks, ZoneId, ZoneKind};

/// A run of frames of one node and one type.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Zone {
    /// Its node.
    pub node: NodeId,
    /// Its type.
    pub kind: ZoneKind,
    /// Its first frame.
    pub first: Pfn,
    /// Its free frames.
    pub free: FreeFrames,
    /// Its pageblocks.
    pub blocks: Pageblocks,
    /// Whether any frame was ever poisoned.
    pub has_poison: bool,
    /// Poisoned frames that were released, or picked: nobody gets one again (data-model 2.2).
    pub withheld: BTreeSet<Pfn>,
    /// When there are too few of them.
    pub marks: Watermarks,
    /// Frames kept from requests that prefer a higher type, by that type.
    pub lowmem_reserve: [u64; 4],
    /// How many pages there are of each sort.
    pub counters: Counters,
}

/// What one frame is wanted for.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Request {
    /// Whose zone list.
    pub node: NodeId,
    /// The full this-node combination: no other node, one attempt, no reclaim.
    pub is_this_node_only: bool,
    /// Nodes that a BIND policy permits; all, otherwise.
    pub policy: NodeMask,
    /// Nodes that the caller's cpuset permits (not asked with this-node).
    pub mems_allowed: NodeMask,
}

/// All zones, the zone lists of all nodes, and which CPU is where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Zones {
    zones: Vec<Zone>,
    /// First zone that a block of frames can belong to; blocks are `1 << block_shift` frames.
    by_block: Vec<u8>,
    block_shift: u32,
    nodes: Vec<NodeId>,
    cpu_nodes: Vec<NodeId>,
    fallback: Vec<Vec<ZoneId>>,
    this_node: Vec<Vec<ZoneId>>,
}

/// The lists of zones and the frame-to-zone table were made from the description, like the zones, and
/// never change: machines that can be compared have the same.
impl Hash for Zones {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Zones { zones, by_block: _, block_shift, nodes, cpu_nodes, fallback: _, this_node: _ } =
            self;
        (zones, block_shift, nodes, cpu_nodes).hash(state);
    }
}

/// No more entries than this in the frame-to-zone table.
const BLOCKS_MAX: usize = 4096;

impl Zones {
    /// Zones as the description says, all free. The description has been checked.
    pub fn new(spec: &MachineSpec) -> Zones {
        let mut first = 0;
        let mut zones = Vec::with_capacity(spec.zones.len());
        for zone in &spec.zones {
            zones.push(Zone {
                node: zone.node,
                kind: zone.kind,
                first: Pfn::from(first),
                free: FreeFrames::new(zone.frames as usize),
                blocks: Pageblocks::new(spec.pageblock_frames),
                has_poison: false,
                withheld: BTreeSet::new(),
                marks: zone.marks,
                lowmem_reserve: [0; 4],
                counters: Counters::default(),
            });
            first += zone.frames as usize;
        }
        let mut block_shift = 0;
        while first >> block_shift >= BLOCKS_MAX {
            block_shift += 1;
        }
        let zone_of = |pfn: usize| zones.iter().take_while(|z| z.end() <= pfn).count() as u8;
        let by_block =
            (0..=(first - 1) >> block_shift).map(|b| zone_of(b << block_shift)).collect();
        let (fallback, this_node) = zonelist::build(spec, &zones);
        Zones {
            zones,
            by_block,
            block_shift,
            nodes: spec.nodes.clone(),
            cpu_nodes: spec.cpu_nodes.clone(),
            fallback,
            this_node,
        }
    }

    /// The zone of a frame.
    #[inline]
    pub fn zone_of(&self, pfn: Pfn) -> ZoneId {
        let mut zone = usize::from(self.by_block[pfn.index() >> self.block_shift]);
        while pfn.index() >= self.zones[zone].end() {
            zone += 1;
        }
        ZoneId(zone as u8)
    }

    /// The same, looking into the zone of another frame first: neighbours mostly share one.
    #[inline]
    pub fn zone_near(&self, near: ZoneId, pfn: Pfn) -> ZoneId {
        if self[near].contains(pfn) { near } else { self.zone_of(pfn) }
    }

    /// The node of a frame; for the zero page the lowest node with memory.
    #[inline]
    pub fn node_of(&self, pfn: Pfn) -> NodeId {
        match self.zones.last() {
            Some(last) if pfn.index() >= last.end() => self.zones[0].node,
            _ => self[self.zone_of(pfn)].node,
        }
    }

    /// The counters of a frame's zone.
    #[inline]
    pub fn counters_of(&mut self, pfn: Pfn) -> &mut Counters {
        let zone = self.zone_of(pfn);
        &mut self[zone].counters
    }

    /// All zones in frame order.
    pub fn iter(&self) -> impl Iterator<Item = (ZoneId, &Zone)> {
        self.zones.iter().enumerate().map(|(id, zone)| (ZoneId::from(id), zone))
    }

    /// Ids of all nodes, ascending.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// How many CPUs there are.
    pub fn cpus(&self) -> usize {
        self.cpu_nodes.len()
    }

    /// The node of a CPU.
    pub fn node_of_cpu(&self, cpu: CpuId) -> NodeId {
        self.cpu_nodes[cpu.index()]
    }

    /// The zones that a request starting at `node` tries, in order.
    pub fn fallback_list(&self, node: NodeId) -> &[ZoneId] {
        &self.fallback[node.index()]
    }

    /// Takes the lowest free frame of the first zone that qualifies, with one reference.
    ///
    /// `None` when no zone does: first by the LOW watermark and, unless only this node was
    /// wanted, then by MIN (supporting-paths 14). A zone that qualifies by the number of its free
    /// frames but has none within reach leaves the request to the next. The caller owns the reference.
    #[inline(always)]
    pub fn allocate(&mut self, frames: &mut FrameTable, request: Request) -> Option<Pfn> {
        let &first = self.zonelist(&request).first()?;
        let zone = &mut self[first];
        let preferred = zone.kind as usize;
        let is_fit = zone.qualifies(&request, zone.marks.low, preferred);
        let page = if is_fit { zone.take(frames) } else { None };
        page.or_else(|| self.allocate_hard(frames, request, preferred))
    }

    /// The first zone does not qualify by LOW, or had nothing to give: all that do, then those that do
    /// by MIN.
    #[cold]
    fn allocate_hard(
        &mut self,
        frames: &mut FrameTable,
        request: Request,
        preferred: usize,
    ) -> Option<Pfn> {
        for is_retry in [false, true] {
            if is_retry && request.is_this_node_only {
                break;
            }
            for at in 0..self.zonelist(&request).len() {
                let id = self.zonelist(&request)[at];
                let zone = &mut self[id];
                let mark = if is_retry { zone.marks.min } else { zone.marks.low };
                let is_fit = zone.qualifies(&request, mark, preferred);
                if let Some(page) = is_fit.then(|| zone.take(frames)).flatten() {
                    return Some(page);
                }
            }
        }
        None
    }

    /// The zones that a request tries, in order.
    #[inline]
    fn zonelist(&self, request: &Request) -> &[ZoneId] {
        let lists = if request.is_this_node_only { &self.this_node } else { &self.fallback };
        &lists[request.node.index()]
    }

    /// Gives a page that has lost its last reference back to its zone.
    ///
    /// PG_mlocked is cleared and uncounted on the way; a poisoned frame is withheld (data-model
    /// 2.2).
    #[inline]
    pub fn release(&mut self, frames: &mut FrameTable, pfn: Pfn) {
        let zone = self.zone_of(pfn);
        self[zone].release(frames, pfn);
    }

    /// The spans of frames that were ever taken: all others are free and untouched.
    pub fn touched_spans(&self) -> impl Iterator<Item = Range<usize>> {
        self.zones.iter().map(|zone| zone.first.index()..zone.first.index() + zone.free.touched())
    }
}

impl Zone {
    /// [`Zones::release`] of one of its own pages.
    #[inline]
    pub fn release(&mut self, frames: &mut FrameTable, pfn: Pfn) {
        let frame = &mut frames[pfn];
        if frame.has(PageFlags::HWPOISON | PageFlags::MLOCKED) {
            if frame.has(PageFlags::HWPOISON) {
                self.withhold(frames, pfn);
                return;
            }
            frame.clear(PageFlags::MLOCKED);
            self.counters.add(Counter::Mlock, -1);
        }
        frame.close(pfn);
        let at = pfn.index() - self.first.index();
        if self.blocks.is_isolated(pfn) {
            self.free.give_back_withdrawn(at);
        } else {
            self.free.give_back(at);
        }
    }

    /// The same for page `pfn`, which `frame` is and whose last reference the caller has, at once, if
    /// nothing about it is unusual; tells whether it did. If not, nothing has changed.
    #[inline]
    pub fn release_last(&mut self, frame: &mut Frame, pfn: Pfn) -> bool {
        let is_done = !self.blocks.has_isolated() && frame.close_last();
        if is_done {
            self.free.give_back(pfn.index() - self.first.index());
        }
        is_done
    }

    /// Whether the frame is one of its own.
    #[inline]
    pub fn contains(&self, pfn: Pfn) -> bool {
        pfn.index().wrapping_sub(self.first.index()) < self.free.len()
    }

    /// Whether a request may be served from here, as long as more than `mark` frames are free.
    #[inline]
    fn qualifies(&self, request: &Request, mark: u64, preferred: usize) -> bool {
        request.policy.contains(self.node)
            && (request.is_this_node_only || request.mems_allowed.contains(self.node))
            && self.free.count() > mark + self.lowmem_reserve[preferred]
    }

    /// Takes the lowest free frame within reach; one that turns out to be poisoned is withheld, and
    /// another taken.
    #[inline(always)]
    fn take(&mut self, frames: &mut FrameTable) -> Option<Pfn> {
        let page = self.take_closed(frames)?;
        frames.open(page);
        Some(page)
    }

    /// The same; its descriptor is still that of a free frame.
    #[inline(always)]
    fn take_closed(&mut self, frames: &mut FrameTable) -> Option<Pfn> {
        if self.has_poison {
            self.withhold_lowest(frames);
        }
        Some(Pfn::from(self.first.index() + self.free.take_lowest()?))
    }

    /// One past the last frame.
    #[inline]
    pub fn end(&self) -> usize {
        self.first.index() + self.free.len()
    }
}

impl std::ops::Index<ZoneId> for Zones {
    type Output = Zone;

    #[inline]
    fn index(&self, id: ZoneId) -> &Zone {
        &self.zones[id.index()]
    }
}

impl std::ops::IndexMut<ZoneId> for Zones {
    #[inline]
    fn index_mut(&mut self, id: ZoneId) -> &mut Zone {
        &mut self.zones[id.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(node: u8) -> Request {
        Request {
            node: NodeId(node),
            is_this_node_only: false,
            policy: NodeMask(u64::MAX),
            mems_allowed: NodeMask(u64::MAX),
        }
    }

    #[test]
    fn frames_come_lowest_first_and_from_the_next_node_when_one_is_empty() {
        let mut zones = Zones::new(&MachineSpec::simple(&[2, 2], 1, false));
        let mut frames = FrameTable::new(4).unwrap();
        let mut take = |request| zones.allocate(&mut frames, request).map(|pfn| pfn.0);
        assert_eq!(take(request(1)), Some(2));
        assert_eq!(take(Request { is_this_node_only: true, ..request(1) }), Some(3));
        assert_eq!(take(Request { is_this_node_only: true, ..request(1) }), None);
        assert_eq!(take(request(1)), Some(0));
        assert_eq!(take(Request { mems_allowed: NodeMask(2), ..request(0) }), None);
        assert_eq!(take(request(1)), Some(1));
        assert_eq!(take(request(0)), None);
    }

    #[test]
    fn a_frame_is_found_in_its_zone_whatever_the_sizes() {
        for sizes in [vec![3, 0, 5], vec![100_000, 7], vec![1, 1_000_000, 1]] {
            let spec = MachineSpec::simple(&sizes, 1, false);
            let zones = Zones::new(&spec);
            let mut pfn = 0;
            for zone in &spec.zones {
                for at in [pfn, pfn + zone.frames - 1] {
                    assert_eq!(zones.node_of(Pfn(at as u32)), zone.node);
                }
                pfn += zone.frames;
            }
        }
    }
}
