//! `unmap_mapping_range`: wherever a part of a file is mapped, it is no more.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::gather::Zapped;
use super::range::RangeZap;
use crate::base::{MappingId, PAGE_SHIFT, Pfn};
use crate::kernel::Kernel;
use crate::state::lock::{AtPause, Want};
use crate::state::pagetable::LEAF_ENTRIES;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// How far the run has got. From `Finding` on, `i_mmap_lock` is held.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// The area at this place of the list is next.
    Finding(usize),
    /// Clearing the entries of one area; this place of the list is next.
    Zapping(RangeZap, usize),
    Done,
}

/// One run over the areas that map a part of a file, under `i_mmap_lock`.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct FileUnmapping {
    file: MappingId,
    pages: Range<u64>,
    even_copies: bool,
    phase: Phase,
}

impl FileUnmapping {
    /// Will unmap the pages of the range; `even_copies`: private copies, swap and migration
    /// entries, too (even_cows 1).
    pub const fn new(file: MappingId, pages: Range<u64>, even_copies: bool) -> FileUnmapping {
        FileUnmapping { file, pages, even_copies, phase: Phase::Starting }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting | Phase::Finding(_) => &["SP6-unmap-file"],
            Phase::Zapping(..) => &["SP6-zap"],
            Phase::Done => &[],
        }
    }

    /// Pages that wait for their reference to be dropped.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Zapping(zap, _) => zap.held_pages(),
            _ => Vec::new(),
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        match self.phase {
            Phase::Starting | Phase::Done => AtPause::new(),
            _ => vec![(LockId::FileMap(self.file), Want::Exclusive)],
        }
    }

    /// Makes one step: at most one leaf table's entries. Coarse, it is one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let lock = LockId::FileMap(self.file);
        loop {
            match &mut self.phase {
                Phase::Starting => {
                    if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                        return Progress::Waiting(lock);
                    }
                    kernel.mappings[self.file].truncate_count += 1;
                    self.phase = Phase::Finding(0);
                }
                Phase::Finding(next) => {
                    let next = *next;
                    match self.find(kernel, next) {
                        Some(phase) => self.phase = phase,
                        None => {
                            kernel.unlock::<M>(me, lock);
                            self.phase = Phase::Done;
                            return Progress::Done;
                        }
                    }
                    continue;
                }
                Phase::Zapping(zap, next) => match zap.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Finding(*next),
                    Progress::Ran if kernel.pauses::<M>(LEAF_ENTRIES) => return Progress::Ran,
                    Progress::Ran => {}
                    waiting => return waiting,
                },
                Phase::Done => return Progress::Done,
            }
            if Point::Held.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// The next area that maps a page of the range.
    fn find(&self, kernel: &Kernel, from: usize) -> Option<Phase> {
        let areas = kernel.mappings[self.file].areas.iter().enumerate().skip(from);
        for (at, &id) in areas {
            let vma = &kernel.vmas[id];
            let first = self.pages.start.max(vma.pgoff);
            let last = self.pages.end.min(vma.pgoff + vma.pages());
            if first < last {
                let address = |index: u64| vma.start + ((index - vma.pgoff) << PAGE_SHIFT);
                let only = (!self.even_copies).then_some(self.file);
                let zap = RangeZap::new(Zapped { vma: id, only }, address(first)..address(last));
                return Some(Phase::Zapping(zap, at + 1));
            }
        }
        None
    }
}
