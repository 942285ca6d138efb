//! Taking VM_LOCKED off an area, page by page (supporting-paths 15).

use serde::{Deserialize, Serialize};

use crate::base::{AnonVmaId, MmId, PAGE_SIZE, Pfn, VmaId};
use crate::fault::{Follow, follow_page_locked};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::state::lock::Want;
use crate::state::lru;
use crate::state::mm::VmFlags;
use crate::state::pagetable::leaf_span_end;
use crate::state::rmap::areas_of_page;
use crate::state::zone::Counter;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// The pages of one area that is VM_LOCKED no more.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Munlock {
    mm: MmId,
    next: u64,
    end: u64,
    has_fault_method: bool,
    /// Whether the caller has `mmap_sem` for writing: not when the memory is torn down.
    is_held: bool,
    has_drained: bool,
    page: Option<Pfn>,
    /// The page is locked and isolated, and nobody has asked yet who else keeps it.
    is_searching: bool,
}

impl Munlock {
    /// Will visit the present pages of `start..end`, a part of one area, under the caller's
    /// `mmap_sem` for writing (`is_held`), or with nobody left to ask for it.
    pub(super) fn new(kernel: &Kernel, mm: MmId, start: u64, end: u64, is_held: bool) -> Munlock {
        let area = kernel.mms[mm].area_at(&kernel.vmas, start);
        let has_fault_method = area.is_some_and(|id| kernel.vmas[id].file.is_some());
        let (has_drained, page, is_searching) = (false, None, false);
        Munlock { mm, next: start, end, has_fault_method, is_held, has_drained, page, is_searching }
    }

