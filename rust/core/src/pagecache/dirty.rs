//! What must be written back: `set_page_dirty` and its undoing (supporting-paths 10).

use crate::base::Pfn;
use crate::kernel::Kernel;

/// `set_page_dirty`, by the method of the page's address space; tells whether it was clean.
#[inline]
pub fn set_page_dirty(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("files owner")
}

/// `__set_page_dirty_nobuffers`: the page only, with accounting and tag.
pub fn set_page_dirty_nobuffers(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("files owner")
}

/// The end of `clear_page_dirty_for_io`: PG_reclaim and PG_dirty go, with accounting; the tag stays.
/// Tells whether the page was dirty. Entries are not looked at: [`crate::unmap`] has cleaned
/// them, or there are none.
pub fn clear_dirty_for_io(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("files owner")
}

/// `cancel_dirty_page`: not to be written any more.
pub fn cancel_dirty(kernel: &mut Kernel, page: Pfn) {
    let _ = (kernel, page);
    todo!("files owner")
}
