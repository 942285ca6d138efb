//! What must be written back: `set_page_dirty` and its undoing (supporting-paths 10).

use super::buffers::ring_of;
use super::tree::{file_of, page_index, page_mapping};
use crate::base::{MappingId, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::mapping::{BufferState, Dirtying, Tag};
use crate::state::zone::Counter;

/// `set_page_dirty`, by the method of the page's address space; tells whether it was clean.
#[inline]
pub fn set_page_dirty(kernel: &mut Kernel, page: Pfn) -> bool {
    match page_mapping(kernel, page) {
        None => set_flag(kernel, page),
        Some(mapping) => set_by_method(kernel, page, mapping),
    }
}

fn set_by_method(kernel: &mut Kernel, page: Pfn, mapping: MappingId) -> bool {
    match kernel.mappings[mapping].kind.dirtying {
        Dirtying::NoWriteback => set_flag(kernel, page),
        Dirtying::NoBuffers => set_page_dirty_nobuffers(kernel, page),
        Dirtying::Buffers => {
            if let Some(ring) = ring_of(kernel, page) {
                for buffer in &mut kernel.rings[ring].buffers {
                    buffer.state |= BufferState::DIRTY;
                }
            }
            set_page_dirty_nobuffers(kernel, page)
        }
    }
}

/// The bare flag; tells whether it was clear.
#[inline]
fn set_flag(kernel: &mut Kernel, page: Pfn) -> bool {
    let frame = &mut kernel.frames[page];
    let was_clean = !frame.has(PageFlags::DIRTY);
    frame.set(PageFlags::DIRTY);
    was_clean
}

/// `__set_page_dirty_nobuffers`: the page only, with accounting and tag.
pub fn set_page_dirty_nobuffers(kernel: &mut Kernel, page: Pfn) -> bool {
    let was_clean = set_flag(kernel, page);
    if let Some(mapping) = page_mapping(kernel, page).filter(|_| was_clean) {
        let index = page_index(kernel, page);
        let space = &mut kernel.mappings[mapping];
        space.tree.set_tag(index, Tag::Dirty);
        if let Some(host) = &mut space.host {
            host.is_dirty = true;
        }
        account(kernel, page, mapping, 1);
    }
    was_clean
}

/// The end of `clear_page_dirty_for_io`: PG_reclaim and PG_dirty go, with accounting; the tag stays.
/// Tells whether the page was dirty. Entries are not looked at: `unmap::clean_entries` has
/// cleaned them, or there are none.
pub fn clear_dirty_for_io(kernel: &mut Kernel, page: Pfn) -> bool {
    let frame = &mut kernel.frames[page];
    frame.clear(PageFlags::RECLAIM);
    let was_dirty = frame.take(PageFlags::DIRTY);
    if let Some(mapping) = page_mapping(kernel, page).filter(|_| was_dirty) {
        account(kernel, page, mapping, -1);
    }
    was_dirty
}

/// `cancel_dirty_page`: not to be written any more.
pub fn cancel_dirty(kernel: &mut Kernel, page: Pfn) {
    let was_dirty = kernel.frames[page].take(PageFlags::DIRTY);
    if let Some(file) = file_of(kernel, page).filter(|_| was_dirty) {
        account(kernel, page, file, -1);
    }
}

fn account(kernel: &mut Kernel, page: Pfn, mapping: MappingId, change: i64) {
    if kernel.mappings[mapping].kind.accounts_dirty {
        kernel.zones.counters_of(page).add(Counter::FileDirty, change);
    }
}