    pub(super) const fn labels(&self) -> &'static [Label] {
        if self.is_searching { &["SP15-search"] } else { &["SP15-munlock"] }
    }

    /// Pages that it holds one reference each to: the one in hand, and again while that is isolated.
    pub(super) fn held_pages(&self) -> Vec<Pfn> {
        let isolated = self.page.filter(|_| self.is_searching);
        self.page.into_iter().chain(isolated).collect()
    }

    /// Makes one step: one page, at most.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        if !std::mem::replace(&mut self.has_drained, true) {
            kernel.drain(me.cpu);
        }
        loop {
            if let Some(page) = self.page {
                if !self.is_searching {
                    if !kernel.lock_page::<M>(me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                    self.is_searching =
                        !kernel.frames[page].is_unowned() && clear_mlocked(kernel, page);
                }
                if self.is_searching {
                    let held = self.is_held.then_some(self.mm);
                    if let Err(lock) = keep_if_locked_elsewhere::<M>(kernel, me, page, held) {
                        return Progress::Waiting(lock);
                    }
                    self.is_searching = false;
                }
                kernel.unlock_page::<M>(me, page);
                kernel.put_page(page);
                self.page = None;
                self.next += PAGE_SIZE;
                if kernel.pauses::<M>(1) {
                    return Progress::Ran;
                }
            } else if self.next == self.end {
                return Progress::Done;
            } else {
                // Migration entries and the zero page are passed over (S38).
                let root = kernel.mms[self.mm].root;
                if kernel.tables.find_leaf(root, self.next).is_none() {
                    self.next = leaf_span_end(self.next).min(self.end);
                    if kernel.pauses::<M>(1) {
                        return Progress::Ran;
                    }
                    continue;
                }
                let has_fault_method = self.has_fault_method;
                let how = Follow { get: true, dump: true, has_fault_method, ..Follow::default() };
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

/// `munlock_vma_page`, first half, of a locked page: PG_mlocked is cleared. Returns whether the page
/// could be isolated then; if not, whoever has it isolated puts it back by its flags.
pub(crate) fn clear_mlocked(kernel: &mut Kernel, page: Pfn) -> bool {
    if !kernel.frames[page].has(PageFlags::MLOCKED) {
        return false;
    }
    kernel.frames[page].clear(PageFlags::MLOCKED);
    kernel.zones.counters_of(page).add(Counter::Mlock, -1);
    let Kernel { frames, zones, lru, .. } = kernel;
    lru::isolate(frames, zones, lru, page).is_ok()
}

/// Second half, of the locked page that the first isolated: it is evictable again, unless another
/// VM_LOCKED area maps it.
///
/// # Errors
/// The lock to wait for, if somebody walks the page's areas; nothing has changed then.
pub(crate) fn keep_if_locked_elsewhere<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    page: Pfn,
    held: Option<MmId>,
) -> Result<(), LockId> {
    walk_is_free::<M>(kernel, me, page)?;
    if is_locked_elsewhere::<M>(kernel, me, page, held) {
        kernel.frames[page].set(PageFlags::MLOCKED);
        kernel.zones.counters_of(page).add(Counter::Mlock, 1);
    }
    kernel.put_back(me.cpu, page);
    Ok(())
}

/// Whether nobody else is inside a list that a walk over the page's mappers goes along; otherwise the
/// lock to wait for. The walk is one step, so the locks need not be kept.
fn walk_is_free<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<(), LockId> {
    if !M::STEPS {
        return Ok(());
    }
    let locks: Vec<LockId> = match kernel.frames[page].owner() {
        Owner::Anon(list) => vec![LockId::AnonVma(list)],
        Owner::File(file) => vec![LockId::FileMap(file)],
        Owner::Ksm(_) => {
            let lists = ksm_items(kernel, page).filter_map(|(_, _, list)| list);
            lists.map(LockId::AnonVma).collect()
        }
        Owner::None => Vec::new(),
    };
    for lock in locks {
        if !kernel.lock::<M>(me, lock, Want::Exclusive) {
            return Err(lock);
        }
        kernel.unlock::<M>(me, lock);
    }
    Ok(())
}

/// `try_to_munlock`: whether an entry in a VM_LOCKED area maps the page, of an address space whose
/// `mmap_sem` can be had for reading without waiting.
fn is_locked_elsewhere<M: Mode>(kernel: &Kernel, me: Me, page: Pfn, held: Option<MmId>) -> bool {
    mappers(kernel, page).into_iter().any(|(id, address)| {
        let vma = &kernel.vmas[id];
        let entry = kernel.tables.entry(kernel.mms[vma.mm].root, address);
        let is_mapped_here = entry.is_present() && entry.pfn() == page;
        let sem_is_free = || !M::STEPS || kernel.locks.may_share(LockId::MmapSem(vma.mm), me.call);
        let is_asked = held != Some(vma.mm) && sem_is_free();
        is_mapped_here && vma.flags.contains(VmFlags::LOCKED) && is_asked
    })
}

/// Where the page could be mapped, in the order of a walk over its reverse map.
fn mappers(kernel: &Kernel, page: Pfn) -> Vec<(VmaId, u64)> {
    let frame = &kernel.frames[page];
    let (vmas, index) = (&kernel.vmas, frame.index());
    match frame.owner() {
        // The list is asked for only if the page is mapped: it may be a tombstone (Q26).
        Owner::Anon(list) if frame.is_mapped() => {
            kernel.anon_vmas.areas_of_page(list, vmas, index).collect()
        }
        Owner::File(file) => areas_of_page(&kernel.mappings[file], vmas, index).collect(),
        Owner::Ksm(_) => ksm_mappers(kernel, page),
        Owner::Anon(_) | Owner::None => Vec::new(),
    }
}

/// The two rounds over the places of a merged page: areas of an item's own memory first, then those
/// that fork made of them.
fn ksm_mappers(kernel: &Kernel, page: Pfn) -> Vec<(VmaId, u64)> {
    let mut places = Vec::new();
    for is_own_round in [true, false] {
        for (mm, address, list) in ksm_items(kernel, page) {
            let areas = list.map_or(&[][..], |list| kernel.anon_vmas.areas(list));
            let fits = |id: &&VmaId| {
                let vma = &kernel.vmas[**id];
                vma.contains(address) && (vma.mm == mm) == is_own_round
            };
            places.extend(areas.iter().filter(fits).map(|&id| (id, address)));
        }
    }
    places
}

/// The places that KSM put a merged page at: memory, address, list.
fn ksm_items(kernel: &Kernel, page: Pfn) -> impl Iterator<Item = (MmId, u64, Option<AnonVmaId>)> {
    let node = match kernel.frames[page].owner() {
        Owner::Ksm(node) => node,
        _ => None,
    };
    let items = node.map_or(&[][..], |node| &kernel.ksm.nodes[node].items);
    items.iter().map(|&item| {
        let item = &kernel.ksm.items[item];
        (item.mm, item.address & !(PAGE_SIZE - 1), item.anon_vma)
    })
}
