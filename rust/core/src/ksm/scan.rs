//! Going over the pages of one address space that may be merged.

use serde::{Deserialize, Serialize};

use super::merge::mergeable_area;
use super::stable;
use crate::base::{MmId, PAGE_SIZE, Pfn, RmapItemId};
use crate::fault::{Follow, follow_page};
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::state::mm::VmFlags;
use crate::state::pagetable::leaf_span_end;
use crate::step::{LockId, Me, Mode};

/// A page, with a reference, and the place where it was found.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Hand {
    pub(super) item: RmapItemId,
    pub(super) page: Pfn,
}

/// What one look came to.
pub(super) enum Found {
    /// A page. `mmap_sem` is given back.
    Page(Hand),
    /// Nothing in this table; `mmap_sem` is kept.
    Nothing,
    /// There are no more. `mmap_sem` is given back.
    End,
}

/// Where a scan is in one address space that it has a use of.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Finger {
    pub(super) mm: MmId,
    /// The next address to look at.
    next: u64,
    /// Places from here to the next page found are places no more.
    passed: u64,
}

impl Finger {
    pub(super) const fn new(mm: MmId) -> Finger {
        Finger { mm, next: 0, passed: 0 }
    }

    /// Looks for the next anonymous page in a mergeable area: one leaf table, at most. Places
    /// without such a page any more are forgotten on the way.
    pub(super) fn find<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Found, LockId> {
        let sem = LockId::MmapSem(self.mm);
        if !kernel.lock::<M>(me, sem, Want::Shared) {
            return Err(sem);
        }
        let areas = kernel.mms[self.mm].areas_from(self.next);
        let is_mergeable = |vma| {
            let area: &crate::state::mm::Vma = &kernel.vmas[vma];
            area.flags.contains(VmFlags::MERGEABLE) && area.anon_vma.is_some()
        };
        let Some(vma) = areas.into_iter().find(|&vma| is_mergeable(vma)) else {
            self.forget_passed::<M>(kernel, me, u64::MAX)?;
            kernel.unlock::<M>(me, sem);
            return Ok(Found::End);
        };
        let (start, end) = (kernel.vmas[vma].start.max(self.next), kernel.vmas[vma].end);
        self.next = start;
        let stop = leaf_span_end(start).min(end);
        let Some(leaf) = kernel.tables.find_leaf(kernel.mms[self.mm].root, start) else {
            self.next = stop;
            return Ok(Found::Nothing);
        };
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        let addresses = (start..stop).step_by(PAGE_SIZE as usize);
        let mut found = addresses.map(|at| (at, anonymous_page(kernel, self.mm, at)));
        let found = found.find_map(|(at, page)| Some((at, page?)));
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        let Some((address, page)) = found else {
            self.next = stop;
            return Ok(Found::Nothing);
        };
        if let Err(lock) = self.forget_passed::<M>(kernel, me, address) {
            kernel.put_page(page);
            return Err(lock);
        }
        (self.next, self.passed) = (address + PAGE_SIZE, address + PAGE_SIZE);
        kernel.unlock::<M>(me, sem);
        Ok(Found::Page(Hand { item: kernel.ksm.place(self.mm, address), page }))
    }

    fn forget_passed<M: Mode>(&self, kernel: &mut Kernel, me: Me, to: u64) -> Result<(), LockId> {
        let passed = kernel.ksm.places_in(self.mm, self.passed, to);
        passed.into_iter().try_for_each(|item| forget::<M>(kernel, me, item))
    }
}

/// The anonymous page mapped at an address, with a reference.
fn anonymous_page(kernel: &mut Kernel, mm: MmId, address: u64) -> Option<Pfn> {
    let how = Follow { get: true, ..Follow::default() };
    let page = follow_page(kernel, mm, address, how).ok().flatten()?;
    if kernel.frames[page].is_anon() {
        return Some(page);
    }
    kernel.put_page(page);
    None
}

/// The page of a place looked at before, with a reference (`get_mergeable_page`).
pub(super) fn page_at<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    mm: MmId,
    address: u64,
) -> Result<Option<Pfn>, LockId> {
    let sem = LockId::MmapSem(mm);
    if !kernel.lock::<M>(me, sem, Want::Shared) {
        return Err(sem);
    }
    let leaf = kernel.tables.find_leaf(kernel.mms[mm].root, address);
    let page = match leaf.filter(|_| mergeable_area(kernel, mm, address).is_some()) {
        Some(leaf) if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) => {
            return Err(LockId::Leaf(leaf));
        }
        Some(leaf) => {
            let page = anonymous_page(kernel, mm, address);
            kernel.unlock::<M>(me, LockId::Leaf(leaf));
            page
        }
        None => None,
    };
    kernel.unlock::<M>(me, sem);
    Ok(page)
}

/// Forgets a place; its node, too, if that turns out to be stale.
pub(super) fn forget<M: Mode>(kernel: &mut Kernel, me: Me, item: RmapItemId) -> Result<(), LockId> {
    take_off_tree::<M>(kernel, me, item)?;
    kernel.ksm.drop_item(item);
    Ok(())
}

/// Takes a place off its node (`remove_rmap_item_from_tree`). Who walks the places of a page keeps
/// it locked; nothing has changed then.
pub(super) fn take_off_tree<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    item: RmapItemId,
) -> Result<(), LockId> {
    let Some(node) = kernel.ksm.items[item].node else { return Ok(()) };
    let Some(page) = stable::get_page(kernel, node) else { return Ok(()) };
    let is_locked = kernel.try_lock_page::<M>(me, page);
    if is_locked {
        kernel.ksm.detach(item);
        kernel.unlock_page::<M>(me, page);
    }
    kernel.put_page(page);
    if is_locked {
        return Ok(());
    }
    let is_free = kernel.page_is_unlocked::<M>(me, page);
    debug_assert!(!is_free, "page {page} was locked a moment ago");
    Err(LockId::Page(page))
}
