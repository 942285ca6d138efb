//! Which frames a zone has, for whoever asks of many frames whether they are still in the same one.

use super::Zones;
use crate::base::{Pfn, ZoneId};

/// A zone and its frames. The default has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// The zone.
    pub zone: ZoneId,
    first: u32,
    frames: u32,
}

impl Extent {
    /// Whether the frame is one of the zone's.
    #[inline]
    pub fn has(&self, page: Pfn) -> bool {
        page.0.wrapping_sub(self.first) < self.frames
    }
}

impl Zones {
    /// The zone of a frame, with all its frames.
    pub fn extent_of(&self, page: Pfn) -> Extent {
        let id = self.zone_of(page);
        let zone = &self[id];
        Extent { zone: id, first: zone.first.0, frames: zone.free.len() as u32 }
    }
}
