//! `mbind(2)`: a policy for a range, and its pages to where the policy wants them (syscalls 6.2).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::collect::{Collect, Wanted};
use super::target::Target;
use crate::base::{Errno, MmId};
use crate::kernel::Kernel;
use crate::mmap::area;
use crate::state::lock::{AtPause, Want};
use crate::state::pagetable::LEAF_ENTRIES;
use crate::state::policy::Policy;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Step 10, if pages may move.
    Preparing,
    /// Step 11: `mmap_sem`, for writing.
    Entering,
    /// Step 12.
    Collecting(Collect),
    /// Step 13: what was collected goes back, the last one of these first.
    PuttingBack(Vec<crate::base::Pfn>),
    /// Step 14.
    Applying,
    Moving,
    /// Step 15.
    Leaving,
    Done,
}

/// One call on the caller's own memory.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Mbind {
    mm: MmId,
    range: Range<u64>,
    policy: Option<Policy>,
    wanted: Wanted,
    batch: Batch,
    result: Result<(), Errno>,
    phase: Phase,
}

impl Mbind {
    /// Will apply `policy`, with the nodes that were asked for, to `range`, after scanning it for `wanted` pages.
    pub fn new(mm: MmId, range: Range<u64>, policy: Option<Policy>, wanted: Wanted) -> Mbind {
        let phase = if wanted.may_move { Phase::Preparing } else { Phase::Entering };
        let batch = Batch::new(Target::ByPlace { mm, from: range.start }, 0);
        Mbind { mm, range, policy, wanted, batch, result: Ok(()), phase }
    }

    /// 0 or an errno.
    pub const fn result(&self) -> Result<(), Errno> {
        self.result
    }

    /// The batch under way.
    pub fn batch(&self) -> Option<&Batch> {
        use Phase::{Applying, Collecting, Moving};
        matches!(self.phase, Collecting(_) | Applying | Moving).then_some(&self.batch)
    }

    /// Pages that wait to go back to their lists.
    pub fn putting_back(&self) -> &[crate::base::Pfn] {
        match &self.phase {
            Phase::PuttingBack(pages) => pages,
            _ => &[],
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        vec![(LockId::MmapSem(self.mm), Want::Exclusive)]
    }

    /// How many of the pages collected are done, of how many.
    pub fn done_of(&self) -> (u64, u64) {
        self.batch.done_of()
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Preparing => &["SY6.1-10", "PREP-1"],
            Phase::Entering => &["SY6.1-11"],
            Phase::Collecting(_) => &["SY6.2-12"],
            Phase::PuttingBack(_) => &["SY6.2-13", "PB-1", "PB-2", "PB-3", "PB-4"],
            Phase::Applying => &["SY6.2-14"],
            Phase::Moving => self.batch.labels(),
            Phase::Leaving => &["SY6.2-15"],
            Phase::Done => &[],
        }
    }

    /// The policy as it holds for the caller now, which may be none.
    fn contextualise(&mut self, kernel: &Kernel, me: Me) {
        let asked = self.policy.map(|policy| kernel.contextualise(me.task, policy));
        self.phase = match asked.transpose() {
            Ok(policy) => {
                self.policy = policy;
                Phase::Collecting(Collect::new(self.mm, self.range.clone(), self.wanted))
            }
            Err(errno) => {
                self.result = Err(errno);
                Phase::Leaving
            }
        };
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let sem = LockId::MmapSem(self.mm);
        loop {
            match &mut self.phase {
                Phase::Preparing => {
                    kernel.drain_all();
                    self.phase = Phase::Entering;
                }
                Phase::Entering => {
                    if !kernel.lock::<M>(me, sem, Want::Exclusive) {
                        return Progress::Waiting(sem);
                    }
                    self.contextualise(kernel, me);
                }
                Phase::Collecting(collect) => {
                    match collect.advance::<M>(kernel, me, &mut self.batch) {
                        Err(lock) => return Progress::Waiting(lock),
                        Ok(Ok(false)) if kernel.pauses::<M>(LEAF_ENTRIES) => return Progress::Ran,
                        Ok(Ok(false)) => {}
                        Ok(Ok(true)) => self.phase = Phase::Applying,
                        Ok(Err(errno)) => {
                            self.result = Err(errno);
                            let mut pages = self.batch.isolated();
                            pages.reverse();
                            self.phase = Phase::PuttingBack(pages);
                        }
                    }
                }
                Phase::PuttingBack(pages) => match pages.pop() {
                    None => self.phase = Phase::Leaving,
                    Some(page) => {
                        kernel.put_back_untried::<M>(me, page);
                        if kernel.pauses::<M>(1) {
                            return Progress::Ran;
                        }
                    }
                },
                Phase::Applying => {
                    let range = self.range.clone();
                    match area::apply_policy::<M>(kernel, me, self.mm, range, self.policy) {
                        Err(lock) => return Progress::Waiting(lock),
                        Ok(applied) => self.result = applied,
                    }
                    // Whatever became of the policy, the pages move (Q24).
                    self.phase = if self.batch.is_empty() { Phase::Leaving } else { Phase::Moving };
                }
                Phase::Moving => match self.batch.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let has_failed = self.batch.result() != Ok(0);
                        if self.result.is_ok() && has_failed && self.wanted.is_strict {
                            self.result = Err(Errno::InputOutput);
                        }
                        self.phase = Phase::Leaving;
                    }
                    other => return other,
                },
                Phase::Leaving => {
                    kernel.unlock::<M>(me, sem);
                    self.phase = Phase::Done;
                    return Progress::Done;
                }
                Phase::Done => return Progress::Done,
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }
}
