//! `migrate_page_move_mapping`: the check that nobody else uses the page (migration 6).

use crate::base::{Errno, Pfn};
use crate::kernel::Kernel;

/// MM-1: a page without address space may go if the isolation holds the only reference.
///
/// Nothing is frozen and nothing changes: from here on the move cannot fail any more.
#[inline]
pub fn check_sole_owner(kernel: &Kernel, page: Pfn) -> Result<(), Errno> {
    if kernel.frames[page].count() == 1 { Ok(()) } else { Err(Errno::Again) }
}
