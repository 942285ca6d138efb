//! `migrate_pages(2)`: all pages of a process, from some nodes to others (syscalls 5.3 and 5.4).

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::collect::{Collect, Wanted};
use super::target::Target;
use super::vmas::migrate_vmas;
use crate::base::{Errno, MmId, NodeId, NodeMask, Pfn, USER_END};
use crate::kernel::Kernel;
use crate::mmap::MmRelease;
use crate::state::lock::{AtPause, Want};
use crate::state::pagetable::LEAF_ENTRIES;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Step 1: `migrate_prep`.
    Preparing,
    /// Steps 2 and 3: `mmap_sem`, and areas that move their own pages.
    Entering,
    /// Step 5: the next pair of nodes.
    Pairing,
    /// Step 5, `migrate_to_node`: the pages of one node.
    Collecting(Collect),
    /// The same: on their way.
    Moving,
    /// Step 6.
    Leaving,
    Releasing(MmRelease),
    Done,
}

/// One call on the memory of a target.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct MigratePages {
    mm: MmId,
    from: NodeMask,
    to: NodeMask,
    is_shared_too: bool,
    /// Source nodes without a pair yet.
    remaining: NodeMask,
    batch: Batch,
    busy: u32,
    result: Result<(), Errno>,
    phase: Phase,
}

impl MigratePages {
    /// Will move the pages of `mm`, of which the caller has taken a use that this call gives back.
    pub fn new(mm: MmId, from: NodeMask, to: NodeMask, is_shared_too: bool) -> MigratePages {
        MigratePages {
            mm,
            from,
            to,
            is_shared_too,
            remaining: from,
            batch: Batch::new(Target::Anywhere, 0),
            busy: 0,
            result: Ok(()),
            phase: Phase::Preparing,
        }
    }

    /// How many isolated pages did not move, or an errno.
    pub fn result(&self) -> Result<u32, Errno> {
        self.result.map(|()| self.busy)
    }

