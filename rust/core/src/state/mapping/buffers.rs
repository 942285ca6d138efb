//! Buffer heads: what is known of the blocks behind one page (data-model 5.3).

use smallvec::SmallVec;

use serde::{Deserialize, Serialize};

use crate::base::{Arena, MappingId, PAGE_SIZE, Pfn, RingId};
use crate::step::LockId;

bitflags::bitflags! {
    /// What is known of one block.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct BufferState: u16 {
        /// The bytes are valid.
        const UPTODATE = 1;
        /// Must be written.
        const DIRTY = 1 << 1;
        /// Somebody has it.
        const LOCK = 1 << 2;
        /// It was submitted once.
        const REQ = 1 << 3;
        /// It has a place on disk.
        const MAPPED = 1 << 4;
        /// The place is new.
        const NEW = 1 << 5;
        /// Being read.
        const ASYNC_READ = 1 << 6;
        /// Being written.
        const ASYNC_WRITE = 1 << 7;
        /// The place is not chosen yet.
        const DELAY = 1 << 8;
        /// A write failed.
        const WRITE_EIO = 1 << 9;
        /// The place has never been written.
        const UNWRITTEN = 1 << 10;
    }
}

/// One block of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Buffer {
    /// What is known of it (`b_state`).
    pub state: BufferState,
    /// Who uses it (`b_count`).
    pub count: u32,
    /// How many of those by hand, from outside the model.
    pub by_hand: u32,
    /// Its place on disk.
    pub block: u64,
}

impl Buffer {
    /// Whether it cannot be freed.
    pub fn is_busy(&self) -> bool {
        self.count > 0 || self.state.intersects(BufferState::DIRTY | BufferState::LOCK)
    }
}

/// All blocks of one page, in increasing offset.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Ring {
    /// The page (`b_page`).
    pub page: Pfn,
    /// The file that it was made for, and the page's offset there; truncation does not change it.
    pub place: (MappingId, u64),
    /// Bytes a buffer.
    pub bytes: u32,
    /// The buffers.
    pub buffers: SmallVec<[Buffer; 4]>,
}

impl Ring {
    /// Buffers of `bytes` bytes in `state` for the page at `place`: a file, and the offset there.
    pub fn new(page: Pfn, bytes: u32, place: (MappingId, u64), state: BufferState) -> Ring {
        let index = place.1;
        let each = PAGE_SIZE / u64::from(bytes);
        let buffers =
            (0..each).map(|at| Buffer { state, count: 0, by_hand: 0, block: index * each + at });
        Ring { page, place, bytes, buffers: buffers.collect() }
    }
}

/// The name of the lock of one buffer.
pub const fn buffer_lock(ring: RingId, at: usize) -> LockId {
    LockId::Buffer(ring.0 * 8 + at as u32)
}

/// All rings.
pub type Rings = Arena<RingId, Ring>;
