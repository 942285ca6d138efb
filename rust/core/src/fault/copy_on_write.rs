//! `do_wp_page`: a store to a page that is mapped read-only.

use super::allocate_for;
use super::faulting::{Served, prepare_list};
use crate::base::{Pfn, TableId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::state::lock::Want;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::unmap::{mapcount, writable_if_permitted};

/// How far the store has got.
///
/// ```text
///   phase      holds                            the next advance
///   Sleeping   reference to the old page        takes its page lock
///   Comparing  reference, page lock             compares the entry, then reuses or copies
///   Copying    reference (if there is a page)   takes a frame and copies
///   Munlocking reference, new page              clears PG_mlocked of the old page
///   Installing reference, new page              maps the copy, if the entry is as it was
/// ```
#[derive(Clone, Copy, Debug)]
enum Phase {
    Sleeping(Pfn),
    Comparing(Pfn),
    Copying(Option<Pfn>),
    Munlocking { old: Pfn, new: Pfn },
    Installing { old: Option<Pfn>, new: Pfn },
    Done(Served),
}

/// One broken copy-on-write.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyOnWrite {
    vma: VmaId,
    address: u64,
    leaf: TableId,
    /// The entry that faulted. Any change, in any bit, sends the access back (supporting-paths 2.4).
    seen: Entry,
    phase: Phase,
}

impl CopyOnWrite {
    /// A store through `seen`, which is present and not writable.
    pub(super) const fn new(vma: VmaId, address: u64, leaf: TableId, seen: Entry) -> CopyOnWrite {
        CopyOnWrite { vma, address, leaf, seen, phase: Phase::Copying(None) }
    }

    /// The steps that the next advance makes.
    pub(super) const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Sleeping(_) | Phase::Comparing(_) => &["SP2.4-2", "SP2.4-4"],
            Phase::Copying(_) => &["SP2.4-5"],
            Phase::Munlocking { .. } => &["SP2.4-5-mlocked"],
            Phase::Installing { .. } => &["SP2.4-5-install"],
            Phase::Done(_) => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub(super) const fn held_pages(&self) -> [Option<Pfn>; 2] {
        match self.phase {
            Phase::Sleeping(old) | Phase::Comparing(old) => [Some(old), None],
            Phase::Copying(old) => [old, None],
            Phase::Munlocking { old, new } => [Some(old), Some(new)],
            Phase::Installing { old, new } => [old, Some(new)],
            Phase::Done(_) => [None, None],
        }
    }

    /// How it ended, once it has.
    pub(super) const fn ended(&self) -> Option<Served> {
        match self.phase {
            Phase::Done(served) => Some(served),
            _ => None,
        }
    }

