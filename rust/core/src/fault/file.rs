//! `__do_fault`: nothing is there yet, and the area maps a file (supporting-paths 2.3).

use serde::{Deserialize, Serialize};

use super::allocate_for;
use super::faulting::{Served, prepare_list};
use crate::base::{Pfn, TableId, VmaId};
use crate::filemap::{PageIn, PageInError, PagedIn};
use crate::kernel::{ChargeKind, Kernel};
use crate::pagecache::dirty;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::unmap::{mapcount, writable_if_permitted};

/// How far the fault has got. From `Copying` on, the file's page is referenced and, but for
/// `Noticing`, locked.
///
/// ```text
///   phase       holds                        the next advance
///   Paging      what the fault method holds  asks the file for its page
///   Copying     page                         private store: takes a frame and copies
///   Noticing    page, unlocked               shared store: page_mkwrite, then the page lock again
///   Installing  page (and the copy)          maps the page or the copy, if nothing is there still
///   Ending      page, unless it was mapped   dirties it, unlocks it
/// ```
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Paging(PageIn),
    Copying(Pfn),
    Noticing(Pfn),
    Installing { page: Pfn, copy: Option<Pfn> },
    Ending { page: Pfn, mapped: Mapped, served: Served },
    Done(Served),
}

/// What was mapped, which says what becomes of the reference to the file's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Mapped {
    /// The page, for a load: the entry has the reference now.
    Clean,
    /// The page, for a store: an extra reference lasts until it is dirty.
    Dirtied,
    /// A private copy, or nothing.
    Other,
}

/// One fault on an empty entry of an area that maps a file.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct FileFault {
    vma: VmaId,
    address: u64,
    leaf: TableId,
    is_write: bool,
    is_major: bool,
    phase: Phase,
}

