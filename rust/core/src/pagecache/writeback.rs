//! What is being written: PG_writeback, and the `writepage` method (supporting-paths 10).

use serde::{Deserialize, Serialize};

use super::tree::{file_of, page_index, page_mapping};
use super::{buffers, dirty, swapcache};
use crate::base::{CpuId, Errno, MappingId, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::io::Direction;
use crate::state::mapping::{BufferState, Tag, Write, Written};
use crate::state::shadow::Place;
use crate::state::zone::Counter;
use crate::step::{LockId, Me, Mode};

/// What a `writepage` that did not fail left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wrote {
    /// The page is unlocked, and normally under writeback.
    Unlocked,
    /// AOP_WRITEPAGE_ACTIVATE: dirty again and still locked.
    Activate,
}

/// Calls the `writepage` method of the page's address space, which has one: page locked by the
/// caller, PG_dirty clear. Never waits.
///
/// # Errors
/// What the method returns, with the page unlocked.
pub fn writepage<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Wrote, Errno> {
    let Some(file) = file_of(kernel, page).filter(|_| !is_in_swap_cache(kernel, page)) else {
        return swapcache::writepage::<M>(kernel, me, page);
    };
    let written = next_written(kernel, file);
    match written {
        Written::Fails(code) => {
            kernel.shadow.forget(Place::File(file, page_index(kernel, page)), 0);
            kernel.unlock_page::<M>(me, page);
            return Err(Errno::from_code(code).unwrap_or(Errno::Other(code)));
        }
        Written::Activates => {
            dirty::set_page_dirty(kernel, page);
            return Ok(Wrote::Activate);
        }
        Written::Well | Written::EndsInError => {}
    }
    let fails = written == Written::EndsInError;
    match kernel.mappings[file].kind.write {
        Write::Never => unreachable!("writepage of a filesystem that has none"),
        Write::ToSwap => return swapcache::writepage::<M>(kernel, me, page),
        _ if kernel.frames[page].index() >= kernel.mappings[file].pages_in_file() => {
            // Truncation is on its way to it.
            buffers::discard(kernel, page, 0);
            buffers::try_to_release_page(kernel, page);
        }
        Write::Page => {
            set_writeback(kernel, page);
            submit(kernel, file, page, fails);
        }
        Write::Buffers => write_buffers(kernel, file, page, fails),
    }
    kernel.unlock_page::<M>(me, page);
    Ok(Wrote::Unlocked)
}

fn is_in_swap_cache(kernel: &Kernel, page: Pfn) -> bool {
    kernel.frames[page].has(PageFlags::SWAPCACHE)
}

/// How this call of the file's method goes.
fn next_written(kernel: &mut Kernel, file: MappingId) -> Written {
    let space = &mut kernel.mappings[file];
    let host = space.host.as_mut().expect("a file");
    let calls = host.writes as usize;
    host.writes += 1;
    space.kind.write_script.get(calls).copied().unwrap_or(Written::Well)
}

/// `block_write_full_page`, up to the unlocking of the page.
fn write_buffers(kernel: &mut Kernel, file: MappingId, page: Pfn, fails: bool) {
    let blank = BufferState::DIRTY | BufferState::UPTODATE;
    let ring =
        buffers::ring_of(kernel, page).unwrap_or_else(|| buffers::attach(kernel, page, blank));
    let submitted = buffers::submit_write(kernel, ring);
    if submitted.has_skipped {
        dirty::set_page_dirty_nobuffers(kernel, page);
    }
    set_writeback(kernel, page);
    if submitted.has_any {
        submit(kernel, file, page, fails);
    } else {
        end_writeback(kernel, page);
    }
}

fn submit(kernel: &mut Kernel, file: MappingId, page: Pfn, fails: bool) {
    let ticks = kernel.mappings[file].kind.io_ticks;
    let due = ticks.map(|ticks| kernel.now.saturating_add(ticks));
    let transfer = kernel.io.number(page, Direction::Write, due, fails);
    kernel.io.submit(transfer);
}

/// `set_page_writeback`.
pub fn set_writeback(kernel: &mut Kernel, page: Pfn) {
    let frame = &mut kernel.frames[page];
    let (was_set, is_dirty) = (frame.has(PageFlags::WRITEBACK), frame.has(PageFlags::DIRTY));
    frame.set(PageFlags::WRITEBACK);
    if let Some(mapping) = page_mapping(kernel, page) {
        let index = page_index(kernel, page);
        let tree = &mut kernel.mappings[mapping].tree;
        tree.set_tag(index, Tag::Writeback);
        if !is_dirty {
            tree.clear_tag(index, Tag::Dirty);
        }
    }
    if !was_set {
        kernel.zones.counters_of(page).add(Counter::Writeback, 1);
    }
}

/// `end_page_writeback`, with the waking of those who wait for it.
///
/// # Panics
/// If the page is not under writeback: an error of the model.
pub fn end_writeback(kernel: &mut Kernel, page: Pfn) {
    let busy = PageFlags::LOCKED | PageFlags::DIRTY | PageFlags::ACTIVE | PageFlags::UNEVICTABLE;
    let Kernel { frames, zones, lru, .. } = kernel;
    if frames[page].take(PageFlags::RECLAIM)
        && !frames[page].has(busy)
        && frames[page].has(PageFlags::LRU)
    {
        // The disk's interrupt comes to the first CPU.
        lru.rotate(frames, zones, CpuId(0), page);
    }
    let was_set = kernel.frames[page].take(PageFlags::WRITEBACK);
    assert!(was_set, "writeback of page {page} ended that had not begun");
    if let Some(mapping) = page_mapping(kernel, page) {
        let index = page_index(kernel, page);
        kernel.mappings[mapping].tree.clear_tag(index, Tag::Writeback);
    }
    kernel.zones.counters_of(page).add(Counter::Writeback, -1);
    kernel.locks.wake_watchers(LockId::Writeback(page));
}
