//! Disk reads and writes: how they start and how they end.

use super::tree::{file_of, page_index};
use super::{buffers, dirty, writeback};
use crate::base::{CallId, MappingId, PAGE_SHIFT, PAGE_SIZE, Pfn, SwapEntry};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::io::{Direction, Transfer};
use crate::state::mapping::{BufferState, Disk, MappingFlags};
use crate::state::shadow;
use crate::step::{LockId, Me, Mode};

/// Starts to read a locked page from its file (or, for a page in the swap cache, its slot); the lock
/// passes to the disk. For a verb the read ends at once, unless it never ends, and so does one that
/// takes no time.
pub fn start_read<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) {
    assert!(kernel.frames[page].has(PageFlags::LOCKED), "page {page} read without its lock");
    let (ticks, fails) = match place_of(kernel, page) {
        Place::Slot(_) => (kernel.swaps.io_ticks, false),
        Place::File(file) => {
            begin_buffers(kernel, file, page);
            let space = &mut kernel.mappings[file];
            let host = space.host.as_mut().expect("a file");
            let fails = host.reads < space.kind.failing_reads;
            host.reads = host.reads.saturating_add(1);
            (space.kind.io_ticks, fails)
        }
    };
    if M::STEPS {
        kernel.locks.pass_on(LockId::Page(page), me.call, CallId::DISK);
    }
    let due = ticks.map(|ticks| kernel.now.saturating_add(ticks));
    let transfer = kernel.io.number(page, Direction::Read, due, fails);
    let is_instant = ticks == Some(0) || (kernel.io.has_instant_reads && ticks.is_some());
    if !M::STEPS || is_instant {
        finish(kernel, transfer);
    } else {
        kernel.io.submit(transfer);
    }
}

/// Where the bytes of a page are while they are not in memory.
enum Place {
    File(MappingId),
    Slot(SwapEntry),
}

fn place_of(kernel: &Kernel, page: Pfn) -> Place {
    let frame = &kernel.frames[page];
    if frame.has(PageFlags::SWAPCACHE) {
        return Place::Slot(SwapEntry(frame.private));
    }
    Place::File(file_of(kernel, page).expect("a page of a file, or in the swap cache"))
}

/// The disk of a place and the number of the page there.
fn disk_of<'a>(kernel: &'a mut Kernel, place: &Place, page: Pfn) -> (&'a mut Disk, u64) {
    let index = page_index(kernel, page);
    match *place {
        Place::Slot(slot) => {
            let device = &mut kernel.swaps.devices[usize::from(slot.device())];
            (&mut device.disk, slot.offset().into())
        }
        Place::File(file) => {
            let host = kernel.mappings[file].host.as_mut().expect("a file");
            (&mut host.disk, index)
        }
    }
}

/// Buffers of a filesystem that has them: attached by the first read, and locked while it lasts.
fn begin_buffers(kernel: &mut Kernel, file: MappingId, page: Pfn) {
    if kernel.mappings[file].kind.buffer_bytes == 0 {
        return;
    }
    let ring = buffers::ring_of(kernel, page);
    let ring = ring.unwrap_or_else(|| buffers::attach(kernel, page, BufferState::MAPPED));
    buffers::submit_read(kernel, ring);
}

/// Ends one transfer: content, PG_uptodate and the lock of a read; buffers, error marks and
/// PG_writeback of a write.
pub fn finish(kernel: &mut Kernel, transfer: Transfer) {
    match transfer.direction {
        Direction::Read => finish_read(kernel, transfer.page, transfer.fails),
        Direction::Write => finish_write(kernel, transfer.page, transfer.fails),
    }
}

