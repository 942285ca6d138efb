//! One pass of truncation over the pages of a file, up to 14 at a time.

use serde::{Deserialize, Serialize};

use crate::base::{MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::{transfer, tree};
use crate::state::frame::PageFlags;
use crate::state::lru::PAGEVEC_SIZE;
use crate::state::shadow::Place;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::zap::FileUnmapping;

/// Which of the two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Pass {
    /// Leaves out what is locked or under writeback.
    First,
    /// Waits for it, and goes on until nothing is found.
    Second,
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Look the next pages up, a reference each.
    Finding,
    /// Lock the page whose turn it is.
    Locking,
    /// Second pass: wait until it is not written any more.
    Waiting,
    /// It is mapped: unmap it.
    Unmapping(FileUnmapping),
    /// Take it out of the file and unlock it.
    Dropping,
    /// Drain, and drop the references.
    Releasing,
    Done,
}

/// A pass on its way.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Batch {
    file: MappingId,
    /// The first page to go.
    start: u64,
    /// Where the next look-up begins.
    next: u64,
    pass: Pass,
    pages: Vec<Pfn>,
    /// Whose turn it is.
    at: usize,
    phase: Phase,
}

impl Batch {
    pub(super) const fn new(file: MappingId, start: u64, pass: Pass) -> Batch {
        Batch { file, start, next: start, pass, pages: Vec::new(), at: 0, phase: Phase::Finding }
    }

    pub(super) const fn pass(&self) -> Pass {
        self.pass
    }

    /// Pages that it holds one reference each to.
    pub(super) fn held_pages(&self) -> Vec<Pfn> {
        let mut pages = self.pages.clone();
        if let Phase::Unmapping(unmapping) = &self.phase {
            pages.extend(unmapping.held_pages());
        }
        pages
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        let is_first = self.pass == Pass::First;
        match &self.phase {
            Phase::Finding if is_first => &["SP8-pass1"],
            Phase::Finding => &["SP8-pass2"],
            Phase::Locking => &["SP8-lock"],
            Phase::Waiting => &["SP8-writeback"],
            Phase::Unmapping(unmapping) => unmapping.labels(),
            Phase::Dropping => &["SP8-page"],
            Phase::Releasing => &["SP8-release"],
            Phase::Done => &[],
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Finding => {
                    if let Err(lock) = self.find::<M>(kernel, me) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Locking => {
                    let page = self.pages[self.at];
                    if !self.lock::<M>(kernel, me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                }
                Phase::Waiting => {
                    let page = self.pages[self.at];
                    if !transfer::writeback_is_over::<M>(kernel, me, page) {
                        return Progress::Waiting(LockId::Writeback(page));
                    }
                    self.phase = self.locked(kernel, page);
                }
                Phase::Unmapping(unmapping) => match unmapping.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Dropping,
                    // No pause while the page is locked.
                    Progress::Ran if !M::STEPS => continue,
                    other => return other,
                },
                Phase::Dropping => {
                    if !tree::is_free::<M>(kernel, me, self.file) {
                        return Progress::Waiting(LockId::Tree(self.file));
                    }
                    let page = self.pages[self.at];
                    if kernel.shadow.is_on() {
                        let place = Place::File(self.file, kernel.frames[page].index());
                        kernel.shadow.orphan(place, page);
                    }
                    tree::truncate_page(kernel, me, self.file, page);
                    kernel.unlock_page::<M>(me, page);
                    self.turn();
                }
                Phase::Releasing => {
                    kernel.drain(me.cpu);
                    self.pages.drain(..).for_each(|page| kernel.put_page(page));
                    self.phase = Phase::Finding;
                    if kernel.pauses::<M>(PAGEVEC_SIZE) {
                        return Progress::Ran;
                    }
                }
                Phase::Done => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Takes a reference to each of the next pages. If one is frozen, none is taken, and whoever froze
    /// it is waited for.
    fn find<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        let mut next = self.next;
        while self.pages.len() < PAGEVEC_SIZE {
            let Some((index, page)) = kernel.mappings[self.file].tree.next(next) else { break };
            if !kernel.frames[page].try_get() {
                assert!(M::STEPS, "a frozen page in the cache, and nobody who froze it");
                self.pages.drain(..).for_each(|page| kernel.put_page(page));
                kernel.locks.watch(LockId::Tree(self.file), me.call);
                return Err(LockId::Tree(self.file));
            }
            self.pages.push(page);
            next = index + 1;
        }
        self.at = 0;
        self.phase = match self.pages.is_empty() {
            false => Phase::Locking,
            // Pages may have come back behind a second pass that got to the end.
            true if self.pass == Pass::Second && self.next > self.start => Phase::Finding,
            true => Phase::Done,
        };
        self.next = if self.pages.is_empty() { self.start } else { next };
        Ok(())
    }

    /// The first pass leaves out a page that it would have to wait for.
    fn lock<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) -> bool {
        if self.pass == Pass::Second {
            let is_locked = kernel.lock_page::<M>(me, page);
            if is_locked {
                self.phase = Phase::Waiting;
            }
            return is_locked;
        }
        if !kernel.try_lock_page::<M>(me, page) {
            self.turn();
        } else if kernel.frames[page].has(PageFlags::WRITEBACK) {
            kernel.unlock_page::<M>(me, page);
            self.turn();
        } else {
            self.phase = self.locked(kernel, page);
        }
        true
    }

    fn locked(&self, kernel: &Kernel, page: Pfn) -> Phase {
        let frame = &kernel.frames[page];
        if !frame.is_mapped() {
            return Phase::Dropping;
        }
        let index = frame.index();
        Phase::Unmapping(FileUnmapping::new(self.file, index..index + 1, false))
    }

    /// The next page's turn.
    fn turn(&mut self) {
        self.at += 1;
        let has_more = self.at < self.pages.len();
        self.phase = if has_more { Phase::Locking } else { Phase::Releasing };
    }
}
