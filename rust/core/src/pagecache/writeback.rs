//! What is being written: PG_writeback, and the `writepage` method (supporting-paths 10).

use crate::base::{Errno, Pfn};
use crate::kernel::Kernel;
use crate::step::{Me, Mode};

/// What a `writepage` that did not fail left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let _ = (kernel, me, page);
    todo!("files owner")
}

/// `set_page_writeback`.
pub fn set_writeback(kernel: &mut Kernel, page: Pfn) {
    let _ = (kernel, page);
    todo!("files owner")
}

/// `end_page_writeback`, with the waking of those who wait for it.
///
/// # Panics
/// If the page is not under writeback: an error of the model.
pub fn end_writeback(kernel: &mut Kernel, page: Pfn) {
    let _ = (kernel, page);
    todo!("files owner")
}
