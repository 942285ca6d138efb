//! Changing an address space: map, unmap, move, protect, lock, advise, fork, exit.
//!
//! Everything that takes `mmap_sem` for writing. One file a verb; [`area`] splits and merges
//! areas for all of them, [`teardown`] takes areas away for `munmap` and exit alike.
//!
//! data-model 6 and 7, supporting-paths 3, 6 and 15. Left out: `brk`, limits of address space.

pub mod area;
mod exit;
mod fork;
mod madvise;
mod map;
mod mlock;
mod move_entries;
mod mprotect;
mod mremap;
mod munlock;
mod munmap;
mod teardown;
#[cfg(test)]
mod tests;
mod unmerge;

pub use exit::{Exit, MmRelease};
pub use fork::Fork;
pub use madvise::{Advice, Madvise};
pub use map::{Backing, map};
pub use mlock::Mlock;
pub use mprotect::Mprotect;
pub use mremap::Mremap;
pub use munmap::Munmap;
pub use unmerge::Unmerge;

pub(crate) use mlock::mlock_page;
pub(crate) use munlock::{clear_mlocked, keep_if_locked_elsewhere};

use crate::base::VmaId;
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::step::{LockId, Me, Mode};

/// Whether nobody else is inside a list that the area is on; otherwise the lock to wait for.
///
/// Lists are changed within one step, so their locks need not be kept.
fn lists_are_free<M: Mode>(kernel: &mut Kernel, me: Me, vma: VmaId) -> Result<(), LockId> {
    if M::STEPS {
        let area = &kernel.vmas[vma];
        let lists = area.links.iter().map(|&list| LockId::AnonVma(list));
        for lock in lists.chain(area.file.map(LockId::FileMap)).collect::<Vec<_>>() {
            if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                return Err(lock);
            }
            kernel.unlock::<M>(me, lock);
        }
    }
    Ok(())
}

/// The same for an area and those that touch it, which it could become one with.
fn neighbours_are_free<M: Mode>(kernel: &mut Kernel, me: Me, vma: VmaId) -> Result<(), LockId> {
    if M::STEPS {
        let area = &kernel.vmas[vma];
        let (start, end, space) = (area.start, area.end, &kernel.mms[area.mm]);
        let below = space.area_before(start).filter(|&below| kernel.vmas[below].end == start);
        let above = space.find_vma(end).filter(|&above| kernel.vmas[above].start == end);
        for id in [Some(vma), below, above].into_iter().flatten() {
            lists_are_free::<M>(kernel, me, id)?;
        }
    }
    Ok(())
}
