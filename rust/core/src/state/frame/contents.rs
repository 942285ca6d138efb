//! The bytes of the frames, for machines that have them.

use std::hash::Hasher;
use std::ops::Range;

use crate::base::{PAGE_SIZE, Pfn, sparse};

const PAGE: usize = PAGE_SIZE as usize;

/// 4096 bytes a frame, or nothing at all: both on the same code path.
#[derive(Debug, Default)]
pub struct Contents {
    bytes: Vec<u8>,
}

impl Contents {
    /// Bytes for `frames` frames, committed by the host only as they are written; none if it has
    /// no room for them.
    pub fn new(frames: usize, has_bytes: bool) -> Option<Contents> {
        let len = if has_bytes { frames.checked_mul(PAGE)? } else { 0 };
        Some(Contents { bytes: bytemuck::try_zeroed_vec(len).ok()? })
    }

    /// Whether this machine has bytes.
    #[inline]
    pub fn exist(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The memory behind them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes a frame all zeroes.
    #[inline]
    pub fn clear(&mut self, pfn: Pfn) {
        if self.exist() {
            self.page_mut(pfn).fill(0);
        }
    }

    /// Copies one frame's bytes to another (MC-1).
    #[inline]
    pub fn copy(&mut self, from: Pfn, to: Pfn) {
        if self.exist() {
            let from = from.index() * PAGE;
            self.bytes.copy_within(from..from + PAGE, to.index() * PAGE);
        }
    }

    /// The bytes of a frame. Empty on a machine without bytes.
    pub fn page(&self, pfn: Pfn) -> &[u8] {
        self.bytes.get(pfn.index() * PAGE..(pfn.index() + 1) * PAGE).unwrap_or_default()
    }

    /// The bytes of a frame, to be written.
    pub fn page_mut(&mut self, pfn: Pfn) -> &mut [u8] {
        &mut self.bytes[pfn.index() * PAGE..(pfn.index() + 1) * PAGE]
    }

    /// Feeds the bytes of the given spans of frames to `state`.
    pub fn hash_spans<H: Hasher>(&self, spans: impl Iterator<Item = Range<usize>>, state: &mut H) {
        if self.exist() {
            for span in spans {
                sparse::hash(&self.bytes[span.start * PAGE..span.end * PAGE], state);
            }
        }
    }

    /// The pages of the given spans that are not all zeroes, for a snapshot.
    pub fn pages(
        &self,
        spans: impl Iterator<Item = Range<usize>>,
    ) -> impl Iterator<Item = (Pfn, &[u8])> {
        let spans = spans.filter(|_| self.exist()).flatten();
        let pages = spans.map(|at| (Pfn::from(at), self.page(Pfn::from(at))));
        pages.filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0))
    }

    /// A copy that reads only the spans of frames that may have been written. None if the host
    /// has no room for it.
    pub fn clone_spans(&self, spans: impl Iterator<Item = Range<usize>>) -> Option<Contents> {
        let mut copy = Contents { bytes: bytemuck::try_zeroed_vec(self.bytes.len()).ok()? };
        if self.exist() {
            for span in spans {
                let bytes = span.start * PAGE..span.end * PAGE;
                copy.bytes[bytes.clone()].copy_from_slice(&self.bytes[bytes]);
            }
        }
        Some(copy)
    }
}
