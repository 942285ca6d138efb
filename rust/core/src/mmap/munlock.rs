//! Taking VM_LOCKED off an area, page by page (supporting-paths 15).

use crate::base::{MmId, PAGE_SIZE, Pfn};
use crate::fault::{Follow, follow_page_locked};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::state::lock::Want;
use crate::state::lru;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{leaf_index, leaf_span_end};
use crate::state::zone::Counter;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// The pages of one area that is VM_LOCKED no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Munlock {
    mm: MmId,
    next: u64,
    end: u64,
    has_drained: bool,
    page: Option<Pfn>,
}

impl Munlock {
    /// Will visit the present pages of `start..end`, under the caller's `mmap_sem`.
    pub(super) const fn new(mm: MmId, start: u64, end: u64) -> Munlock {
        Munlock { mm, next: start, end, has_drained: false, page: None }
    }

    pub(super) const fn labels(&self) -> &'static [Label] {
        &["SP15-munlock"]
    }

    /// The page that it holds a reference to.
    pub(super) const fn held_page(&self) -> Option<Pfn> {
        self.page
    }

    /// Makes one step: one page, at most.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        if !std::mem::replace(&mut self.has_drained, true) {
            kernel.drain(me.cpu);
        }
        loop {
            if let Some(page) = self.page {
                if !kernel.lock_page::<M>(me, page) {
                    return Progress::Waiting(LockId::Page(page));
                }
                if !kernel.frames[page].is_unowned() {
                    if let Err(lock) = munlock_page::<M>(kernel, me, page) {
                        kernel.unlock_page::<M>(me, page);
                        return Progress::Waiting(lock);
                    }
                }
                kernel.unlock_page::<M>(me, page);
                kernel.put_page(page);
                self.page = None;
                self.next += PAGE_SIZE;
            } else if self.next == self.end {
                return Progress::Done;
            } else {
                // Migration entries and the zero page are passed over (S38).
                let root = kernel.mms[self.mm].root;
                if kernel.tables.find_leaf(root, self.next).is_none() {
                    self.next = leaf_span_end(self.next).min(self.end);
                    continue;
                }
                let how = Follow { get: true, dump: true, ..Follow::default() };
                match follow_page_locked::<M>(kernel, me, self.mm, self.next, how) {
                    Ok(Ok(Some(page))) => self.page = Some(page),
                    Ok(_) => self.next += PAGE_SIZE,
                    Err(lock) => return Progress::Waiting(lock),
                }
                continue;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }
}

/// `munlock_vma_page`: the page is evictable again, unless another VM_LOCKED area maps it.
///
/// # Errors
/// The lock to wait for, if somebody walks the page's areas; nothing has changed then.
pub(crate) fn munlock_page<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<(), LockId> {
    if !kernel.frames[page].has(PageFlags::MLOCKED) {
        return Ok(());
    }
    if let Owner::Anon(list) = kernel.frames[page].owner() {
        if !kernel.lock::<M>(me, LockId::AnonVma(list), Want::Exclusive) {
            return Err(LockId::AnonVma(list));
        }
        kernel.unlock::<M>(me, LockId::AnonVma(list));
    }
    kernel.frames[page].clear(PageFlags::MLOCKED);
    kernel.zones.counters_of(page).add(Counter::Mlock, -1);
    let Kernel { frames, zones, lru, .. } = kernel;
    if lru::isolate(frames, zones, lru, page).is_ok() {
        if is_locked_elsewhere::<M>(kernel, me, page) {
            kernel.frames[page].set(PageFlags::MLOCKED);
            kernel.zones.counters_of(page).add(Counter::Mlock, 1);
        }
        kernel.put_back(me.cpu, page);
    }
    Ok(())
}

/// `try_to_munlock`: whether an entry in a VM_LOCKED area maps the page, of an address space whose
/// `mmap_sem` can be had for reading without waiting.
fn is_locked_elsewhere<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> bool {
    let Owner::Anon(list) = kernel.frames[page].owner() else {
        return false;
    };
    if !kernel.frames[page].is_mapped() {
        return false;
    }
    let index = kernel.frames[page].index();
    kernel.anon_vmas.areas(list).iter().any(|&id| {
        let vma = &kernel.vmas[id];
        let root = kernel.mms[vma.mm].root;
        let is_mapped_here = vma.address_of(index).is_some_and(|address| {
            let leaf = kernel.tables.find_leaf(root, address);
            let entry = leaf.map(|leaf| kernel.tables.get(leaf, leaf_index(address)));
            entry.is_some_and(|entry| entry.is_present() && entry.pfn() == page)
        });
        let sem_is_free = || !M::STEPS || kernel.locks.may_share(LockId::MmapSem(vma.mm), me.call);
        is_mapped_here && vma.flags.contains(VmFlags::LOCKED) && sem_is_free()
    })
}