fn finish_read(kernel: &mut Kernel, page: Pfn, fails: bool) {
    if fails {
        kernel.frames[page].set(PageFlags::ERROR);
    } else {
        let place = place_of(kernel, page);
        let (disk, index) = disk_of(kernel, &place, page);
        let bytes: Option<Box<[u8]>> = disk.page(index).map(Into::into);
        match bytes.filter(|_| kernel.contents.exist()) {
            Some(bytes) => kernel.contents.page_mut(page).copy_from_slice(&bytes),
            None => kernel.contents.clear(page),
        }
        kernel.frames[page].set(PageFlags::UPTODATE);
    }
    let gained = if fails { BufferState::empty() } else { BufferState::UPTODATE };
    buffers::complete(kernel, page, BufferState::ASYNC_READ, gained);
    let was_locked = kernel.frames[page].take(PageFlags::LOCKED);
    assert!(was_locked, "page {page} was unlocked while it was read");
    if kernel.locks.holders(LockId::Page(page)).contains(&CallId::DISK) {
        kernel.locks.release(LockId::Page(page), CallId::DISK);
    }
}

fn finish_write(kernel: &mut Kernel, page: Pfn, fails: bool) {
    let place = place_of(kernel, page);
    if fails {
        kernel.frames[page].set(PageFlags::ERROR);
        match place {
            Place::File(file) => {
                kernel.mappings[file].flags |= MappingFlags::EIO;
                let lost = shadow::Place::File(file, page_index(kernel, page));
                kernel.shadow.forget(lost, 0);
            }
            Place::Slot(_) => {
                dirty::set_page_dirty(kernel, page);
            }
        }
    } else {
        keep_bytes(kernel, &place, page);
    }
    let gained = if fails { BufferState::WRITE_EIO } else { BufferState::empty() };
    buffers::complete(kernel, page, BufferState::ASYNC_WRITE, gained);
    writeback::end_writeback(kernel, page);
}

/// What was written is on disk. Beyond the end of a file there is nothing but zeroes.
fn keep_bytes(kernel: &mut Kernel, place: &Place, page: Pfn) {
    if !kernel.contents.exist() {
        return;
    }
    let end = match *place {
        Place::Slot(_) => u64::MAX,
        Place::File(file) => kernel.mappings[file].host.as_ref().map_or(0, |host| host.size),
    };
    let start = page_index(kernel, page) << PAGE_SHIFT;
    let is_whole = matches!(place, Place::Slot(_)) || end.saturating_sub(start) >= PAGE_SIZE;
    let bytes: Box<[u8]> = kernel.contents.page(page).into();
    let (disk, index) = disk_of(kernel, place, page);
    if is_whole {
        disk.keep(index, &bytes);
    } else if start < end {
        disk.keep(index, &bytes);
        disk.zero_tail(index, (end - start) as usize);
    }
}

/// The transfer that ends next ends now, even one that never would; false if there is none.
pub fn complete_next(kernel: &mut Kernel) -> bool {
    let Some(transfer) = kernel.io.first() else { return false };
    kernel.io.take(transfer);
    finish(kernel, transfer);
    true
}

/// Lets time go on to the next end of a transfer; false if none ever ends.
pub fn pass_time(kernel: &mut Kernel) -> bool {
    let Some(transfer) = kernel.io.first_due() else { return false };
    kernel.io.take(transfer);
    kernel.now = kernel.now.max(transfer.due.unwrap_or(0));
    finish(kernel, transfer);
    true
}

/// Lets time go on to `tick`, with everything that ends until then, but with at most `most` transfers;
/// tells whether it got there.
pub fn pass_time_until(kernel: &mut Kernel, tick: u64, most: u64) -> bool {
    let mut left = most;
    while kernel.io.first_due().is_some_and(|next| next.due.is_some_and(|due| due <= tick)) {
        if left == 0 {
            return false;
        }
        left -= 1;
        pass_time(kernel);
    }
    kernel.now = kernel.now.max(tick);
    true
}

/// Whether the page is not under writeback; if it is, queues to see the end of it, or, in mode
/// `Run`, lets time pass until then (`wait_on_page_writeback`).
#[inline]
pub fn writeback_is_over<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> bool {
    use crate::state::frame::PageFlags;
    if !kernel.frames[page].has(PageFlags::WRITEBACK) {
        return true;
    }
    if M::STEPS {
        kernel.locks.watch(crate::step::LockId::Writeback(page), me.call);
        return false;
    }
    while kernel.frames[page].has(PageFlags::WRITEBACK) {
        assert!(pass_time(kernel), "a call that is alone waits for a write that never ends");
    }
    true
}
