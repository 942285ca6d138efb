//! Pages of shmem that were moved to swap come back into their file (data-model 8).

use serde::{Deserialize, Serialize};

use super::fetch::NoPage;
use super::lookup::Lookup;
use crate::base::{Errno, MappingId, Pfn, SwapEntry};
use crate::kernel::Kernel;
use crate::pagecache::{dirty, swapcache, transfer, tree};
use crate::state::frame::PageFlags;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// The slot that holds a page of a shmem file; none if the page is not in swap.
#[inline]
pub(super) fn slot_at(kernel: &Kernel, file: MappingId, index: u64) -> Option<SwapEntry> {
    kernel.mappings[file].host.as_ref()?.swapped.get(&index).copied()
}

/// What came of it: the page, or nothing if it must be looked for again.
type Brought = Result<Option<Pfn>, NoPage>;

#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Look in the swap cache.
    Looking(Lookup),
    /// It is on the device only: take a frame.
    Allocating,
    /// Put the frame into the swap cache and start the read.
    Adding(Pfn),
    /// Wait for the read, or for whoever has the page, and take its lock.
    Locking(Pfn),
    /// Wait until it is not written any more.
    Waiting(Pfn),
    /// From the swap cache to the file.
    Moving(Pfn),
    Done(Brought),
}

/// One page on its way back. Holds at most one reference, and ends with it and the page lock.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct BringBack {
    file: MappingId,
    index: u64,
    slot: SwapEntry,
    may_extend: bool,
    is_major: bool,
    phase: Phase,
}

impl BringBack {
    /// Will bring the page at `index` back, which `slot` holds. `may_extend`: even from beyond the end.
    pub(super) const fn new(
        file: MappingId,
        index: u64,
        slot: SwapEntry,
        may_extend: bool,
    ) -> BringBack {
        let phase = Phase::Looking(Lookup::new(MappingId::SWAPPER, slot.neutral()));
        BringBack { file, index, slot, may_extend, is_major: false, phase }
    }

    /// How it ended. Only once done.
    pub(super) fn result(&self) -> Brought {
        match self.phase {
            Phase::Done(brought) => brought,
            _ => unreachable!("asked before the page was back"),
        }
    }

    /// Whether the device had to be read.
    pub(super) const fn is_major(&self) -> bool {
        self.is_major
    }

    /// The page that it holds a reference to, while it is not done.
    pub(super) const fn held_page(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Looking(lookup) => lookup.held_page(),
            Phase::Adding(page)
            | Phase::Locking(page)
            | Phase::Waiting(page)
            | Phase::Moving(page) => Some(*page),
            Phase::Allocating | Phase::Done(_) => None,
        }
    }

    /// The steps that the next advance makes.
    pub(super) const fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Looking(lookup) => lookup.labels(),
            Phase::Allocating => &["SP11-allocate"],
            Phase::Adding(_) => &["SP11-read"],
            Phase::Locking(_) => &["SP11-lock"],
            Phase::Waiting(_) => &["SP11-writeback"],
            Phase::Moving(_) => &["SP11-back"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let next = match &mut self.phase {
                Phase::Looking(lookup) => match lookup.advance::<M>(kernel, me) {
                    Progress::Done => Ok(lookup.found().map_or(Phase::Allocating, Phase::Locking)),
                    other => return other,
                },
                Phase::Allocating => {
                    Ok(match kernel.allocate_for_file(me, self.file, self.index) {
                        Some(page) => Phase::Adding(page),
                        None => Phase::Done(Err(NoPage::NoMemory)),
                    })
                }
                Phase::Adding(page) => {
                    let page = *page;
                    self.add::<M>(kernel, me, page)
                }
                Phase::Locking(page) => {
                    let page = *page;
                    self.lock::<M>(kernel, me, page)
                }
                Phase::Waiting(page) => {
                    let page = *page;
                    if transfer::writeback_is_over::<M>(kernel, me, page) {
                        Ok(Phase::Moving(page))
                    } else {
                        Err(LockId::Writeback(page))
                    }
                }
                Phase::Moving(page) => {
                    let page = *page;
                    self.move_back::<M>(kernel, me, page)
                }
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

    /// Whether the slot still holds the page.
    fn is_in_swap(&self, kernel: &Kernel) -> bool {
        slot_at(kernel, self.file, self.index) == Some(self.slot)
    }

    fn add<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Phase, LockId> {
        let swapper = MappingId::SWAPPER;
        if !tree::is_free::<M>(kernel, me, swapper) {
            return Err(LockId::Tree(swapper));
        }
        let is_cached = kernel.mappings[swapper].tree.get(self.slot.neutral()).is_some();
        if is_cached || !self.is_in_swap(kernel) {
            kernel.put_page(page);
            return Ok(Phase::Done(Ok(None)));
        }
        assert!(kernel.try_lock_page::<M>(me, page), "a new page is nobody's");
        swapcache::add_for_reading(kernel, me, page, self.slot);
        transfer::start_read::<M>(kernel, me, page);
        self.is_major = true;
        Ok(Phase::Locking(page))
    }

    fn lock<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Phase, LockId> {
        if !kernel.lock_page::<M>(me, page) {
            return Err(LockId::Page(page));
        }
        let frame = &kernel.frames[page];
        let is_cached = frame.has(PageFlags::SWAPCACHE) && frame.private == self.slot.0;
        if !is_cached || !self.is_in_swap(kernel) {
            return Ok(self.give_up::<M>(kernel, me, page, Ok(None)));
        }
        Ok(Phase::Waiting(page))
    }

    /// Into the file's index, out of the swap cache, and the slot is given up. The charge stays; the
    /// page is dirty, for nothing else holds its bytes any more.
    fn move_back<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Phase, LockId> {
        for mapping in [self.file, MappingId::SWAPPER] {
            if !tree::is_free::<M>(kernel, me, mapping) {
                return Err(LockId::Tree(mapping));
            }
        }
        let is_beyond_end = self.index >= kernel.mappings[self.file].pages_in_file();
        if is_beyond_end && !self.may_extend {
            return Ok(self.give_up::<M>(kernel, me, page, Err(NoPage::BeyondEnd)));
        }
        if !kernel.frames[page].has(PageFlags::UPTODATE) {
            return Ok(self.give_up::<M>(kernel, me, page, Err(NoPage::Unreadable)));
        }
        if let Err(errno) = tree::insert(kernel, me, self.file, self.index, page) {
            let brought = if errno == Errno::Exists { Ok(None) } else { Err(NoPage::NoMemory) };
            return Ok(self.give_up::<M>(kernel, me, page, brought));
        }
        swapcache::delete(kernel, page);
        let host = kernel.mappings[self.file].host.as_mut().expect("a file");
        host.swapped.remove(&self.index);
        swapcache::free_swap_and_cache::<M>(kernel, me, self.slot);
        dirty::set_page_dirty(kernel, page);
        Ok(Phase::Done(Ok(Some(page))))
    }

    fn give_up<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn, brought: Brought) -> Phase {
        kernel.unlock_page::<M>(me, page);
        kernel.put_page(page);
        Phase::Done(brought)
    }
}
