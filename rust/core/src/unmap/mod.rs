//! Replacing the entries of a page, and putting entries back.
//!
//! [`Unmapping`] is `try_to_unmap` with TTU_MIGRATION: every entry that maps the page becomes a
//! migration entry. [`Restoring`] is `remove_migration_ptes`: every migration entry that names
//! the old page becomes an ordinary entry again, of the new page or, after a failure, of the old
//! one. Both are the same [`walk`] over the reverse map. [`mapcount`] keeps the map count and
//! the counters that follow it.
//!
//! migration 3 and 4, supporting-paths 4 and 5. Left out: file and KSM pages, swap entries.

pub mod mapcount;
mod restore;
mod unmapping;
pub mod walk;

pub use restore::Restoring;
pub use unmapping::Unmapping;

/// What a run over the entries of a page came to (supporting-paths 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// SWAP_SUCCESS: nobody maps the page any more.
    Success,
    /// SWAP_AGAIN: somebody still does.
    Again,
    /// SWAP_FAIL: not to be unmapped.
    Fail,
    /// SWAP_MLOCK: an area that maps it is VM_LOCKED.
    Mlocked,
}

use crate::base::VmaId;
use crate::kernel::Kernel;
use crate::state::mm::VmFlags;
use crate::state::pagetable::Entry;

/// The entry bits for a page of this area, plus write permission where the area permits stores.
pub fn writable_if_permitted(kernel: &Kernel, vma: VmaId) -> u64 {
    if kernel.vmas[vma].flags.contains(VmFlags::WRITE) { Entry::WRITABLE } else { 0 }
}
