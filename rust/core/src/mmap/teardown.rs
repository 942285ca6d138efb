//! Taking areas away: what `munmap` and exit share.

use serde::{Deserialize, Serialize};

use super::lists_are_free;
use crate::base::{MappingId, MmId, Pfn, VmaId};
use crate::filemap::Truncate;
use crate::kernel::Kernel;
use crate::state::lock::{AtPause, Want};
use crate::state::pagetable::{LEAF_ENTRIES, leaf_span_end};
use crate::state::rmap::unlink_file;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::zap::{Gather, Zapped};

/// How far the teardown has got.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
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
    /// Taking the pages out of a nameless file that nothing maps any more.
    Emptying(Box<Truncate>),
    Done,
}

/// The removal of areas that no lookup finds any more, with everything that they map.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Teardown {
    mm: MmId,
    areas: Vec<VmaId>,
    /// Addresses between the areas that stay: tables wholly in here are freed.
    gap: std::ops::Range<u64>,
    gather: Gather,
    /// Nameless files that lost their last area.
    orphans: Vec<MappingId>,
    phase: Phase,
}

impl Teardown {
    /// Will take `areas`, in address order, out of `mm`.
    pub(super) fn new(mm: MmId, areas: Vec<VmaId>, gap: std::ops::Range<u64>) -> Teardown {
        let (gather, orphans) = (Gather::new(), Vec::new());
        Teardown { mm, areas, gap, gather, orphans, phase: Phase::Draining }
    }

    /// Whether there is nothing to take away.
    pub(super) fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    pub(super) fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Draining => &["SP6-detach"],
            Phase::Zapping { .. } => &["SP6-zap"],
            Phase::Unlinking(_) => &["SP6-free"],
            Phase::Flushing => &["SP6-release"],
            Phase::Emptying(truncate) => truncate.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to, most of them until a batch is released.
    pub(super) fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Emptying(truncate) => truncate.held_pages(),
            _ => self.gather.held_pages(),
        }
    }

    /// The locks that it has at a pause.
    pub(super) fn locks_at_pause(&self) -> AtPause {
        match &self.phase {
            Phase::Emptying(truncate) => truncate.locks_at_pause(),
            _ => AtPause::new(),
        }
    }

    /// Makes one step: at most one leaf table's entries.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Draining => {
                    kernel.drain(me.cpu);
                    self.phase = self.start_of(kernel, 0);
                }
                Phase::Zapping { area, address } => {
                    let (area, address) = (*area, *address);
                    match self.zap::<M>(kernel, me, area, address) {
                        Ok(next) => self.phase = next,
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::Unlinking(area) => {
                    let area = *area;
                    let Some(&id) = self.areas.get(area) else {
                        self.free_tables(kernel);
                        self.phase = Phase::Flushing;
                        continue;
                    };
                    if let Err(lock) = lists_are_free::<M>(kernel, me, id) {
                        return Progress::Waiting(lock);
                    }
                    self.unlink(kernel, id);
                    self.phase = Phase::Unlinking(area + 1);
                }
                Phase::Flushing => {
                    self.gather.flush::<M>(kernel, me);
                    self.phase = self.next_orphan(kernel);
                }
                Phase::Emptying(truncate) => match truncate.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = self.next_orphan(kernel),
                    other => return other,
                },
                Phase::Done => return Progress::Done,
            }
            if let Phase::Done = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) || kernel.pauses::<M>(LEAF_ENTRIES) {
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
                if !self.gather.is_paused() && !kernel.lock::<M>(me, lock, Want::Exclusive) {
                    return Err(lock);
                }
                let what = Zapped { vma: self.areas[area], only: None };
                if let Some(at) = self.gather.zap::<M>(kernel, me, what, leaf, address..stop) {
                    return Ok(Phase::Zapping { area, address: at });
                }
                kernel.unlock::<M>(me, lock);
            }
            None => self.gather.pass_over::<M>(kernel, me),
        }
        Ok(if stop == end {
            self.start_of(kernel, area + 1)
        } else {
            Phase::Zapping { area, address: stop }
        })
    }

    /// Takes an area off its lists. A nameless file goes with its last area.
    fn unlink(&mut self, kernel: &mut Kernel, id: VmaId) {
        kernel.anon_vmas.unlink(&mut kernel.vmas, id);
        let Some(file) = unlink_file(&mut kernel.mappings, &mut kernel.vmas, id) else { return };
        let space = &kernel.mappings[file];
        let is_nameless = space.host.as_ref().is_some_and(|host| host.is_nameless);
        if is_nameless && space.areas.is_empty() {
            self.orphans.push(file);
        }
    }

    /// The next file to be emptied; after the last one the areas are no more.
    fn next_orphan(&mut self, kernel: &mut Kernel) -> Phase {
        if let Some(file) = self.orphans.pop() {
            return Phase::Emptying(Box::new(Truncate::new(file, 0)));
        }
        for id in std::mem::take(&mut self.areas) {
            kernel.vmas.remove(id);
        }
        Phase::Done
    }

    fn free_tables(&mut self, kernel: &mut Kernel) {
        let root = kernel.mms[self.mm].root;
        if kernel.tables.free_range(root, self.gap.clone()) > 0 {
            self.gather.note_freed_table();
        }
    }
}