    /// Points 1 and 2, in the step of the caller, which has the leaf locked; gives that back.
    pub(super) fn begin<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        match self.seen.normal_page() {
            // The zero page in an area that is private, as all anonymous ones are.
            None => self.phase = Phase::Copying(None),
            Some(page) if kernel.try_lock_page::<M>(me, page) => {
                self.reuse_or_copy::<M>(kernel, me, page);
            }
            Some(page) => {
                kernel.frames[page].get();
                self.phase = Phase::Sleeping(page);
            }
        }
        kernel.unlock::<M>(me, LockId::Leaf(self.leaf));
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match self.phase {
                Phase::Sleeping(page) => {
                    if !kernel.lock_page::<M>(me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                    self.phase = Phase::Comparing(page);
                }
                Phase::Comparing(page) => {
                    if !kernel.lock::<M>(me, LockId::Leaf(self.leaf), Want::Exclusive) {
                        return Progress::Waiting(LockId::Leaf(self.leaf));
                    }
                    self.compare::<M>(kernel, me, page);
                    kernel.unlock::<M>(me, LockId::Leaf(self.leaf));
                }
                Phase::Copying(old) => {
                    if let Err(lock) = self.copy::<M>(kernel, me, old) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Munlocking { old, new } => {
                    if !kernel.lock_page::<M>(me, old) {
                        return Progress::Waiting(LockId::Page(old));
                    }
                    kernel.clear_mlocked(me.cpu, old);
                    kernel.unlock_page::<M>(me, old);
                    self.phase = Phase::Installing { old: Some(old), new };
                }
                Phase::Installing { old, new } => {
                    if !kernel.lock::<M>(me, LockId::Leaf(self.leaf), Want::Exclusive) {
                        return Progress::Waiting(LockId::Leaf(self.leaf));
                    }
                    self.install(kernel, me, old, new);
                    kernel.unlock::<M>(me, LockId::Leaf(self.leaf));
                }
                Phase::Done(_) => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done(_)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// After sleeping on the page lock: the entry must be the same in every bit.
    fn compare<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) {
        let is_same = kernel.tables.get(self.leaf, leaf_index(self.address)) == self.seen;
        if !is_same {
            kernel.unlock_page::<M>(me, page);
        }
        kernel.put_page(page);
        if is_same {
            self.reuse_or_copy::<M>(kernel, me, page);
        } else {
            self.phase = Phase::Done(Served::Nothing);
        }
    }

    /// `reuse_swap_page` and point 4, with page and leaf locked: the only mapper keeps the page.
    fn reuse_or_copy<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) {
        let may_reuse = kernel.frames[page].mapcount() <= 1;
        if may_reuse {
            let own =
                kernel.vmas[self.vma].anon_vma.expect("an area with anonymous pages has a list");
            kernel.frames[page].set_owner(Owner::Anon(own));
        }
        kernel.unlock_page::<M>(me, page);
        self.phase = if may_reuse {
            let writable = writable_if_permitted(kernel, self.vma);
            let entry = self.seen.with(Entry::ACCESSED | Entry::DIRTY | writable);
            kernel.tables.set(self.leaf, leaf_index(self.address), entry);
            Phase::Done(Served::CopyOnWrite)
        } else {
            kernel.frames[page].get();
            Phase::Copying(Some(page))
        };
    }

    /// Point 5 up to the copy: a frame by policy with the old page's bytes, or zeroes.
    fn copy<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        old: Option<Pfn>,
    ) -> Result<(), LockId> {
        prepare_list::<M>(kernel, me, self.vma)?;
        let Some(new) = allocate_for(kernel, me, self.vma, self.address) else {
            if let Some(old) = old {
                kernel.put_page(old);
            }
            self.phase = Phase::Done(Served::OutOfMemory);
            return Ok(());
        };
        match old {
            Some(old) => kernel.contents.copy(old, new),
            None => kernel.contents.clear(new),
        }
        kernel.cost.cow_copies += 1;
        kernel.frames[new].set(PageFlags::UPTODATE);
        let is_mlocked = kernel.vmas[self.vma].flags.contains(VmFlags::LOCKED);
        self.phase = match old {
            Some(old) if is_mlocked => Phase::Munlocking { old, new },
            _ => Phase::Installing { old, new },
        };
        Ok(())
    }

    /// Point 5, the rest, with the leaf locked.
    fn install(&mut self, kernel: &mut Kernel, me: Me, old: Option<Pfn>, new: Pfn) {
        let at = leaf_index(self.address);
        if kernel.tables.get(self.leaf, at) == self.seen {
            let area = &kernel.vmas[self.vma];
            let (mm, protection) = (area.mm, area.protection);
            if old.is_none() {
                kernel.mms[mm].resident.anon += 1;
            }
            let bits = protection | Entry::DIRTY | writable_if_permitted(kernel, self.vma);
            mapcount::add_new_anon(kernel, me.cpu, new, self.vma, self.address);
            kernel.tables.set(self.leaf, at, Entry::page(new, bits));
            kernel.cost.flushes += 1;
            if let Some(old) = old {
                mapcount::remove(kernel, old);
                kernel.put_page(old);
            }
        } else {
            kernel.put_page(new);
        }
        if let Some(old) = old {
            kernel.put_page(old);
        }
        self.phase = Phase::Done(Served::CopyOnWrite);
    }
}
