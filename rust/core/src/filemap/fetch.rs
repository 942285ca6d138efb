//! Getting a page of a file into memory: found, or added and read.
//!
//! One machine for all who need that: faults want the page locked and keep to the file's size
//! (supporting-paths 2.3, step 1), reading wants it up to date, writing wants it locked and may make
//! the file longer. Pages of shmem that are in swap come back through [`BringBack`].

use serde::{Deserialize, Serialize};

use super::lookup::Lookup;
use super::shmem::{self, BringBack};
use crate::base::{Errno, MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::{transfer, tree};
use crate::state::frame::PageFlags;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// What the page is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// A fault: locked and up to date.
    Fault,
    /// `read(2)`: up to date, not locked.
    Read,
    /// `write(2)`: locked, and up to date unless the whole page is to be replaced.
    Write { is_whole: bool },
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum NoPage {
    /// The file ends before it.
    BeyondEnd,
    /// It cannot be read.
    Unreadable,
    /// No frame, or no charge.
    NoMemory,
}

#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Is there such a page at all?
    Starting,
    /// Look for it in the file.
    Looking(Lookup),
    /// Found: take its lock.
    Locking(Pfn),
    /// Absent: take a frame.
    Allocating,
    /// Put the new page into the file.
    Adding(Pfn),
    /// Being read: wait until the disk unlocks it.
    Reading(Pfn),
    /// It is in swap.
    Bringing(BringBack),
    Done(Result<Pfn, NoPage>),
}

/// One page on its way into memory. Holds at most one reference, and ends with it.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Fetch {
    file: MappingId,
    index: u64,
    purpose: Purpose,
    /// Whether the page was absent and had to be read.
    is_major: bool,
    phase: Phase,
}

impl Fetch {
    pub(super) const fn new(file: MappingId, index: u64, purpose: Purpose) -> Fetch {
        Fetch { file, index, purpose, is_major: false, phase: Phase::Starting }
    }

