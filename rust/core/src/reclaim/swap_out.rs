//! Reclaim of the one page at an address.

use serde::{Deserialize, Serialize};

use super::shrink::{Ended, ShrinkPage};
use super::{isolate, put_back};
use crate::base::{MmId, Pfn};
use crate::fault::{Follow, follow_page_locked};
use crate::kernel::Kernel;
use crate::pagecache::transfer;
use crate::state::lock::Want;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// How far it has got.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Find the page and take it off its list.
    Starting,
    /// Try to free it.
    Shrinking(ShrinkPage),
    /// Wait for the write that this has started.
    Writing(Pfn),
    /// Try again, now that the page is clean.
    Finishing(ShrinkPage),
    Done(bool),
}

/// Drains the CPU, takes the page at an address off its list and runs reclaim over it, as
/// `shrink_inactive_list` does with a batch; of what it did not free it puts back what is left.
///
/// Two things are other than in a scan, so that who swaps a page out finds it out. Uses of the page
/// before the call do not count, as if it had aged on the inactive list first; one while the call
/// runs does. And the call waits for the write that it has started, and then runs reclaim once
/// more, as lumpy reclaim does with its pages. Whatever else keeps a page keeps it here.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct SwapOut {
    mm: MmId,
    address: u64,
    phase: Phase,
}

impl SwapOut {
    /// Will reclaim the page at `address`.
    pub const fn new(mm: MmId, address: u64) -> SwapOut {
        SwapOut { mm, address, phase: Phase::Starting }
    }

    /// Whether the page was freed. Only once done.
    pub fn is_freed(&self) -> bool {
        match self.phase {
            Phase::Done(is_freed) => is_freed,
            _ => unreachable!("asked before the call was done"),
        }
    }

    /// The page that it has isolated.
    pub const fn isolated(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Shrinking(shrink) | Phase::Finishing(shrink) => Some(shrink.page()),
            Phase::Writing(page) => Some(*page),
            Phase::Starting | Phase::Done(_) => None,
        }
    }

    /// The run over the page, while there is one.
    pub const fn shrinking(&self) -> Option<&ShrinkPage> {
        match &self.phase {
            Phase::Shrinking(shrink) | Phase::Finishing(shrink) => Some(shrink),
            _ => None,
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting => &["SP12-isolate"],
            Phase::Shrinking(shrink) | Phase::Finishing(shrink) => shrink.labels(),
            Phase::Writing(_) => &["SP12-wait"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Starting => match self.start::<M>(kernel, me) {
                    Ok(next) => self.phase = next,
                    Err(lock) => return Progress::Waiting(lock),
                },
                Phase::Shrinking(shrink) => match shrink.advance::<M>(kernel, me) {
                    Progress::Done if shrink.ended() == Ended::Writing => {
                        self.phase = Phase::Writing(shrink.page());
                    }
                    Progress::Done => self.phase = end(kernel, me, shrink),
                    other => return other,
                },
                &mut Phase::Writing(page) => {
                    if !transfer::writeback_is_over::<M>(kernel, me, page) {
                        return Progress::Waiting(LockId::Writeback(page));
                    }
                    self.phase = Phase::Finishing(ShrinkPage::new(page));
                }
                Phase::Finishing(shrink) => match shrink.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = end(kernel, me, shrink),
                    other => return other,
                },
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

    fn start<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        let sem = LockId::MmapSem(self.mm);
        if !kernel.lock::<M>(me, sem, Want::Shared) {
            return Err(sem);
        }
        let found = follow_page_locked::<M>(kernel, me, self.mm, self.address, Follow::default());
        kernel.unlock::<M>(me, sem);
        let Ok(Some(page)) = found? else { return Ok(Phase::Done(false)) };
        kernel.drain(me.cpu);
        if isolate(kernel, page).is_err() {
            return Ok(Phase::Done(false));
        }
        Ok(Phase::Shrinking(ShrinkPage::relentless(page)))
    }
}

/// What is left of the page goes back to its list.
fn end(kernel: &mut Kernel, me: Me, shrink: &ShrinkPage) -> Phase {
    let ended = shrink.ended();
    if matches!(ended, Ended::Kept | Ended::Writing) {
        put_back(kernel, me.cpu, shrink.page());
    }
    Phase::Done(ended == Ended::Freed)
}
