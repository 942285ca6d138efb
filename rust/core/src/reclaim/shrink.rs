//! `shrink_page_list` for one page: from an isolated page to a free frame, or to the reason why not.
//!
//! supporting-paths 12.

use serde::{Deserialize, Serialize};

use super::count_isolated;
use super::references::{self, Advice};
use crate::base::{Errno, MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::writeback::{self, Wrote};
use crate::pagecache::{buffers, dirty, swapcache, tree};
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::mapping::{MappingFlags, Write};
use crate::state::zone::Counter;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::unmap::{Unmapping, Verdict, passes};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Ended {
    /// The frame is free.
    Freed,
    /// The page stays: it is still in the hands of the caller, who puts it back.
    Kept,
    /// The same, with a write of it under way that this run has started.
    Writing,
    /// The page went to the unevictable list.
    Culled,
}

/// How far the page has got.
///
/// ```text
///   phase        holds        the next advance
///   Locking      nothing      tries the page lock; culls, keeps a page under writeback
///   Aging        page lock    looks for uses
///   Adding       page lock    gives an anonymous page a slot in swap
///   Unmapping    page lock    takes its entries away
///   Paging       page lock    starts a write, if the page is dirty
///   Relocking    nothing      tries the page lock again after a write that has ended at once
///   Releasing    page lock    drops buffers
///   Freezing     page lock    freezes the count under the index's lock
///   Removing     both, frozen takes the page out of its index and frees it
/// ```
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Locking,
    Aging,
    Adding,
    Unmapping(Unmapping),
    Paging,
    Relocking,
    Releasing,
    Freezing,
    Removing(MappingId),
    Done(Ended),
}

/// One run over one page, which its caller has isolated.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct ShrinkPage {
    page: Pfn,
    /// Whether uses so far are forgotten rather than weighed.
    is_relentless: bool,
    /// PG_referenced was set: only a clean page is to go.
    is_clean_only: bool,
    phase: Phase,
}

/// The count of a page that only its isolator and its index hold.
const FREEABLE: u32 = 2;

impl ShrinkPage {
    /// The count that a page has before it is frozen, and while it is frozen in truth (I-11).
    pub const FROZEN_COUNT: u32 = FREEABLE;

    /// Will try to free a page, if it was not used lately.
    pub(super) const fn new(page: Pfn) -> ShrinkPage {
        ShrinkPage { page, is_relentless: false, is_clean_only: false, phase: Phase::Locking }
    }

    /// Will try to free a page whatever was done with it so far; a use from now on counts.
    pub(super) const fn relentless(page: Pfn) -> ShrinkPage {
        ShrinkPage { is_relentless: true, ..ShrinkPage::new(page) }
    }

    /// The page.
    pub const fn page(&self) -> Pfn {
        self.page
    }

    /// Whether the page is frozen: its count reads 0 instead of 2.
    pub const fn is_frozen(&self) -> bool {
        matches!(self.phase, Phase::Removing(_))
    }

    /// How it ended. Only once done.
    pub(super) fn ended(&self) -> Ended {
        match self.phase {
            Phase::Done(ended) => ended,
            _ => unreachable!("asked before the page was dealt with"),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Locking => &["SP12-lock"],
            Phase::Aging => &["SP12-references"],
            Phase::Adding => &["SP12-add-to-swap"],
            Phase::Unmapping(unmapping) => unmapping.labels(),
            Phase::Paging => &["SP12-pageout"],
            Phase::Relocking => &["SP12-relock"],
            Phase::Releasing => &["SP12-release"],
            Phase::Freezing => &["SP12-freeze"],
            Phase::Removing(_) => &["SP12-remove"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let stepped = match &mut self.phase {
                Phase::Locking => {
                    self.phase = self.lock::<M>(kernel, me);
                    Ok(())
                }
                Phase::Aging => self.age::<M>(kernel, me),
                Phase::Adding => self.add::<M>(kernel, me),
                Phase::Unmapping(unmapping) => match unmapping.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let verdict = unmapping.verdict(kernel);
                        self.phase = self.after_unmapping::<M>(kernel, me, verdict);
                        Ok(())
                    }
                    other => return other,
                },
                Phase::Paging => self.page_out::<M>(kernel, me),
                Phase::Relocking => {
                    self.phase = self.relock::<M>(kernel, me);
                    Ok(())
                }
                Phase::Releasing => {
                    self.phase = self.release::<M>(kernel, me);
                    Ok(())
                }
                Phase::Freezing => self.freeze::<M>(kernel, me),
                &mut Phase::Removing(mapping) => {
                    self.phase = self.remove::<M>(kernel, me, mapping);
                    Ok(())
                }
                Phase::Done(_) => return Progress::Done,
            };
            if let Err(lock) = stepped {
                return Progress::Waiting(lock);
            }
            let point = match self.phase {
                Phase::Done(_) => return Progress::Done,
                Phase::Removing(_) => Point::Held,
                _ => Point::Open,
            };
            if point.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Locked by somebody, or under writeback: kept. Not evictable: culled.
    fn lock<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        if !kernel.try_lock_page::<M>(me, self.page) {
            return Phase::Done(Ended::Kept);
        }
        if !kernel.lru.is_evictable(&kernel.frames[self.page]) {
            return self.cull::<M>(kernel, me);
        }
        if kernel.frames[self.page].has(PageFlags::WRITEBACK) {
            return self.keep::<M>(kernel, me);
        }
        Phase::Aging
    }

