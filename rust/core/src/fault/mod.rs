//! Faults: what happens when a program touches its memory and the page is not simply there.
//!
//! An [`Access`] is a program loading and storing; where the hardware would trap, it runs a
//! [`Fault`]. A [`Pin`] takes references through the same door (`get_user_pages`), and a
//! [`EntryWait`] is how anybody sleeps until a page under migration is back. First touches of anonymous
//! memory take a straight road where nobody can look in between (`straight`, docs/decisions/0012).
//!
//! supporting-paths 1, 2 and 17; migration 5. Left out: non-linear areas, poisoned pages.

mod access;
mod break_ksm;
mod copy_on_write;
mod entry_wait;
mod faulting;
mod file;
mod pin;
mod straight;
mod swap_in;
mod swap_read;

pub use access::{Access, Pages, Tally, What};
pub use break_ksm::BreakKsm;
pub use entry_wait::EntryWait;
pub use faulting::{Fault, Served};
pub use pin::{Follow, Pin, follow_page, follow_page_locked};

use crate::base::{Pfn, VmaId};
use crate::kernel::Kernel;
use crate::step::Me;

/// Allocates a frame for the page at `address` of an area, by the policy in force there.
#[inline]
pub(crate) fn allocate_for(kernel: &mut Kernel, me: Me, vma: VmaId, address: u64) -> Option<Pfn> {
    kernel.allocate_for_area(me, vma, address)
}
