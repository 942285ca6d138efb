//! Which page of which file is where: `page_mapping`, adding and removing (supporting-paths 7).

use crate::base::{Errno, MappingId, Pfn};
use crate::kernel::Kernel;
use crate::step::Me;

/// `page_mapping`: the swap cache for a page in it, else the file; none for anonymous memory.
#[inline]
pub fn page_mapping(kernel: &Kernel, page: Pfn) -> Option<MappingId> {
    let _ = (kernel, page);
    todo!("files owner")
}

/// `page_index`: the swap entry's value for a page in the swap cache, else `index`.
#[inline]
pub fn page_index(kernel: &Kernel, page: Pfn) -> u64 {
    let _ = (kernel, page);
    todo!("files owner")
}

/// `add_to_page_cache_lru`: a locked new page enters the file's index (reference + 1) and an LRU
/// pagevec; PG_swapbacked, memcg charge and counters with it.
///
/// # Errors
/// `NoMemory` if the charge is refused, `Exists` if the slot is taken; nothing has changed then.
pub fn add(
    kernel: &mut Kernel,
    me: Me,
    file: MappingId,
    index: u64,
    page: Pfn,
) -> Result<(), Errno> {
    let _ = (kernel, me, file, index, page);
    todo!("files owner")
}

/// `remove_from_page_cache`: a locked, unmapped page leaves its file's index. The caller drops the
/// index's reference.
///
/// # Panics
/// If the page is mapped, or in no file: errors of the model.
pub fn remove(kernel: &mut Kernel, page: Pfn) {
    let _ = (kernel, page);
    todo!("files owner")
}
