//! One source of frames, asked for many: what [`Zones::allocate`] works out anew for every request is kept.

use super::{Zone, Zones};
use crate::base::{NodeId, Pfn, ZoneId};
use crate::state::frame::FrameTable;

/// The zone that is tried first for frames of exactly one node, and how many must stay free in it.
#[derive(Clone, Copy, Debug)]
pub struct Supply {
    node: NodeId,
    /// Its zone; none if the node has none.
    zone: Option<ZoneId>,
    mark: u64,
}

impl Supply {
    /// Serves no node.
    pub const NONE: Supply = Supply { node: NodeId(u8::MAX), zone: None, mark: 0 };
}

impl Zones {
    /// The lowest free frame of the zone that requests for `node` alone try first. It is taken, but its
    /// descriptor is still blank: the caller writes all of it. None if that zone does not qualify by its LOW
    /// watermark, or has none within reach: then nothing has changed but poisoned frames withheld, and
    /// [`Zones::allocate`] will say what else there is.
    #[inline(always)]
    pub fn take_from(
        &mut self,
        frames: &mut FrameTable,
        supply: &mut Supply,
        node: NodeId,
    ) -> Option<Pfn> {
        if supply.node != node {
            *supply = self.supply_of(node);
        }
        let zone = &mut self[supply.zone?];
        if zone.free.count() > supply.mark { zone.take_closed(frames) } else { None }
    }

    #[cold]
    fn supply_of(&self, node: NodeId) -> Supply {
        let zone = self.this_node[node.index()].first().copied();
        let mark = |zone: &Zone| zone.marks.low + zone.lowmem_reserve[zone.kind as usize];
        Supply { node, zone, mark: zone.map_or(0, |zone| mark(&self[zone])) }
    }
}
