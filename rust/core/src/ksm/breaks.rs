//! Undoing merges that came to nothing: places get pages of their own again.

use serde::{Deserialize, Serialize};

use super::merge::mergeable_area;
use crate::base::{Pfn, RmapItemId};
use crate::fault::BreakKsm;
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// Write faults at some places, last to first, each under its `mmap_sem`. The caller has uses of
/// their address spaces.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Breaks {
    items: Vec<RmapItemId>,
    breaking: Option<BreakKsm>,
}

impl Breaks {
    pub(super) const fn new(items: Vec<RmapItemId>) -> Breaks {
        Breaks { items, breaking: None }
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        self.breaking.as_ref().map_or(&["SP16-break"], BreakKsm::labels)
    }

    /// Pages that it holds one reference each to.
    pub(super) fn held_pages(&self) -> [Option<Pfn>; 3] {
        self.breaking.as_ref().map_or([None; 3], BreakKsm::held_pages)
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        while let Some(&item) = self.items.last() {
            let place = kernel.ksm.items[item];
            let sem = LockId::MmapSem(place.mm);
            if !kernel.lock::<M>(me, sem, Want::Shared) {
                return Progress::Waiting(sem);
            }
            if self.breaking.is_none() && mergeable_area(kernel, place.mm, place.address).is_some()
            {
                self.breaking = Some(BreakKsm::new(place.mm, place.address));
            }
            if let Some(breaking) = &mut self.breaking {
                // Who owns the memory pays for the copy.
                let task = kernel.tasks.iter().find(|(_, task)| task.mm == Some(place.mm));
                let me = Me { task: task.map_or(me.task, |(pid, _)| pid), ..me };
                let progress = breaking.advance::<M>(kernel, me);
                if progress != Progress::Done {
                    return progress;
                }
            }
            kernel.unlock::<M>(me, sem);
            self.breaking = None;
            self.items.pop();
            if Point::Open.stops::<M>(me) && !self.items.is_empty() {
                return Progress::Ran;
            }
        }
        Progress::Done
    }
}
