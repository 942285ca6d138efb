//! Buffers of a page: attached, locked, released, discarded (data-model 5.3, supporting-paths 10).
//!
//! A buffer's lock is its Lock bit. Who holds it is recorded only for calls and hands: the disk,
//! which locks what it transfers, is known by the transfer.

use serde::{Deserialize, Serialize};

use super::tree::{file_of, page_mapping};
use crate::base::{CallId, PAGE_SIZE, Pfn, RingId};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::mapping::{BufferState, MappingFlags, Release, Ring, buffer_lock};
use crate::step::{Me, Mode};

/// The ring of a page with PG_private.
#[inline]
pub fn ring_of(kernel: &Kernel, page: Pfn) -> Option<RingId> {
    let frame = &kernel.frames[page];
    frame.has(PageFlags::PRIVATE).then_some(RingId(frame.private))
}

/// Attaches buffers in `state` to a page of a filesystem that has them (reference + 1).
///
/// # Panics
/// If the page is in no such file, or has buffers: errors of the model.
pub fn attach(kernel: &mut Kernel, page: Pfn, state: BufferState) -> RingId {
    let file = file_of(kernel, page).expect("buffers are attached to pages of files");
    let bytes = kernel.mappings[file].kind.buffer_bytes;
    assert!(ring_of(kernel, page).is_none(), "page {page} has buffers");
    let index = kernel.frames[page].index();
    let ring = kernel.rings.insert(Ring::new(page, bytes, (file, index), state));
    let frame = &mut kernel.frames[page];
    frame.get();
    frame.set(PageFlags::PRIVATE);
    frame.private = ring.0;
    ring
}

/// Takes the lock of a buffer if it is free; if not, queues to see it free, and says no.
#[inline]
pub fn lock_buffer<M: Mode>(kernel: &mut Kernel, me: Me, ring: RingId, at: usize) -> bool {
    let lock = buffer_lock(ring, at);
    if !take_lock(kernel, ring, at) {
        if M::STEPS {
            kernel.locks.watch(lock, me.call);
        }
        return false;
    }
    if M::STEPS {
        kernel.locks.note_held(lock, me.call, Want::Exclusive);
    }
    true
}

/// Sets the Lock bit of a buffer, for the disk; tells whether it was clear.
fn take_lock(kernel: &mut Kernel, ring: RingId, at: usize) -> bool {
    let state = &mut kernel.rings[ring].buffers[at].state;
    let is_free = !state.contains(BufferState::LOCK);
    state.insert(BufferState::LOCK);
    is_free
}

/// Gives the lock of a buffer back and wakes who waits for it.
///
/// # Panics
/// If it is not locked: an error of the model.
#[inline]
pub fn unlock_buffer(kernel: &mut Kernel, ring: RingId, at: usize) {
    let state = &mut kernel.rings[ring].buffers[at].state;
    assert!(state.contains(BufferState::LOCK), "buffer {at} of ring {ring} unlocked twice");
    state.remove(BufferState::LOCK);
    let lock = buffer_lock(ring, at);
    match kernel.locks.holders(lock).first() {
        Some(&holder) => kernel.locks.release(lock, holder),
        None => kernel.locks.wake_watchers(lock),
    }
}

/// Somebody outside the model, a journal perhaps, uses a buffer and may lock it; false if it is
/// locked already.
pub fn hold_by_hand(kernel: &mut Kernel, ring: RingId, at: usize, is_locking: bool) -> bool {
    if is_locking {
        if !take_lock(kernel, ring, at) {
            return false;
        }
        kernel.locks.note_held(buffer_lock(ring, at), CallId::HAND, Want::Exclusive);
    }
    let buffer = &mut kernel.rings[ring].buffers[at];
    buffer.count += 1;
    buffer.by_hand += 1;
    true
}

/// Ends one [`hold_by_hand`], and the lock taken with it; false if there was none.
pub fn release_by_hand(kernel: &mut Kernel, ring: RingId, at: usize) -> bool {
    if kernel.rings[ring].buffers[at].by_hand == 0 {
        return false;
    }
    if kernel.locks.holders(buffer_lock(ring, at)).contains(&CallId::HAND) {
        unlock_buffer(kernel, ring, at);
    }
    let buffer = &mut kernel.rings[ring].buffers[at];
    buffer.count -= 1;
    buffer.by_hand -= 1;
    true
}

/// What all buffers are for is in memory: somebody has written it.
pub fn set_uptodate(kernel: &mut Kernel, ring: RingId) {
    for buffer in &mut kernel.rings[ring].buffers {
        buffer.state |= BufferState::UPTODATE;
    }
}

