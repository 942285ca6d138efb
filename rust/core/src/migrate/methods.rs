//! How a kind of page is moved, once it is unmapped and its target is ready.

use super::copy::copy_page;
use super::replace::check_sole_owner;
use crate::base::{Errno, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;

/// `migrate_page`, first half (MG-1, MG-2): the point of no return.
///
/// # Panics
/// If the page is under writeback: an error of the model.
#[inline]
pub fn claim(kernel: &Kernel, page: Pfn) -> Result<(), Errno> {
    assert!(!kernel.frames[page].has(PageFlags::WRITEBACK), "page {page} is under writeback");
    check_sole_owner(kernel, page)
}

/// `migrate_page`, second half (MG-3): cannot fail.
#[inline]
pub fn transfer(kernel: &mut Kernel, new: Pfn, page: Pfn) {
    copy_page(kernel, new, page);
}
