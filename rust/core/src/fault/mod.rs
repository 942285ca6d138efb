//! Faults: what happens when a program touches its memory and the page is not simply there.
//!
//! An [`Access`] is a program loading and storing; where the hardware would trap, it runs a
//! [`Fault`]. A [`Pin`] takes references through the same door (`get_user_pages`), and a
//! [`EntryWait`] is how anybody sleeps until a page under migration is back.
//!
//! supporting-paths 1, 2 and 17; migration 5. Left out: non-linear areas, poisoned pages.

mod access;
mod copy_on_write;
mod entry_wait;
mod faulting;
mod file;
mod pin;
mod swap_in;

pub use access::{Access, Pages, Tally, What};
pub use entry_wait::EntryWait;
pub use faulting::{Fault, Served};
pub use pin::{Follow, Pin, follow_page, follow_page_locked};

use crate::base::{Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::policy::Mode as PolicyMode;
use crate::step::Me;

/// Allocates a frame for the page at `address` of an area, by the policy in force there.
///
/// The area's own policy, else the task's; an interleave goes by the page's place in the area.
#[inline]
pub(crate) fn allocate_for(kernel: &mut Kernel, me: Me, vma: VmaId, address: u64) -> Option<Pfn> {
    let area = &kernel.vmas[vma];
    let task = &kernel.tasks[me.task];
    let policy = area.policy.unwrap_or(task.policy);
    let position = match policy.mode {
        PolicyMode::Interleave => area.linear_index(address),
        _ => 0,
    };
    let local = kernel.zones.node_of_cpu(me.cpu);
    let request = policy.request(local, task.mems_allowed, position);
    let page = kernel.zones.allocate(&mut kernel.frames, request)?;
    kernel.cost.allocations += 1;
    Some(page)
}