    fn age<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        let advice = references::check::<M>(kernel, me, self.page)?;
        let frame = &kernel.frames[self.page];
        let needs_slot = frame.is_anon() && !frame.has(PageFlags::SWAPCACHE);
        self.phase = match advice {
            Advice::Activate if !self.is_relentless => self.activate::<M>(kernel, me),
            Advice::Keep if !self.is_relentless => self.keep::<M>(kernel, me),
            _ => {
                self.is_clean_only = advice == Advice::ReclaimClean && !self.is_relentless;
                if needs_slot { Phase::Adding } else { self.mapped_or_not(kernel) }
            }
        };
        Ok(())
    }

    fn add<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        passes::<M>(kernel, me, LockId::Tree(MappingId::SWAPPER))?;
        self.phase = if swapcache::add_to_swap(kernel, self.page) {
            self.mapped_or_not(kernel)
        } else {
            self.activate::<M>(kernel, me)
        };
        Ok(())
    }

    fn mapped_or_not(&self, kernel: &Kernel) -> Phase {
        let has_mapping = tree::page_mapping(kernel, self.page).is_some();
        if has_mapping && kernel.frames[self.page].is_mapped() {
            return Phase::Unmapping(Unmapping::reclaiming(self.page));
        }
        Phase::Paging
    }

    fn after_unmapping<M: Mode>(&self, kernel: &mut Kernel, me: Me, verdict: Verdict) -> Phase {
        match verdict {
            Verdict::Success => Phase::Paging,
            Verdict::Again => self.keep::<M>(kernel, me),
            Verdict::Fail => self.activate::<M>(kernel, me),
            Verdict::Mlocked => self.cull::<M>(kernel, me),
        }
    }

    /// `pageout`, for a dirty page that nobody else holds.
    fn page_out<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        let page = self.page;
        let frame = &kernel.frames[page];
        if !frame.has(PageFlags::DIRTY) {
            self.phase = self.private_or_not(kernel);
            return Ok(());
        }
        let holders = FREEABLE + u32::from(frame.has_private());
        if self.is_clean_only || frame.count() != holders {
            self.phase = self.keep::<M>(kernel, me);
            return Ok(());
        }
        let Some(mapping) = tree::page_mapping(kernel, page) else {
            self.phase = self.clean_orphan::<M>(kernel, me);
            return Ok(());
        };
        passes::<M>(kernel, me, LockId::Tree(mapping))?;
        let may_write = !is_congested(kernel, mapping) || kernel.tasks[me.task].swap_writers > 0;
        self.phase = if kernel.mappings[mapping].kind.write == Write::Never {
            self.activate::<M>(kernel, me)
        } else if !may_write {
            self.keep::<M>(kernel, me)
        } else if dirty::clear_dirty_for_io(kernel, page) {
            self.write::<M>(kernel, me, mapping)
        } else {
            self.private_or_not(kernel)
        };
        Ok(())
    }

    /// The write of a page that is clean now. PG_reclaim sends it to its list's tail when the write
    /// ends, if it is on a list by then.
    fn write<M: Mode>(&self, kernel: &mut Kernel, me: Me, mapping: MappingId) -> Phase {
        let page = self.page;
        kernel.frames[page].set(PageFlags::RECLAIM);
        match writeback::writepage::<M>(kernel, me, page) {
            Ok(Wrote::Activate) => {
                kernel.frames[page].clear(PageFlags::RECLAIM);
                return self.activate::<M>(kernel, me);
            }
            Ok(Wrote::Unlocked) => {}
            Err(error) => note_error(kernel, mapping, error),
        }
        kernel.zones.counters_of(page).add(Counter::VmscanWrite, 1);
        let frame = &mut kernel.frames[page];
        if frame.has(PageFlags::WRITEBACK) {
            return Phase::Done(Ended::Writing);
        }
        frame.clear(PageFlags::RECLAIM);
        if frame.has(PageFlags::DIRTY) { Phase::Done(Ended::Kept) } else { Phase::Relocking }
    }

    /// A dirty page that belongs to nothing may have clean buffers.
    fn clean_orphan<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        let has_private = kernel.frames[self.page].has_private();
        if has_private && buffers::try_to_free_buffers(kernel, self.page) {
            kernel.frames[self.page].clear(PageFlags::DIRTY);
            return Phase::Releasing;
        }
        self.keep::<M>(kernel, me)
    }

    fn relock<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        if !kernel.try_lock_page::<M>(me, self.page) {
            return Phase::Done(Ended::Kept);
        }
        if kernel.frames[self.page].has(PageFlags::DIRTY | PageFlags::WRITEBACK) {
            return self.keep::<M>(kernel, me);
        }
        self.private_or_not(kernel)
    }

    fn private_or_not(&self, kernel: &Kernel) -> Phase {
        let is_orphan = tree::page_mapping(kernel, self.page).is_none();
        let has_private = kernel.frames[self.page].has_private();
        if has_private || is_orphan { Phase::Releasing } else { Phase::Freezing }
    }

    /// Private data goes, or the page stays. An orphan of truncation has nothing else.
    fn release<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        let page = self.page;
        if kernel.frames[page].has_private() && !buffers::try_to_release_page(kernel, page) {
            return self.activate::<M>(kernel, me);
        }
        if tree::page_mapping(kernel, page).is_some() {
            return Phase::Freezing;
        }
        if kernel.frames[page].count() == 1 {
            self.free::<M>(kernel, me)
        } else {
            self.keep::<M>(kernel, me)
        }
    }

    /// `__remove_mapping`: only the isolation and the index hold the page, and it is clean.
    fn freeze<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        let mapping = tree::page_mapping(kernel, self.page).expect("it was released otherwise");
        let lock = LockId::Tree(mapping);
        if !kernel.lock::<M>(me, lock, Want::Exclusive) {
            return Err(lock);
        }
        let frame = &mut kernel.frames[self.page];
        let is_frozen = frame.freeze(FREEABLE);
        if is_frozen && !frame.has(PageFlags::DIRTY) {
            self.phase = Phase::Removing(mapping);
            return Ok(());
        }
        if is_frozen {
            frame.unfreeze(FREEABLE);
        }
        kernel.unlock::<M>(me, lock);
        self.phase = self.keep::<M>(kernel, me);
        Ok(())
    }

    /// The page, frozen, leaves its index; that reference and the isolation's are gone with it.
    fn remove<M: Mode>(&self, kernel: &mut Kernel, me: Me, mapping: MappingId) -> Phase {
        if mapping == MappingId::SWAPPER {
            swapcache::take_out(kernel, self.page);
        } else {
            tree::remove(kernel, self.page);
        }
        kernel.unlock::<M>(me, LockId::Tree(mapping));
        kernel.frames[self.page].unfreeze(1);
        self.free::<M>(kernel, me)
    }

    /// Nobody but its isolator holds the page any more.
    fn free<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        kernel.unlock_page::<M>(me, self.page);
        count_isolated(kernel, self.page, -1);
        kernel.put_page(self.page);
        Phase::Done(Ended::Freed)
    }

    fn keep<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        kernel.unlock_page::<M>(me, self.page);
        Phase::Done(Ended::Kept)
    }

    fn activate<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        kernel.frames[self.page].set(PageFlags::ACTIVE);
        self.keep::<M>(kernel, me)
    }

    fn cull<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        kernel.unlock_page::<M>(me, self.page);
        kernel.put_back_isolated(me.cpu, self.page);
        Phase::Done(Ended::Culled)
    }
}

fn is_congested(kernel: &Kernel, mapping: MappingId) -> bool {
    if mapping == MappingId::SWAPPER {
        return kernel.swaps.is_congested;
    }
    kernel.mappings[mapping].kind.is_congested
}

/// `handle_write_error`: the file remembers.
fn note_error(kernel: &mut Kernel, mapping: MappingId, error: Errno) {
    let no_room = error.code() == Errno::NoSpace.code();
    let flag = if no_room { MappingFlags::ENOSPC } else { MappingFlags::EIO };
    kernel.mappings[mapping].flags |= flag;
}
