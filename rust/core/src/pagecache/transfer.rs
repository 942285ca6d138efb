//! Disk reads and writes: how they start and how they end.

use crate::base::{Pfn, SwapEntry};
use crate::kernel::Kernel;
use crate::state::io::Transfer;
use crate::step::{Me, Mode};

/// Starts to read a locked page from its file (or, for a page in the swap cache, its slot); the lock
/// passes to the disk. In mode `Run` the read ends at once.
pub fn start_read<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) {
    let _ = (kernel, me, page, |slot: SwapEntry| slot);
    todo!("files owner")
}

/// Ends one transfer: content, PG_uptodate and the lock of a read; buffers, error marks and
/// PG_writeback of a write.
pub fn finish(kernel: &mut Kernel, transfer: Transfer) {
    let _ = (kernel, transfer);
    todo!("files owner")
}

/// Lets time go on to the next end of a transfer; false if none ever ends.
pub fn pass_time(kernel: &mut Kernel) -> bool {
    let Some(next) = kernel.io.first_due() else { return false };
    let transfer = kernel.io.take(next.number).expect("it is the first");
    kernel.now = kernel.now.max(transfer.due.unwrap_or(0));
    finish(kernel, transfer);
    true
}

/// Lets time go on to `tick`, with everything that ends until then.
pub fn pass_time_until(kernel: &mut Kernel, tick: u64) {
    while kernel.io.first_due().is_some_and(|next| next.due.is_some_and(|due| due <= tick)) {
        pass_time(kernel);
    }
    kernel.now = kernel.now.max(tick);
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
