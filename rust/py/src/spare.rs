//! A piece of memory that is kept for when the host gives no more.
//!
//! Large calls are refused before they begin where the host has no room ([`super::host_room`]). What a
//! small call takes is not asked for: that would cost more than the call. But a Rust collection that
//! gets no memory ends the process. So all of them get theirs from [`WithSpare`]: when the host has no
//! more, the spare piece is given back to it, and there is room for a small call again. The next call
//! begins with [`is_kept`], which asks for another piece, and is refused if there is none. Between
//! these two stands one comparison for each allocation and one look at a number for each call.
//!
//! Neighbours: [`super::gate`], where calls begin. Left out: a host that promises memory which it does
//! not have.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes of the piece: twice what a call takes that is too small to be asked about, which is 5 KiB for each
/// of at most 1,024 pages. Nobody writes to it, so it is a range of addresses, and no memory.
const BYTES: usize = 16 << 20;
/// More than this at once is refused: it was asked for by somebody who hears the answer.
const MUCH: usize = BYTES / 2;
/// How the piece is asked for.
const LAYOUT: Layout = match Layout::from_size_align(BYTES, 16) {
    Ok(layout) => layout,
    Err(_) => panic!("a layout of some MiB"),
};

/// The piece, while there is one.
static SPARE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Whether there is a piece, or the host gives one now.
#[inline]
pub(crate) fn is_kept() -> bool {
    !SPARE.load(Ordering::Relaxed).is_null() || keep()
}

#[cold]
fn keep() -> bool {
    // SAFETY: the layout is not empty.
    let piece = unsafe { System.alloc(LAYOUT) };
    if piece.is_null() {
        return false;
    }
    let other = SPARE.swap(piece, Ordering::AcqRel);
    give_back(other);
    true
}

/// Gives a piece back to the host; tells whether there was one.
fn give_back(piece: *mut u8) -> bool {
    if piece.is_null() {
        return false;
    }
    // SAFETY: it came from this allocator with this layout, and whoever took it out of `SPARE` is alone
    // with it.
    unsafe { System.dealloc(piece, LAYOUT) };
    true
}

/// Tries an allocation of `more` bytes again, if there was a piece to give back for it.
#[cold]
fn again(more: usize, attempt: impl FnOnce() -> *mut u8) -> *mut u8 {
    let is_small = more <= MUCH;
    if is_small && give_back(SPARE.swap(null_mut(), Ordering::AcqRel)) {
        attempt()
    } else {
        null_mut()
    }
}

/// The host's allocator, and the spare piece.
pub(crate) struct WithSpare;

// SAFETY: every method is the system's allocator with the arguments that it was given, once or twice; the
// second time only where the first gave nothing and, for `realloc`, left the block as it was.
unsafe impl GlobalAlloc for WithSpare {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let attempt = || unsafe { System.alloc(layout) };
        let block = attempt();
        if block.is_null() { again(layout.size(), attempt) } else { block }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let attempt = || unsafe { System.alloc_zeroed(layout) };
        let block = attempt();
        if block.is_null() { again(layout.size(), attempt) } else { block }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise; a block that could not be moved is still there.
        let attempt = || unsafe { System.realloc(block, layout, size) };
        let moved = attempt();
        let more = size.saturating_sub(layout.size());
        if moved.is_null() { again(more, attempt) } else { moved }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}
