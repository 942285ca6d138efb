//! `do_swap_page`: a page comes back from swap (supporting-paths 2.5).

use serde::{Deserialize, Serialize};

use super::allocate_for;
use super::copy_on_write::CopyOnWrite;
use super::faulting::Served;
use super::swap_read::SwapRead;
use crate::base::{MappingId, MemcgId, MmId, Pfn, SwapEntry, VmaId};
use crate::filemap::Lookup;
use crate::kernel::{ChargeKind, Kernel};
use crate::pagecache::swapcache;
use crate::state::frame::{Owner, PageFlags};
use crate::state::lock::Want;
use crate::state::lru::{self, ListKind};
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::zone::Counter;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::unmap::{mapcount, writable_if_permitted};

/// How far the page has got.
///
/// ```text
///   phase       holds                  the next advance
///   Looking     nothing                looks for the page in the swap cache
///   Reading     nothing                brings it there
///   Locking     reference              takes its page lock
///   Preparing   reference, page lock   takes a copy instead, if it must, and charges
///   Installing  the same, a charge     maps it, if the entry is as it was; then begins the store
///   Failing     nothing                is the entry as it was?
/// ```
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Looking(Lookup),
    Reading(SwapRead),
    Locking(Pfn),
    Preparing(Pfn),
    Installing(Pfn, Option<MemcgId>),
    Failing,
    Done(Served, Option<CopyOnWrite>),
}

/// One fault on a genuine swap entry.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct SwapIn {
    mm: MmId,
    vma: VmaId,
    address: u64,
    slot: SwapEntry,
    is_write: bool,
    /// Whether it had to be read.
    is_major: bool,
    phase: Phase,
}

