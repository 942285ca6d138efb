//! Pages between memory and swap (supporting-paths 11).

use crate::base::{Errno, MmId, Pfn, SwapEntry};
use crate::kernel::Kernel;
use crate::step::{Me, Mode};

/// The slot of a page in the swap cache.
#[inline]
pub fn slot_of(kernel: &Kernel, page: Pfn) -> Option<SwapEntry> {
    let _ = (kernel, page);
    todo!("swap owner")
}

/// `add_to_swap`: a locked page gets a slot, enters the swap cache and becomes dirty; false if there
/// is no slot.
pub fn add_to_swap(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("swap owner")
}

/// A new, locked page enters the swap cache under a slot in use, to be read (`read_swap_cache`).
pub fn add_for_reading(kernel: &mut Kernel, me: Me, page: Pfn, slot: SwapEntry) {
    let _ = (kernel, me, page, slot);
    todo!("swap owner")
}

/// Takes a locked page out of the swap cache, with counters, HAS_CACHE, uncharge and reference.
pub fn delete(kernel: &mut Kernel, page: Pfn) {
    let _ = (kernel, page);
    todo!("swap owner")
}

/// `try_to_free_swap`: a locked page that nobody has swapped out leaves the swap cache; tells
/// whether it did.
pub fn try_to_free_swap(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("swap owner")
}

/// `reuse_swap_page`: whether a locked page is the only user's, who may then write to it. May take
/// it out of the swap cache.
pub fn reuse_swap_page(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("swap owner")
}

/// `free_swap_and_cache`: a genuine swap entry was cleared somewhere. Never waits: a page that is
/// locked is left alone (S30).
pub fn free_swap_and_cache<M: Mode>(kernel: &mut Kernel, me: Me, slot: SwapEntry) {
    let _ = (kernel, me, slot);
    todo!("swap owner")
}

/// The address space has a swap entry now, for swap-off.
pub fn note_swapped(kernel: &mut Kernel, mm: MmId) {
    kernel.swaps.mms.insert(mm);
}

/// The `writepage` method of the swap cache and, for a page that is moved to swap first, of shmem.
///
/// # Errors
/// Never fails by itself; the type is that of the method.
pub fn writepage<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    page: Pfn,
) -> Result<super::writeback::Wrote, Errno> {
    let _ = (kernel, me, page);
    todo!("swap owner")
}
