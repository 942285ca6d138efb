//! Copies of many pages from far apart, past the host's caches.
//!
//! A plain copy reads the place that it writes to, too, and throws out of the caches what the next pages
//! need: entries and descriptors. Where a call moves more pages than any cache holds, nobody reads the copies
//! soon, and stores that go past the caches take two thirds of the time. They change when bytes arrive in
//! the host's memory, never which.
//!
//! Neighbours: [`super::machine`] gives this to every machine; `pagemig_core`, which has no unsafe code,
//! decides which copies are such.

use std::arch::x86_64::{
    __m128i, _mm_loadu_si128, _mm_setzero_si128, _mm_sfence, _mm_stream_si128,
};

use pagemig_core::base::{PAGE_SIZE, Pfn};

const PAGE: usize = PAGE_SIZE as usize;
/// Pages that are copied together, a piece of each in turn: so the host reads from many places at once.
const TOGETHER: usize = 12;
/// A piece: two lines of the host's caches, as eight of its words.
const WORDS: usize = 8;
const WORD: usize = size_of::<__m128i>();
const PIECE: usize = WORDS * WORD;

/// As [`pagemig_core::state::frame::PageCopier`] has it: whoever calls this answers for pages that are not
/// both copied and copied to, nor copied to twice, because nothing may read what was stored before the fence.
pub(crate) fn copy(bytes: &mut [u8], pairs: &[(Pfn, Pfn)]) {
    let _fence = Fence;
    for group in pairs.chunks(TOGETHER) {
        for at in (0..PAGE).step_by(PIECE) {
            for &(from, to) in group {
                let (from, to) = (from.index() * PAGE + at, to.index() * PAGE + at);
                let piece = load(&bytes[from..from + PIECE]);
                store(&mut bytes[to..to + PIECE], piece);
            }
        }
    }
}

/// Orders all stores before it, also where a bad page number ends the copying early.
struct Fence;

impl Drop for Fence {
    fn drop(&mut self) {
        // SAFETY: every x86-64 has it. Whoever hears that the copies are made sees them, on any thread.
        unsafe { _mm_sfence() };
    }
}

#[inline]
fn load(from: &[u8]) -> [__m128i; WORDS] {
    // SAFETY: every x86-64 has these instructions; each load is inside `from`, which is long enough, and
    // needs no alignment.
    unsafe {
        assert!(from.len() == PIECE);
        let mut piece = [_mm_setzero_si128(); WORDS];
        for (at, word) in piece.iter_mut().enumerate() {
            *word = _mm_loadu_si128(from.as_ptr().add(at * WORD).cast());
        }
        piece
    }
}

#[inline]
fn store(to: &mut [u8], piece: [__m128i; WORDS]) {
    assert!(to.len() == PIECE && to.as_ptr().align_offset(WORD) == 0, "pages are aligned");
    for (at, word) in piece.into_iter().enumerate() {
        // SAFETY: every x86-64 has this instruction; the store is inside `to`, and aligned: both were
        // asked for above, and the places are multiples of a word from there. The fence of `copy` comes before
        // anybody reads or writes there again: no page of its pairs is a target and anything else.
        unsafe { _mm_stream_si128(to.as_mut_ptr().add(at * WORD).cast(), word) };
    }
}
