//! `migrate_page_copy`: bytes and flags (migration 7).

use crate::base::Pfn;
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::state::zone::Counter;

/// Flags that the new page gets if the old one has them (MC-2, MC-4). The old one keeps them.
const COPIED: PageFlags = PageFlags::ERROR
    .union(PageFlags::REFERENCED)
    .union(PageFlags::UPTODATE)
    .union(PageFlags::CHECKED)
    .union(PageFlags::MAPPEDTODISK);

/// Makes `new` what `old` was, and `old` nothing. Both are locked.
///
/// # Panics
/// If `old` is active and unevictable at once: an error of the model (MC-3).
#[inline]
pub fn copy_page(kernel: &mut Kernel, new: Pfn, old: Pfn) {
    // MC-1
    kernel.contents.copy(old, new);
    kernel.cost.copies += 1;
    let frame = &mut kernel.frames[old];
    // MC-2, MC-4
    let mut flags = frame.flags() & COPIED;
    // MC-3
    if frame.take(PageFlags::ACTIVE) {
        assert!(!frame.has(PageFlags::UNEVICTABLE), "page {old} is active and unevictable");
        flags |= PageFlags::ACTIVE;
    } else if frame.take(PageFlags::UNEVICTABLE) {
        flags |= PageFlags::UNEVICTABLE;
    }
    // MC-5: without address space, dirtiness is the bare flag.
    if frame.take(PageFlags::DIRTY) {
        frame.clear(PageFlags::RECLAIM);
        flags |= PageFlags::DIRTY;
    }
    // MC-6
    let is_mlocked = frame.take(PageFlags::MLOCKED);
    // MC-8, MC-9
    frame.clear(PageFlags::SWAPCACHE | PageFlags::PRIVATE);
    frame.private = 0;
    frame.set_owner(Owner::None);
    if is_mlocked {
        flags |= PageFlags::MLOCKED;
        kernel.zones.counters_of(old).add(Counter::Mlock, -1);
        kernel.zones.counters_of(new).add(Counter::Mlock, 1);
    }
    kernel.frames[new].set(flags);
}
