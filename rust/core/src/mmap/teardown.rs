//! Taking areas away: what `munmap` and exit share.

use super::lists_are_free;
use crate::base::{MmId, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::state::pagetable::leaf_span_end;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::zap::Gather;

/// How far the teardown has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Draining,
    /// Clearing the entries of area number `area` from `address` on.
    Zapping {
        area: usize,
        address: u64,
    },
    /// Taking area number `area` off its lists.
    Unlinking(usize),
    Flushing,
    Done,
}

/// The removal of areas that no lookup finds any more, with everything that they map.
#[derive(Clone, Debug)]
pub(super) struct Teardown {
    mm: MmId,
    areas: Vec<VmaId>,
    /// Addresses between the areas that stay: tables wholly in here are freed.
    gap: std::ops::Range<u64>,
    gather: Gather,
    phase: Phase,
}

impl Teardown {
    /// Will take `areas`, in address order, out of `mm`.
    pub(super) fn new(mm: MmId, areas: Vec<VmaId>, gap: std::ops::Range<u64>) -> Teardown {
        Teardown { mm, areas, gap, gather: Gather::new(), phase: Phase::Draining }
    }

    /// Whether there is nothing to take away.
    pub(super) fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    pub(super) const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Draining => &["SP6-detach"],
            Phase::Zapping { .. } => &["SP6-zap"],
            Phase::Unlinking(_) => &["SP6-free"],
            Phase::Flushing => &["SP6-release"],
            Phase::Done => &[],
        }
    }

    /// Pages that wait for their reference to be dropped.
    pub(super) fn held_pages(&self) -> &[Pfn] {
        self.gather.pages()
    }

    /// Makes one step: at most one leaf table's entries.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match self.phase {
                Phase::Draining => {
                    kernel.drain(me.cpu);
                    self.phase = self.start_of(kernel, 0);
                }
                Phase::Zapping { area, address } => {
                    match self.zap::<M>(kernel, me, area, address) {
                        Ok(next) => self.phase = next,
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::Unlinking(area) => {
                    let Some(&id) = self.areas.get(area) else {
                        self.free_tables(kernel);
                        self.phase = Phase::Flushing;
                        continue;
                    };
                    if let Err(lock) = lists_are_free::<M>(kernel, me, id) {
                        return Progress::Waiting(lock);
                    }
                    kernel.anon_vmas.unlink(&mut kernel.vmas, id);
                    self.phase = Phase::Unlinking(area + 1);
                }
                Phase::Flushing => {
                    self.gather.flush(kernel, me.cpu);
                    for id in std::mem::take(&mut self.areas) {
                        kernel.vmas.remove(id);
                    }
                    self.phase = Phase::Done;
                }
                Phase::Done => return Progress::Done,
            }
            if self.phase == Phase::Done {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    fn start_of(&self, kernel: &Kernel, area: usize) -> Phase {
        match self.areas.get(area) {
            Some(&id) => Phase::Zapping { area, address: kernel.vmas[id].start },
            None => Phase::Unlinking(0),
        }
    }

    /// Clears what one leaf table holds of an area.
    fn zap<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        area: usize,
        address: u64,
    ) -> Result<Phase, LockId> {
        let end = kernel.vmas[self.areas[area]].end;
        let stop = leaf_span_end(address).min(end);
        match kernel.tables.find_leaf(kernel.mms[self.mm].root, address) {
            Some(leaf) => {
                let lock = LockId::Leaf(leaf);
                if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                    return Err(lock);
                }
                self.gather.zap(kernel, me.cpu, self.mm, leaf, address..stop);
                kernel.unlock::<M>(me, lock);
            }
            None => self.gather.pass_over(kernel, me.cpu),
        }
        Ok(if stop == end {
            self.start_of(kernel, area + 1)
        } else {
            Phase::Zapping { area, address: stop }
        })
    }

    fn free_tables(&mut self, kernel: &mut Kernel) {
        let root = kernel.mms[self.mm].root;
        if kernel.tables.free_range(root, self.gap.clone()) > 0 {
            self.gather.note_freed_table();
        }
    }
}
