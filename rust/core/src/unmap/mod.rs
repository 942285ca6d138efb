//! Replacing the entries of a page, and putting entries back.
//!
//! [`Unmapping`] is `try_to_unmap` with TTU_MIGRATION: every entry that maps the page becomes a
//! migration entry. [`Restoring`] is `remove_migration_ptes`: every migration entry that names
//! the old page becomes an ordinary entry again, of the new page or, after a failure, of the old
//! one. Both find their entries through the reverse map. [`mapcount`] keeps the map count and
//! the counters that follow it.
//!
//! migration 3 and 4, supporting-paths 4 and 5. Left out: file and KSM pages, swap entries.

pub mod mapcount;
mod restore;
mod unmapping;

pub use restore::Restoring;
pub use unmapping::Unmapping;

use crate::base::{AnonVmaId, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::Owner;
use crate::state::pagetable::Entry;

/// Where a walk over a list of areas stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Walk {
    list: AnonVmaId,
    /// Position in the list of the next area to visit.
    next: u32,
}

/// The list that leads to the areas of an anonymous page.
fn list_of(kernel: &Kernel, page: Pfn) -> Option<AnonVmaId> {
    match kernel.frames[page].owner() {
        Owner::Anon(list) => Some(list),
        Owner::None => None,
    }
}

impl Walk {
    /// The next area in which a page with `index` could be mapped, and the address there.
    #[inline]
    fn next_place(&mut self, kernel: &Kernel, index: u64) -> Option<(VmaId, u64)> {
        while let Some(&vma) = kernel.anon_vmas.areas(self.list).get(self.next as usize) {
            self.next += 1;
            if let Some(address) = kernel.vmas[vma].address_of(index) {
                return Some((vma, address));
            }
        }
        None
    }
}

/// The entry bits for a page of this area, plus write permission where the area permits stores.
pub fn writable_if_permitted(kernel: &Kernel, vma: VmaId) -> u64 {
    use crate::state::mm::VmFlags;
    if kernel.vmas[vma].flags.contains(VmFlags::WRITE) { Entry::WRITABLE } else { 0 }
}
