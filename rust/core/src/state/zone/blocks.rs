//! Pageblocks: the pieces in which memory is taken offline (data-model 1.2, syscalls 7).
//!
//! Every block starts as MOVABLE. Blocks are counted from frame 0 of the machine, so a zone may start
//! or end inside one; such a block is in two zones and can never be marked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::Pfn;

/// What a pageblock is good for. The kernel's other types do not occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MigrateType {
    /// Ordinary: its frames can be allocated, and their pages moved.
    Movable = 2,
    /// Its free frames are out of reach, because it is about to go offline.
    Isolate = 4,
    /// Not there any more. (The kernel calls such a block MOVABLE and has no frame in it.)
    Offline = 5,
}

/// The pageblocks of one zone that are not MOVABLE.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Pageblocks {
    shift: u32,
    isolated: BTreeSet<u32>,
    offline: BTreeSet<u32>,
}

impl Pageblocks {
    /// All MOVABLE, `frames` frames each, which is a power of two.
    pub(super) fn new(frames: u32) -> Pageblocks {
        Pageblocks { shift: frames.trailing_zeros(), ..Pageblocks::default() }
    }

    /// How many frames a block has.
    pub const fn frames(&self) -> usize {
        1 << self.shift
    }

    /// Whether the block of a frame is ISOLATE.
    #[inline]
    pub fn is_isolated(&self, pfn: Pfn) -> bool {
        !self.isolated.is_empty() && self.isolated.contains(&(pfn.0 >> self.shift))
    }

    /// Whether any block is ISOLATE.
    pub fn has_isolated(&self) -> bool {
        !self.isolated.is_empty()
    }

    /// Whether the block of a frame is offline.
    pub fn is_offline(&self, pfn: Pfn) -> bool {
        self.offline.contains(&(pfn.0 >> self.shift))
    }

    /// How many frames have gone offline.
    pub fn offline_frames(&self) -> usize {
        self.offline.len() << self.shift
    }

    /// The type of the block of a frame.
    pub fn kind(&self, pfn: Pfn) -> MigrateType {
        match (self.is_isolated(pfn), self.is_offline(pfn)) {
            (_, true) => MigrateType::Offline,
            (true, _) => MigrateType::Isolate,
            _ => MigrateType::Movable,
        }
    }

    /// Gives the block of a frame another type.
    pub fn set_kind(&mut self, pfn: Pfn, kind: MigrateType) {
        let block = pfn.0 >> self.shift;
        self.isolated.remove(&block);
        match kind {
            MigrateType::Movable => {}
            MigrateType::Isolate => {
                self.isolated.insert(block);
            }
            MigrateType::Offline => {
                self.offline.insert(block);
            }
        }
    }
}
