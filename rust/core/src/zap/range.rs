//! Clearing the entries of one range of one area (`zap_page_range`).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::gather::{Gather, Zapped};
use crate::base::Pfn;
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::state::pagetable::leaf_span_end;
use crate::step::{LockId, Me, Mode, Progress};

/// How far the range is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    Draining,
    /// From this address on.
    Clearing(u64),
    Flushing,
    Done,
}

/// One run over a range, for a caller that keeps the area where it is: with `mmap_sem`, or with
/// the lock of the file that the area maps.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct RangeZap {
    what: Zapped,
    range: Range<u64>,
    gather: Gather,
    phase: Phase,
}

impl RangeZap {
    /// Will clear `range`, which lies within the area.
    pub const fn new(what: Zapped, range: Range<u64>) -> RangeZap {
        RangeZap { what, range, gather: Gather::new(), phase: Phase::Draining }
    }

    /// Pages that wait for their reference to be dropped.
    pub fn held_pages(&self) -> Vec<Pfn> {
        self.gather.held_pages()
    }

    /// Makes one step, at most one leaf table's entries. It never stops by itself: whether others
    /// may run now is the caller's to say.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        match self.phase {
            Phase::Draining => {
                kernel.drain(me.cpu);
                self.phase = Phase::Clearing(self.range.start);
            }
            Phase::Clearing(address) => {
                let stop = leaf_span_end(address).min(self.range.end);
                let root = kernel.mms[kernel.vmas[self.what.vma].mm].root;
                match kernel.tables.find_leaf(root, address) {
                    Some(leaf) => {
                        let lock = LockId::Leaf(leaf);
                        let is_held = self.gather.is_paused();
                        if !is_held && !kernel.lock::<M>(me, lock, Want::Exclusive) {
                            return Progress::Waiting(lock);
                        }
                        let range = address..stop;
                        if let Some(at) = self.gather.zap::<M>(kernel, me, self.what, leaf, range) {
                            self.phase = Phase::Clearing(at);
                            return Progress::Ran;
                        }
                        kernel.unlock::<M>(me, lock);
                    }
                    None => self.gather.pass_over::<M>(kernel, me),
                }
                let is_last = stop == self.range.end;
                self.phase = if is_last { Phase::Flushing } else { Phase::Clearing(stop) };
            }
            Phase::Flushing => {
                self.gather.flush::<M>(kernel, me);
                self.phase = Phase::Done;
            }
            Phase::Done => {}
        }
        if self.phase == Phase::Done { Progress::Done } else { Progress::Ran }
    }
}
