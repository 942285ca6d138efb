//! Undoing merges in a range, for `madvise(MADV_UNMERGEABLE)` and `mremap` (supporting-paths 6,
//! 16).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::{Errno, MmId, PAGE_SIZE, Pfn};
use crate::fault::BreakKsm;
use crate::kernel::Kernel;
use crate::state::pagetable::leaf_span_end;
use crate::step::{Label, Me, Mode, Point, Progress};

/// The pages of KSM in a range, each replaced by a private copy. The caller holds `mmap_sem`.
///
/// KSM's places stay until a scan notices: `ksm_thread_mutex`, which guards them, is outer to
/// `mmap_sem`.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Unmerge {
    mm: MmId,
    next: u64,
    end: u64,
    result: Result<(), Errno>,
    breaking: Option<BreakKsm>,
}

impl Unmerge {
    /// Will go over `range`, which is page-aligned.
    pub const fn new(mm: MmId, range: Range<u64>) -> Unmerge {
        Unmerge { mm, next: range.start, end: range.end, result: Ok(()), breaking: None }
    }

    /// 0, or `NoMemory` if there was no frame for a copy: the pages from there on stay merged.
    pub const fn result(&self) -> Result<(), Errno> {
        self.result
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.breaking {
            Some(breaking) => breaking.labels(),
            None => &["SP16-unmerge"],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> [Option<Pfn>; 3] {
        self.breaking.as_ref().map_or([None; 3], BreakKsm::held_pages)
    }

    /// Makes one step: one page, at most.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.breaking {
                Some(breaking) => match breaking.advance::<M>(kernel, me) {
                    Progress::Done => {
                        self.result = breaking.result();
                        self.breaking = None;
                        self.next =
                            if self.result.is_ok() { self.next + PAGE_SIZE } else { self.end };
                    }
                    other => return other,
                },
                None if self.next >= self.end => return Progress::Done,
                None => {
                    let root = kernel.mms[self.mm].root;
                    if kernel.tables.find_leaf(root, self.next).is_none() {
                        self.next = leaf_span_end(self.next).min(self.end);
                        if kernel.pauses::<M>(1) {
                            return Progress::Ran;
                        }
                        continue;
                    }
                    self.breaking = Some(BreakKsm::new(self.mm, self.next));
                    continue;
                }
            }
            if self.breaking.is_none() && self.next >= self.end {
                return Progress::Done;
            }
            let may_pause = self.breaking.is_none();
            if Point::Open.stops::<M>(me) || (may_pause && kernel.pauses::<M>(1)) {
                return Progress::Ran;
            }
        }
    }
}