    /// Whether the first step is still to come.
    pub const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Preparing)
    }

    /// The batch under way.
    pub fn batch(&self) -> Option<&Batch> {
        matches!(self.phase, Phase::Collecting(_) | Phase::Moving).then_some(&self.batch)
    }

    /// The memory, while the call has a use of it.
    pub const fn mm_in_use(&self) -> Option<MmId> {
        match &self.phase {
            Phase::Releasing(release) => release.mm_in_use(),
            Phase::Done => None,
            _ => Some(self.mm),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Preparing => &["SY5.3-1", "PREP-1"],
            Phase::Entering => &["SY5.3-2", "SY5.3-3"],
            Phase::Pairing => &["SY5.3-5"],
            Phase::Collecting(_) => &["SY5.4-1"],
            Phase::Moving => self.batch.labels(),
            Phase::Leaving => &["SY5.3-6"],
            Phase::Releasing(release) => release.labels(),
            Phase::Done => &[],
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        match &self.phase {
            Phase::Preparing | Phase::Entering | Phase::Done => AtPause::new(),
            Phase::Releasing(release) => release.locks_at_pause(),
            _ => vec![(LockId::MmapSem(self.mm), Want::Shared)],
        }
    }

    /// How many pages of the pair of nodes under way are done, of how many.
    pub fn done_of(&self) -> (u64, u64) {
        self.batch.done_of()
    }

    /// Pages that it holds one reference each to, besides the batch's.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Releasing(release) => release.held_pages(),
            _ => Vec::new(),
        }
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
                    if !kernel.lock::<M>(me, sem, Want::Shared) {
                        return Progress::Waiting(sem);
                    }
                    self.phase = self.ask_areas::<M>(kernel, me);
                }
                Phase::Pairing => self.pair(),
                Phase::Collecting(collect) => {
                    match collect.advance::<M>(kernel, me, &mut self.batch) {
                        Err(lock) => return Progress::Waiting(lock),
                        Ok(Ok(false)) if kernel.pauses::<M>(LEAF_ENTRIES) => return Progress::Ran,
                        Ok(Ok(false)) => {}
                        // Its result is ignored: an address space without areas has no pages.
                        Ok(_) if self.batch.is_empty() => self.phase = Phase::Pairing,
                        Ok(_) => self.phase = Phase::Moving,
                    }
                }
                Phase::Moving => match self.batch.advance::<M>(kernel, me) {
                    Progress::Done => self.end_pair(),
                    other => return other,
                },
                Phase::Leaving => {
                    kernel.unlock::<M>(me, sem);
                    self.phase = Phase::Releasing(MmRelease::new(self.mm));
                }
                Phase::Releasing(release) => match release.advance::<M>(kernel, me) {
                    Progress::Done => {
                        self.phase = Phase::Done;
                        return Progress::Done;
                    }
                    other => return other,
                },
                Phase::Done => return Progress::Done,
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Step 3. What an area's method returns ends the call: a negative number is its result, a
    /// positive one is lost (step 6).
    fn ask_areas<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Phase {
        match migrate_vmas::<M>(kernel, me, self.mm, [self.from, self.to]) {
            Ok(()) => Phase::Pairing,
            Err(errno) => {
                if errno.negative() < 0 {
                    self.result = Err(errno);
                }
                Phase::Leaving
            }
        }
    }

    fn pair(&mut self) {
        let Some((source, target)) = next_pair(self.from, self.to, self.remaining) else {
            self.phase = Phase::Leaving;
            return;
        };
        self.remaining.0 &= !NodeMask::one(source).0;
        self.batch = Batch::new(Target::Preferably(target), 0);
        let wanted = Wanted {
            nodes: NodeMask::one(source),
            may_move: true,
            is_shared_too: self.is_shared_too,
            may_have_holes: true,
            ..Wanted::default()
        };
        self.phase = Phase::Collecting(Collect::new(self.mm, 0..USER_END, wanted));
    }

    fn end_pair(&mut self) {
        match self.batch.result() {
            Ok(busy) => {
                self.busy += busy;
                self.phase = Phase::Pairing;
            }
            Err(errno) => {
                self.result = Err(errno);
                self.phase = Phase::Leaving;
            }
        }
    }
}

/// Step 5: the last candidate of a scan that stops at the first whose target is no source any more.
fn next_pair(from: NodeMask, to: NodeMask, remaining: NodeMask) -> Option<(NodeId, NodeId)> {
    let mut last = None;
    for source in remaining.iter() {
        let target = remap(source, from, to);
        if target == source {
            continue;
        }
        last = Some((source, target));
        if !remaining.contains(target) {
            break;
        }
    }
    last
}

/// Where the pages of a source node go: the target in the same position, counted cyclically.
fn remap(source: NodeId, from: NodeMask, to: NodeMask) -> NodeId {
    let position = from.iter().take_while(|&node| node < source).count() as u32;
    to.nth(position % to.len().max(1)).unwrap_or(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pairs of a call, in order.
    fn pairs(from: &[u8], to: &[u8]) -> Vec<(u8, u8)> {
        let mask = |nodes: &[u8]| nodes.iter().map(|&node| NodeId(node)).collect::<NodeMask>();
        let (from, to) = (mask(from), mask(to));
        let mut remaining = from;
        let mut pairs = Vec::new();
        while let Some((source, target)) = next_pair(from, to, remaining) {
            remaining.0 &= !(1 << source.0);
            pairs.push((source.0, target.0));
        }
        pairs
    }

    #[test]
    fn pairs_come_in_the_order_that_the_specification_gives() {
        assert_eq!(pairs(&[0, 1, 2], &[1, 2, 3]), [(2, 3), (1, 2), (0, 1)]);
        assert_eq!(pairs(&[0, 1], &[1]), [(0, 1)]);
        assert_eq!(pairs(&[0, 1, 2, 3], &[5]), [(0, 5), (1, 5), (2, 5), (3, 5)]);
        assert_eq!(pairs(&[0, 1], &[1, 0]), [], "sets have no order: every node is its own target");
        assert_eq!(pairs(&[0, 1], &[]), []);
    }
}
