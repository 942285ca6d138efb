//! Replacing the entries of a page, and putting entries back.
//!
//! [`Unmapping`] is `try_to_unmap`: every entry that maps the page becomes a migration entry or a
//! swap entry, or goes. [`Restoring`] is `remove_migration_ptes`: every migration entry that names
//! the old page becomes an ordinary entry again, of the new page or, after a failure, of the old
//! one. Both are the same [`walk`] over the reverse map. [`clean_entries`] is `page_mkclean`, in one
//! step. [`mapcount`] keeps the map count and the counters that follow it.
//!
//! migration 3 and 4, supporting-paths 4 and 5. Left out: non-linear areas, poison entries.

mod cleaning;
mod items;
pub mod mapcount;
mod restore;
mod unmapping;
pub mod walk;

pub use cleaning::clean_entries;
pub use restore::Restoring;
pub use unmapping::Unmapping;

/// What a run over the entries of a page came to (supporting-paths 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

use serde::{Deserialize, Serialize};

use crate::base::VmaId;
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::state::mm::VmFlags;
use crate::state::pagetable::Entry;
use crate::step::{LockId, Me, Mode};

/// The entry bits for a page of this area, plus write permission where the area permits stores.
pub fn writable_if_permitted(kernel: &Kernel, vma: VmaId) -> u64 {
    if kernel.vmas[vma].flags.contains(VmFlags::WRITE) { Entry::WRITABLE } else { 0 }
}

/// Takes a spinlock and gives it back: what follows in this step finds nobody inside.
///
/// # Errors
/// The lock, if somebody is: it is to be waited for.
#[inline]
pub(crate) fn passes<M: Mode>(kernel: &mut Kernel, me: Me, lock: LockId) -> Result<(), LockId> {
    if M::STEPS {
        let is_mine = kernel.locks.holders(lock).contains(&me.call);
        if !kernel.lock::<M>(me, lock, Want::Exclusive) {
            return Err(lock);
        }
        if !is_mine {
            kernel.unlock::<M>(me, lock);
        }
    }
    Ok(())
}