    /// How it ended. Only once done; the reference, and the lock if there is one, are the caller's.
    pub(super) fn result(&self) -> Result<Pfn, NoPage> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the page was there"),
        }
    }

    /// Whether the page was absent and had to be read.
    pub(super) const fn is_major(&self) -> bool {
        self.is_major
    }

    /// The page that it holds a reference to, while it is not done.
    pub(super) fn held_page(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Looking(lookup) => lookup.held_page(),
            Phase::Locking(page) | Phase::Adding(page) | Phase::Reading(page) => Some(*page),
            Phase::Bringing(bringing) => bringing.held_page(),
            Phase::Starting | Phase::Allocating | Phase::Done(_) => None,
        }
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting => &["SP2.3-1", "SP9-1", "SP9-2"],
            Phase::Looking(lookup) => lookup.labels(),
            Phase::Locking(_) => &["SP2.3-1-lock"],
            Phase::Allocating => &["SP2.3-1-allocate"],
            Phase::Adding(_) => &["SP7-add"],
            Phase::Reading(_) => &["SP2.3-1-read"],
            Phase::Bringing(bringing) => bringing.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let next = match &mut self.phase {
                Phase::Starting => {
                    if !self.is_beyond_end(kernel) {
                        self.phase = self.look_again();
                        continue;
                    }
                    Ok(Phase::Done(Err(NoPage::BeyondEnd)))
                }
                Phase::Looking(lookup) => match lookup.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let found = lookup.found();
                        Ok(self.looked(kernel, found))
                    }
                    other => return other,
                },
                Phase::Locking(page) => {
                    let page = *page;
                    self.lock::<M>(kernel, me, page)
                }
                Phase::Allocating => Ok(self.allocate(kernel, me)),
                Phase::Adding(page) => {
                    let page = *page;
                    self.add::<M>(kernel, me, page)
                }
                Phase::Reading(page) => {
                    let page = *page;
                    self.read_through::<M>(kernel, me, page)
                }
                Phase::Bringing(bringing) => match bringing.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let bringing = *bringing;
                        Ok(self.brought::<M>(kernel, me, bringing))
                    }
                    other => return other,
                },
                Phase::Done(_) => return Progress::Done,
            };
            match next {
                Ok(next) => self.phase = next,
                Err(lock) => return Progress::Waiting(lock),
            }
            if matches!(self.phase, Phase::Done(_)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    fn look_again(&self) -> Phase {
        Phase::Looking(Lookup::new(self.file, self.index))
    }

    /// Whether the file may become longer.
    const fn may_extend(&self) -> bool {
        matches!(self.purpose, Purpose::Write { .. })
    }

    /// Whether the file ends before the page, for those who must not make it longer.
    fn is_beyond_end(&self, kernel: &Kernel) -> bool {
        !self.may_extend() && self.index >= kernel.mappings[self.file].pages_in_file()
    }

    fn is_up_to_date(&self, kernel: &Kernel, page: Pfn) -> bool {
        kernel.frames[page].has(PageFlags::UPTODATE)
    }

    fn looked(&mut self, kernel: &Kernel, found: Option<Pfn>) -> Phase {
        match found {
            Some(page) if self.purpose == Purpose::Read && self.is_up_to_date(kernel, page) => {
                Phase::Done(Ok(page))
            }
            Some(page) => Phase::Locking(page),
            None => self.absent(kernel, true),
        }
    }

    fn absent(&mut self, kernel: &Kernel, is_reported: bool) -> Phase {
        if let Some(slot) = shmem::slot_at(kernel, self.file, self.index) {
            let may_extend = self.may_extend();
            return Phase::Bringing(BringBack::new(self.file, self.index, slot, may_extend));
        }
        self.is_major |= is_reported && !kernel.mappings[self.file].kind.is_shmem();
        Phase::Allocating
    }

    fn lock<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Phase, LockId> {
        if !kernel.lock_page::<M>(me, page) {
            return Err(LockId::Page(page));
        }
        if tree::page_mapping(kernel, page) != Some(self.file) {
            kernel.unlock_page::<M>(me, page);
            kernel.put_page(page);
            // A fault goes on as if the page had been absent, but does not say so.
            return Ok(match self.purpose {
                Purpose::Fault => self.absent(kernel, false),
                Purpose::Read | Purpose::Write { .. } => self.look_again(),
            });
        }
        let is_replaced = self.purpose == Purpose::Write { is_whole: true };
        if !self.is_up_to_date(kernel, page) && !is_replaced {
            kernel.frames[page].clear(PageFlags::ERROR);
            transfer::start_read::<M>(kernel, me, page);
            return Ok(Phase::Reading(page));
        }
        Ok(self.locked::<M>(kernel, me, page))
    }

    /// The page is locked and as it is wanted: a last look at the size of the file.
    fn locked<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Phase {
        let is_beyond_end = self.is_beyond_end(kernel);
        if is_beyond_end || self.purpose == Purpose::Read {
            kernel.unlock_page::<M>(me, page);
        }
        if is_beyond_end {
            kernel.put_page(page);
            return Phase::Done(Err(NoPage::BeyondEnd));
        }
        Phase::Done(Ok(page))
    }

    fn allocate(&self, kernel: &mut Kernel, me: Me) -> Phase {
        match kernel.allocate_for_file(me, self.file, self.index) {
            Some(page) => Phase::Adding(page),
            None => Phase::Done(Err(NoPage::NoMemory)),
        }
    }

    /// The new page goes into the file, locked, and is read if it has to be.
    fn add<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Phase, LockId> {
        if !tree::is_free::<M>(kernel, me, self.file) {
            return Err(LockId::Tree(self.file));
        }
        let is_shmem = kernel.mappings[self.file].kind.is_shmem();
        if is_shmem && shmem::slot_at(kernel, self.file, self.index).is_some() {
            // It was there, and went to swap, while the frame was taken.
            kernel.put_page(page);
            return Ok(self.look_again());
        }
        assert!(kernel.try_lock_page::<M>(me, page), "a new page is nobody's");
        if let Err(errno) = tree::add(kernel, me, self.file, self.index, page) {
            kernel.unlock_page::<M>(me, page);
            kernel.put_page(page);
            return Ok(match errno {
                Errno::Exists => self.look_again(),
                _ => Phase::Done(Err(NoPage::NoMemory)),
            });
        }
        if is_shmem || self.is_fresh(kernel) {
            kernel.contents.clear(page);
        }
        if is_shmem {
            kernel.frames[page].set(PageFlags::UPTODATE);
        }
        Ok(match self.purpose {
            _ if is_shmem || self.is_fresh(kernel) => self.locked::<M>(kernel, me, page),
            Purpose::Fault => {
                transfer::start_read::<M>(kernel, me, page);
                kernel.put_page(page);
                self.look_again()
            }
            Purpose::Read | Purpose::Write { .. } => {
                transfer::start_read::<M>(kernel, me, page);
                Phase::Reading(page)
            }
        })
    }

    /// Whether a page that is new to the file needs not be read: all of it is about to be replaced, or
    /// the file did not reach it so far.
    fn is_fresh(&self, kernel: &Kernel) -> bool {
        match self.purpose {
            Purpose::Write { is_whole } => {
                is_whole || self.index >= kernel.mappings[self.file].pages_in_file()
            }
            Purpose::Fault | Purpose::Read => false,
        }
    }

    /// The read is over when the page is unlocked.
    fn read_through<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        page: Pfn,
    ) -> Result<Phase, LockId> {
        if !kernel.page_is_unlocked::<M>(me, page) {
            return Err(LockId::Page(page));
        }
        if !self.is_up_to_date(kernel, page) {
            kernel.put_page(page);
            return Ok(Phase::Done(Err(NoPage::Unreadable)));
        }
        Ok(match self.purpose {
            Purpose::Read => Phase::Done(Ok(page)),
            Purpose::Write { .. } => Phase::Locking(page),
            Purpose::Fault => {
                kernel.put_page(page);
                self.look_again()
            }
        })
    }

    fn brought<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, bringing: BringBack) -> Phase {
        self.is_major |= bringing.is_major();
        match bringing.result() {
            Ok(Some(page)) => self.locked::<M>(kernel, me, page),
            Ok(None) => self.look_again(),
            Err(no_page) => Phase::Done(Err(no_page)),
        }
    }
}
