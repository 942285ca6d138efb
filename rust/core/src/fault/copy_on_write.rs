//! `do_wp_page`: a store to a page that is mapped read-only (supporting-paths 2.4).

use serde::{Deserialize, Serialize};

use super::allocate_for;
use super::faulting::{Served, prepare_list};
use super::file::has_page_mkwrite;
use crate::base::{Pfn, TableId, VmaId};
use crate::kernel::{ChargeKind, Kernel};
use crate::pagecache::{dirty, swapcache};
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
///   Noticing   reference to the file's page     page_mkwrite, then its page lock
///   Reopening  reference, page lock             compares the entry, then reuses
///   Dirtying   reference (and page lock)        dirties the file's page
///   Copying    reference (if there is a page)   takes a frame and copies
///   Munlocking reference, new page              clears PG_mlocked of the old page
///   Installing reference, new page              maps the copy, if the entry is as it was
/// ```
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Sleeping(Pfn),
    Comparing(Pfn),
    Noticing(Pfn),
    Reopening(Pfn),
    Dirtying { page: Pfn, is_locked: bool },
    Copying(Option<Pfn>),
    Munlocking { old: Pfn, new: Pfn },
    Installing { old: Option<Pfn>, new: Pfn },
    Done(Served),
}

/// One broken copy-on-write, or the first store to a page of a shared area.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
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
            Phase::Noticing(_) => &["SP2.4-3"],
            Phase::Reopening(_) => &["SP2.4-3-compare", "SP2.4-4"],
            Phase::Dirtying { .. } => &["SP2.4-4-dirty"],
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
            Phase::Noticing(page) | Phase::Reopening(page) | Phase::Dirtying { page, .. } => {
                [Some(page), None]
            }
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

    /// Points 1 to 3, in the step of the caller, which has the leaf locked; gives that back.
    pub(super) fn begin<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        let is_shared = kernel.vmas[self.vma].is_shared_writable();
        match self.seen.normal_page() {
            // The zero page: a private area copies it, a shared one has it written to.
            None if is_shared => {
                self.reuse(kernel);
                self.phase = Phase::Done(Served::CopyOnWrite);
            }
            None => self.phase = Phase::Copying(None),
            Some(page) => {
                let frame = &kernel.frames[page];
                if frame.is_anon() && !frame.is_ksm() {
                    self.begin_anonymous::<M>(kernel, me, page);
                } else {
                    kernel.frames[page].get();
                    self.phase = match is_shared {
                        false => Phase::Copying(Some(page)),
                        true if has_page_mkwrite(kernel, self.vma) => Phase::Noticing(page),
                        true => {
                            self.reuse(kernel);
                            Phase::Dirtying { page, is_locked: false }
                        }
                    };
                }
            }
        }
        kernel.unlock::<M>(me, LockId::Leaf(self.leaf));
    }

    /// Point 2: the page lock, at once or asleep.
    fn begin_anonymous<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) {
        if kernel.try_lock_page::<M>(me, page) {
            self.reuse_or_copy::<M>(kernel, me, page);
        } else {
            kernel.frames[page].get();
            self.phase = Phase::Sleeping(page);
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            if let Err(lock) = self.advance_once::<M>(kernel, me) {
                return Progress::Waiting(lock);
            }
            if matches!(self.phase, Phase::Done(_)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// One phase; or the lock to wait for.
    fn advance_once<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        match self.phase {
            Phase::Sleeping(page) => {
                take_page::<M>(kernel, me, page)?;
                self.phase = Phase::Comparing(page);
            }
            Phase::Comparing(page) => {
                self.take_leaf::<M>(kernel, me)?;
                self.compare::<M>(kernel, me, page);
                kernel.unlock::<M>(me, LockId::Leaf(self.leaf));
            }
            Phase::Noticing(page) => {
                take_page::<M>(kernel, me, page)?;
                // Cut off the file meanwhile: the access tries again.
                if kernel.frames[page].is_unowned() {
                    self.give_up::<M>(kernel, me, page);
                } else {
                    self.phase = Phase::Reopening(page);
                }
            }
            Phase::Reopening(page) => {
                self.take_leaf::<M>(kernel, me)?;
                if self.is_as_seen(kernel) {
                    self.reuse(kernel);
                    self.phase = Phase::Dirtying { page, is_locked: true };
                } else {
                    self.give_up::<M>(kernel, me, page);
                }
                kernel.unlock::<M>(me, LockId::Leaf(self.leaf));
            }
            Phase::Dirtying { page, is_locked } => {
                if !is_locked && !kernel.page_is_unlocked::<M>(me, page) {
                    return Err(LockId::Page(page));
                }
                dirty::set_page_dirty(kernel, page);
                if is_locked {
                    kernel.unlock_page::<M>(me, page);
                }
                kernel.put_page(page);
                self.phase = Phase::Done(Served::CopyOnWrite);
            }
            Phase::Copying(old) => self.copy::<M>(kernel, me, old)?,
            Phase::Munlocking { old, new } => {
                take_page::<M>(kernel, me, old)?;
                kernel.clear_mlocked(me.cpu, old);
                kernel.unlock_page::<M>(me, old);
                self.charge(kernel, me, Some(old), new);
            }
            Phase::Installing { old, new } => {
                self.take_leaf::<M>(kernel, me)?;
                self.install(kernel, me, old, new);
                kernel.unlock::<M>(me, LockId::Leaf(self.leaf));
            }
            Phase::Done(_) => {}
        }
        Ok(())
    }

    fn take_leaf<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        let lock = LockId::Leaf(self.leaf);
        if kernel.lock::<M>(me, lock, Want::Exclusive) { Ok(()) } else { Err(lock) }
    }

    /// Whether the entry is the same in every bit.
    fn is_as_seen(&self, kernel: &Kernel) -> bool {
        kernel.tables.get(self.leaf, leaf_index(self.address)) == self.seen
    }

    /// Unlocks and drops the file's page; the access tries again.
    fn give_up<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) {
        kernel.unlock_page::<M>(me, page);
        kernel.put_page(page);
        self.phase = Phase::Done(Served::Nothing);
    }

    /// After sleeping on the page lock: the entry must be as it was.
    fn compare<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) {
        if self.is_as_seen(kernel) {
            kernel.put_page(page);
            self.reuse_or_copy::<M>(kernel, me, page);
        } else {
            self.give_up::<M>(kernel, me, page);
        }
    }

    /// `reuse_swap_page` and point 4, with page and leaf locked: the only user keeps the page.
    fn reuse_or_copy<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) {
        let frame = &kernel.frames[page];
        let may_reuse = if frame.has(PageFlags::SWAPCACHE) || frame.is_ksm() {
            swapcache::reuse_swap_page(kernel, page)
        } else {
            frame.mapcount() <= 1
        };
        if may_reuse {
            let own =
                kernel.vmas[self.vma].anon_vma.expect("an area with anonymous pages has a list");
            kernel.frames[page].set_owner(Owner::Anon(own));
        }
        kernel.unlock_page::<M>(me, page);
        self.phase = if may_reuse {
            self.reuse(kernel);
            Phase::Done(Served::CopyOnWrite)
        } else {
            kernel.frames[page].get();
            Phase::Copying(Some(page))
        };
    }

    /// Point 4: the entry permits stores from now on, with the leaf locked.
    fn reuse(&self, kernel: &mut Kernel) {
        let writable = writable_if_permitted(kernel, self.vma);
        let entry = self.seen.with(Entry::ACCESSED | Entry::DIRTY | writable);
        kernel.tables.set(self.leaf, leaf_index(self.address), entry);
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
            self.refuse(kernel, old);
            return Ok(());
        };
        match old {
            Some(old) => kernel.contents.copy(old, new),
            None => kernel.contents.clear(new),
        }
        kernel.cost.cow_copies += 1;
        kernel.frames[new].set(PageFlags::UPTODATE);
        match old {
            Some(old) if kernel.vmas[self.vma].flags.contains(VmFlags::LOCKED) => {
                self.phase = Phase::Munlocking { old, new };
            }
            _ => self.charge(kernel, me, old, new),
        }
        Ok(())
    }

    /// The task's group pays for the copy.
    fn charge(&mut self, kernel: &mut Kernel, me: Me, old: Option<Pfn>, new: Pfn) {
        if kernel.memcgs.are_on() && kernel.charge(me, new, ChargeKind::Mapped).is_err() {
            kernel.put_page(new);
            self.refuse(kernel, old);
        } else {
            self.phase = Phase::Installing { old, new };
        }
    }

    /// No frame, or nobody to pay for it.
    fn refuse(&mut self, kernel: &mut Kernel, old: Option<Pfn>) {
        if let Some(old) = old {
            kernel.put_page(old);
        }
        self.phase = Phase::Done(Served::OutOfMemory);
    }

    /// Point 5, the rest, with the leaf locked.
    fn install(&mut self, kernel: &mut Kernel, me: Me, old: Option<Pfn>, new: Pfn) {
        if self.is_as_seen(kernel) {
            let area = &kernel.vmas[self.vma];
            let (mm, protection) = (area.mm, area.protection);
            let resident = &mut kernel.mms[mm].resident;
            match old {
                Some(old) if kernel.frames[old].is_anon() => {}
                Some(_) => {
                    resident.file -= 1;
                    resident.anon += 1;
                }
                None => resident.anon += 1,
            }
            let bits = protection | Entry::DIRTY | writable_if_permitted(kernel, self.vma);
            mapcount::add_new_anon(kernel, me.cpu, new, self.vma, self.address);
            let at = leaf_index(self.address);
            kernel.tables.set(self.leaf, at, Entry::page(new, bits));
            kernel.cost.flushes += 1;
            if let Some(old) = old {
                mapcount::remove(kernel, old);
                kernel.put_page(old);
            }
        } else {
            kernel.uncharge_unmapped(new);
            kernel.put_page(new);
        }
        if let Some(old) = old {
            kernel.put_page(old);
        }
        self.phase = Phase::Done(Served::CopyOnWrite);
    }
}

fn take_page<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<(), LockId> {
    if kernel.lock_page::<M>(me, page) { Ok(()) } else { Err(LockId::Page(page)) }
}
