//! Anonymous pages that went from one zone to another, counted together.

use crate::base::{NodeId, Pfn};
use crate::state::zone::{Counter, Extent, Zones};

/// A run of pages between the same two zones, which the zones' counters do not know of yet.
#[derive(Clone, Copy, Default)]
pub(super) struct Crossing {
    from: Extent,
    to: Extent,
    node: NodeId,
    pages: i64,
}

impl Crossing {
    /// One page went from frame `old` to frame `new`; the node where that is.
    #[inline(always)]
    pub(super) fn note(&mut self, zones: &mut Zones, old: Pfn, new: Pfn) -> NodeId {
        if !self.from.has(old) || !self.to.has(new) {
            self.turn(zones, old, new);
        }
        self.pages += 1;
        self.node
    }

    /// Between other zones from now on.
    fn turn(&mut self, zones: &mut Zones, old: Pfn, new: Pfn) {
        self.settle(zones);
        (self.from, self.to) = (zones.extent_of(old), zones.extent_of(new));
        self.node = zones[self.to.zone].node;
    }

    /// Counts what was not counted yet.
    pub(super) fn settle(&mut self, zones: &mut Zones) {
        let from = &mut zones[self.from.zone].counters;
        from.add(Counter::AnonPages, -self.pages);
        from.add(Counter::IsolatedAnon, -self.pages);
        zones[self.to.zone].counters.add(Counter::AnonPages, self.pages);
        self.pages = 0;
    }
}