impl FileFault {
    /// A fault at `address` of `vma`, whose entry is in `leaf` and was empty; none if the area maps no
    /// file.
    pub(super) fn new(
        kernel: &Kernel,
        vma: VmaId,
        address: u64,
        leaf: TableId,
        is_write: bool,
    ) -> Option<FileFault> {
        let area = &kernel.vmas[vma];
        let phase = Phase::Paging(PageIn::new(area.file?, area.linear_index(address)));
        Some(FileFault { vma, address, leaf, is_write, is_major: false, phase })
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Paging(page_in) => page_in.labels(),
            Phase::Copying(_) => &["SP2.3-3"],
            Phase::Noticing(_) => &["SP2.3-3-mkwrite"],
            Phase::Installing { .. } => &["SP2.3-4"],
            Phase::Ending { .. } => &["SP2.3-5"],
            Phase::Done(_) => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub(super) fn held_pages(&self) -> [Option<Pfn>; 2] {
        match &self.phase {
            Phase::Paging(page_in) => [page_in.held_page(), None],
            Phase::Copying(page) | Phase::Noticing(page) => [Some(*page), None],
            Phase::Installing { page, copy } => [Some(*page), *copy],
            Phase::Ending { mapped: Mapped::Clean, .. } | Phase::Done(_) => [None, None],
            Phase::Ending { page, .. } => [Some(*page), None],
        }
    }

    /// How it ended. Only once done.
    pub(super) fn served(&self) -> Served {
        match self.phase {
            Phase::Done(served) => served,
            _ => unreachable!("asked before the fault was done"),
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Paging(page_in) => match page_in.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let result = page_in.result();
                        self.take_in::<M>(kernel, me, result);
                    }
                    other => return other,
                },
                Phase::Copying(page) => {
                    let page = *page;
                    if let Err(lock) = self.copy::<M>(kernel, me, page) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Noticing(page) => {
                    let page = *page;
                    if !kernel.lock_page::<M>(me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                    // Cut off the file meanwhile: the access tries again.
                    if kernel.frames[page].is_unowned() {
                        self.give_up::<M>(kernel, me, page, Served::Nothing);
                    } else {
                        self.phase = Phase::Installing { page, copy: None };
                    }
                }
                Phase::Installing { page, copy } => {
                    let (page, copy, lock) = (*page, *copy, LockId::Leaf(self.leaf));
                    if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                        return Progress::Waiting(lock);
                    }
                    self.install(kernel, me, page, copy);
                    kernel.unlock::<M>(me, lock);
                }
                Phase::Ending { page, mapped, served } => {
                    let (page, mapped, served) = (*page, *mapped, *served);
                    if mapped == Mapped::Dirtied {
                        dirty::set_page_dirty(kernel, page);
                    }
                    kernel.unlock_page::<M>(me, page);
                    if mapped != Mapped::Clean {
                        kernel.put_page(page);
                    }
                    self.phase = Phase::Done(served);
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

    /// The page is there, locked; who stores copies it first, or tells the file.
    fn take_in<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        result: Result<PagedIn, PageInError>,
    ) {
        let PagedIn { page, is_major } = match result {
            Ok(paged_in) => paged_in,
            Err(PageInError::BusError) => return self.phase = Phase::Done(Served::BusError),
            Err(PageInError::NoMemory) => return self.phase = Phase::Done(Served::OutOfMemory),
        };
        self.is_major = is_major;
        let area = &kernel.vmas[self.vma];
        self.phase = if !self.is_write {
            Phase::Installing { page, copy: None }
        } else if !area.flags.contains(VmFlags::SHARED) {
            Phase::Copying(page)
        } else if has_page_mkwrite(kernel, self.vma) {
            kernel.unlock_page::<M>(me, page);
            Phase::Noticing(page)
        } else {
            Phase::Installing { page, copy: None }
        };
    }

    /// Step 3: a private copy of the page, charged to the task.
    fn copy<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<(), LockId> {
        prepare_list::<M>(kernel, me, self.vma)?;
        let Some(copy) = allocate_for(kernel, me, self.vma, self.address) else {
            self.give_up::<M>(kernel, me, page, Served::OutOfMemory);
            return Ok(());
        };
        if kernel.charge(me, copy, ChargeKind::Mapped).is_err() {
            kernel.put_page(copy);
            self.give_up::<M>(kernel, me, page, Served::OutOfMemory);
            return Ok(());
        }
        if kernel.vmas[self.vma].flags.contains(VmFlags::LOCKED) {
            kernel.clear_mlocked(me.cpu, page);
        }
        kernel.contents.copy(page, copy);
        kernel.cost.cow_copies += 1;
        kernel.frames[copy].set(PageFlags::UPTODATE);
        self.phase = Phase::Installing { page, copy: Some(copy) };
        Ok(())
    }

    /// Unlocks and drops the file's page.
    fn give_up<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn, served: Served) {
        kernel.unlock_page::<M>(me, page);
        kernel.put_page(page);
        self.phase = Phase::Done(served);
    }

    /// Step 4, with page and leaf locked.
    fn install(&mut self, kernel: &mut Kernel, me: Me, page: Pfn, copy: Option<Pfn>) {
        let at = leaf_index(self.address);
        if !kernel.tables.get(self.leaf, at).is_none() {
            if let Some(copy) = copy {
                kernel.uncharge_unmapped(copy);
                kernel.put_page(copy);
            }
            let served = if self.is_major { Served::Major } else { Served::Nothing };
            self.phase = Phase::Ending { page, mapped: Mapped::Other, served };
            return;
        }
        let area = &kernel.vmas[self.vma];
        let (mm, protection) = (area.mm, area.protection);
        let written =
            if self.is_write { Entry::DIRTY | writable_if_permitted(kernel, self.vma) } else { 0 };
        let mapped = match copy {
            Some(copy) => {
                kernel.mms[mm].resident.anon += 1;
                mapcount::add_new_anon(kernel, me.cpu, copy, self.vma, self.address);
                Mapped::Other
            }
            None => {
                kernel.mms[mm].resident.file += 1;
                mapcount::add_file(kernel, page);
                if self.is_write {
                    kernel.frames[page].get();
                    Mapped::Dirtied
                } else {
                    Mapped::Clean
                }
            }
        };
        let entry = Entry::page(copy.unwrap_or(page), protection | written);
        kernel.tables.set(self.leaf, at, entry);
        let served = if self.is_major { Served::Major } else { Served::Minor };
        self.phase = Phase::Ending { page, mapped, served };
    }
}

/// Whether the operations of the area's file include `page_mkwrite`. What it does in the model is to
/// let the page be unlocked meanwhile.
pub(super) fn has_page_mkwrite(kernel: &Kernel, vma: VmaId) -> bool {
    kernel.vmas[vma].file.is_some_and(|file| kernel.mappings[file].kind.has_page_mkwrite)
}