/// Locks the buffers that are to be read, and marks them.
pub(super) fn submit_read(kernel: &mut Kernel, ring: RingId) {
    for buffer in &mut kernel.rings[ring].buffers {
        if !buffer.state.intersects(BufferState::UPTODATE | BufferState::LOCK) {
            buffer.state |= BufferState::LOCK | BufferState::ASYNC_READ;
        }
    }
}

/// What became of the buffers of a page that is to be written.
#[derive(Clone, Copy, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Submitted {
    /// Whether any is on its way.
    pub(super) has_any: bool,
    /// Whether some were locked by somebody else, and left out.
    pub(super) has_skipped: bool,
}

/// Maps the dirty buffers that have no place yet; then locks and marks those that are to be written,
/// without waiting for any.
pub(super) fn submit_write(kernel: &mut Kernel, ring: RingId) -> Submitted {
    let mut done = Submitted::default();
    for buffer in &mut kernel.rings[ring].buffers {
        let state = &mut buffer.state;
        if state.contains(BufferState::DIRTY) && !state.contains(BufferState::MAPPED) {
            state.insert(BufferState::MAPPED);
            state.remove(BufferState::DELAY);
        }
        if !state.contains(BufferState::MAPPED) {
            continue;
        }
        if state.contains(BufferState::LOCK) {
            done.has_skipped = true;
        } else if state.contains(BufferState::DIRTY) {
            state.remove(BufferState::DIRTY);
            *state |= BufferState::LOCK | BufferState::ASYNC_WRITE;
            done.has_any = true;
        }
    }
    done
}

/// Unlocks the buffers that a transfer carried `mark` for; with `gained` known of them now.
pub(super) fn complete(kernel: &mut Kernel, page: Pfn, mark: BufferState, gained: BufferState) {
    let Some(ring) = ring_of(kernel, page) else { return };
    for at in 0..kernel.rings[ring].buffers.len() {
        let state = &mut kernel.rings[ring].buffers[at].state;
        if state.contains(mark) {
            state.remove(mark);
            state.insert(gained);
            unlock_buffer(kernel, ring, at);
        }
    }
}

/// Forgets what is known of the buffers that begin at byte `from` of the page or later
/// (`discard_buffer`): they need not be written.
pub fn discard(kernel: &mut Kernel, page: Pfn, from: u64) {
    let Some(ring) = ring_of(kernel, page) else { return };
    let gone = BufferState::DIRTY
        | BufferState::MAPPED
        | BufferState::REQ
        | BufferState::NEW
        | BufferState::DELAY
        | BufferState::UNWRITTEN;
    let bytes = u64::from(kernel.rings[ring].bytes);
    let first = from.min(PAGE_SIZE).div_ceil(bytes) as usize;
    for buffer in kernel.rings[ring].buffers.iter_mut().skip(first) {
        buffer.state.remove(gone);
    }
}

/// `try_to_free_buffers`: tells whether the page, which is locked, has no buffers any more.
pub fn try_to_free_buffers(kernel: &mut Kernel, page: Pfn) -> bool {
    let frame = &kernel.frames[page];
    assert!(frame.has(PageFlags::LOCKED), "buffers of page {page} freed without its lock");
    if frame.has(PageFlags::WRITEBACK) {
        return false;
    }
    // PG_private_2 alone is somebody else's, and stays.
    let Some(ring) = ring_of(kernel, page) else { return !frame.has_private() };
    for at in 0..kernel.rings[ring].buffers.len() {
        let buffer = kernel.rings[ring].buffers[at];
        let file = file_of(kernel, page);
        if let Some(file) = file.filter(|_| buffer.state.contains(BufferState::WRITE_EIO)) {
            kernel.mappings[file].flags |= MappingFlags::EIO;
        }
        if buffer.is_busy() {
            return false;
        }
    }
    kernel.rings.remove(ring);
    let frame = &mut kernel.frames[page];
    frame.clear(PageFlags::PRIVATE);
    frame.private = 0;
    kernel.put_page(page);
    if file_of(kernel, page).is_some() {
        super::dirty::cancel_dirty(kernel, page);
    }
    true
}

/// `try_to_release_page`: by the filesystem's method; tells whether it worked.
pub fn try_to_release_page(kernel: &mut Kernel, page: Pfn) -> bool {
    if kernel.frames[page].has(PageFlags::WRITEBACK) {
        return false;
    }
    let method = page_mapping(kernel, page).map(|mapping| kernel.mappings[mapping].kind.release);
    method != Some(Release::Never) && try_to_free_buffers(kernel, page)
}