impl SwapIn {
    /// A fault at `address` of `vma`, where `slot` is swapped out.
    pub(super) const fn new(
        mm: MmId,
        vma: VmaId,
        address: u64,
        slot: SwapEntry,
        is_write: bool,
    ) -> SwapIn {
        let phase = Phase::Looking(Lookup::new(MappingId::SWAPPER, slot.neutral()));
        SwapIn { mm, vma, address, slot, is_write, is_major: false, phase }
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Looking(lookup) => lookup.labels(),
            Phase::Reading(read) => read.labels(),
            Phase::Locking(_) => &["SP2.5-3"],
            Phase::Preparing(_) => &["SP2.5-4", "SP2.5-5"],
            Phase::Installing(..) if self.is_write => &["SP2.5-6", "SP2.5-7", "SP2.4-1", "SP2.4-2"],
            Phase::Installing(..) => &["SP2.5-6", "SP2.5-7"],
            Phase::Failing => &["SP2.5-2-failed"],
            Phase::Done(..) => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub(super) fn held_pages(&self) -> [Option<Pfn>; 2] {
        match &self.phase {
            Phase::Looking(lookup) => [lookup.held_page(), None],
            Phase::Reading(read) => [read.held_page(), None],
            Phase::Locking(page) | Phase::Preparing(page) | Phase::Installing(page, _) => {
                [Some(*page), None]
            }
            Phase::Failing | Phase::Done(..) => [None, None],
        }
    }

    /// How it ended, and the store that goes on where it has not been satisfied (step 8). Only once
    /// done.
    pub(super) fn ended(&self) -> (Served, Option<CopyOnWrite>) {
        match self.phase {
            Phase::Done(served, store) => (served, store),
            _ => unreachable!("asked before the page was back"),
        }
    }

    /// Makes one step.
    #[inline(never)]
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Looking(lookup) => match lookup.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let found = lookup.found();
                        let read = || Phase::Reading(SwapRead::new(self.slot));
                        self.phase = found.map_or_else(read, Phase::Locking);
                    }
                    other => return other,
                },
                Phase::Reading(read) => {
                    match read.advance::<M>(kernel, me, self.vma, self.address) {
                        Progress::Done => {
                            self.is_major = true;
                            self.phase = read.page().map_or(Phase::Failing, Phase::Locking);
                        }
                        other => return other,
                    }
                }
                &mut Phase::Locking(page) => {
                    if !kernel.lock_page::<M>(me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                    self.phase = Phase::Preparing(page);
                }
                &mut Phase::Preparing(page) => self.phase = self.prepare::<M>(kernel, me, page),
                &mut Phase::Installing(page, charge) => {
                    match self.install::<M>(kernel, me, page, charge) {
                        Ok((served, store)) => self.phase = Phase::Done(served, store),
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::Failing => match self.fail::<M>(kernel, me) {
                    Ok(served) => self.phase = Phase::Done(served, None),
                    Err(lock) => return Progress::Waiting(lock),
                },
                Phase::Done(..) => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done(..)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Points 4 and 5, with the page locked: a copy, where this page belongs to somebody else, and
    /// the charge.
    fn prepare<M: Mode>(&self, kernel: &mut Kernel, me: Me, found: Pfn) -> Phase {
        let mut page = found;
        if self.belongs_elsewhere(kernel, found) {
            let copy = self.copy::<M>(kernel, me, found);
            kernel.put_page(found);
            match copy {
                Some(copy) => page = copy,
                None => return Phase::Done(Served::OutOfMemory, None),
            }
        }
        match kernel.try_charge(me) {
            Ok(charge) => Phase::Installing(page, charge),
            Err(_) => {
                kernel.unlock_page::<M>(me, page);
                kernel.put_page(page);
                Phase::Done(Served::OutOfMemory, None)
            }
        }
    }

    /// Whether the page is known under another list or index (`ksm_might_need_to_copy`). One that
    /// belongs to nothing, or to KSM, is not.
    fn belongs_elsewhere(&self, kernel: &Kernel, page: Pfn) -> bool {
        let frame = &kernel.frames[page];
        let Owner::Anon(list) = frame.owner() else { return false };
        let area = &kernel.vmas[self.vma];
        area.anon_vma != Some(list) || frame.index() != area.linear_index(self.address)
    }

    /// A fresh private copy, locked; the original is unlocked. None, if there is no frame.
    fn copy<M: Mode>(&self, kernel: &mut Kernel, me: Me, original: Pfn) -> Option<Pfn> {
        kernel.unlock_page::<M>(me, original);
        let copy = allocate_for(kernel, me, self.vma, self.address)?;
        kernel.contents.copy(original, copy);
        kernel.cost.cow_copies += 1;
        let valid = PageFlags::DIRTY | PageFlags::UPTODATE | PageFlags::SWAPBACKED;
        kernel.frames[copy].set(valid);
        assert!(kernel.try_lock_page::<M>(me, copy), "a new page is unlocked");
        let flags = kernel.vmas[self.vma].flags;
        let is_mlocked = flags.contains(VmFlags::LOCKED) && !flags.intersects(VmFlags::UNLOCKABLE);
        let Kernel { frames, zones, lru, .. } = kernel;
        if is_mlocked {
            frames[copy].set(PageFlags::MLOCKED);
            zones.counters_of(copy).add(Counter::Mlock, 1);
            lru::add_unevictable(frames, zones, lru, copy);
        } else {
            lru.add(frames, zones, me.cpu, copy, ListKind::ActiveAnon);
        }
        Some(copy)
    }

    /// Points 6 and 7. The look-up's reference becomes the entry's.
    fn install<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        page: Pfn,
        charge: Option<MemcgId>,
    ) -> Result<(Served, Option<CopyOnWrite>), LockId> {
        let root = kernel.mms[self.mm].root;
        let leaf = kernel.tables.leaf_of(root, self.address).expect("tables of a used area stay");
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        let at = leaf_index(self.address);
        let is_as_it_was = kernel.tables.get(leaf, at) == Entry::swap(self.slot);
        if !is_as_it_was || !kernel.frames[page].has(PageFlags::UPTODATE) {
            kernel.unlock::<M>(me, LockId::Leaf(leaf));
            kernel.cancel_charge(charge);
            kernel.unlock_page::<M>(me, page);
            kernel.put_page(page);
            return Ok((
                if is_as_it_was { Served::BusError } else { self.served(Served::Nothing) },
                None,
            ));
        }
        kernel.mms[self.mm].resident.anon += 1;
        kernel.mms[self.mm].resident.swap -= 1;
        let mut entry = Entry::page(page, kernel.vmas[self.vma].protection);
        let is_satisfied = self.is_write && swapcache::reuse_swap_page(kernel, page);
        if is_satisfied {
            entry = entry.with(Entry::DIRTY | writable_if_permitted(kernel, self.vma));
        }
        kernel.tables.set(leaf, at, entry);
        mapcount::add_anon(kernel, page, self.vma, self.address);
        // A merged page comes back where its slot was, which KSM may never have looked at (step 4).
        if let Owner::Ksm(Some(node)) = kernel.frames[page].owner() {
            kernel.ksm.note_stray(node, self.address);
        }
        kernel.commit_charge(charge, page, ChargeKind::Mapped);
        kernel.swaps.free(self.slot);
        kernel.forget_free_slot(self.slot);
        let is_locked = kernel.vmas[self.vma].flags.contains(VmFlags::LOCKED);
        if kernel.swaps.is_full() || is_locked || kernel.frames[page].has(PageFlags::MLOCKED) {
            swapcache::try_to_free_swap(kernel, page);
        }
        kernel.unlock_page::<M>(me, page);
        let store = if self.is_write && !is_satisfied {
            // Step 8: nobody gets at the leaf in between.
            let mut store = CopyOnWrite::new(self.vma, self.address, leaf, entry);
            store.begin::<M>(kernel, me);
            Some(store)
        } else {
            kernel.unlock::<M>(me, LockId::Leaf(leaf));
            None
        };
        Ok((self.served(Served::Minor), store))
    }

    /// A fault that had to read is a major one, even if it then found nothing to do.
    const fn served(&self, otherwise: Served) -> Served {
        if self.is_major { Served::Major } else { otherwise }
    }

    /// The page could not be had: no memory, unless somebody else has brought it back.
    fn fail<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Result<Served, LockId> {
        let root = kernel.mms[self.mm].root;
        let leaf = kernel.tables.leaf_of(root, self.address).expect("tables of a used area stay");
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        let is_as_it_was =
            kernel.tables.get(leaf, leaf_index(self.address)) == Entry::swap(self.slot);
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        Ok(if is_as_it_was { Served::OutOfMemory } else { Served::Nothing })
    }
}
