//! `migration_entry_wait`: sleep until the page of a migration entry is back.

use serde::{Deserialize, Serialize};

use crate::base::{KERNEL_HALTS, MmId, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::pagetable::leaf_index;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    Looking,
    Sleeping(Pfn),
    Done,
    /// The page was frozen and gave no reference (EW-4).
    TurnedAway,
}

/// One wait at one address. It holds a reference to the old page while it sleeps, which makes
/// a migration that has not passed its count test fail and retry (S05).
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct EntryWait {
    mm: MmId,
    address: u64,
    phase: Phase,
}

impl EntryWait {
    /// Will wait for the page that the migration entry at `address` names, if there is one.
    pub const fn new(mm: MmId, address: u64) -> EntryWait {
        EntryWait { mm, address, phase: Phase::Looking }
    }

    /// The steps that the next advance makes.
    pub const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Looking => &["EW-1", "EW-2", "EW-3", "EW-4", "EW-5"],
            Phase::Sleeping(_) => &["EW-6", "EW-7"],
            Phase::Done | Phase::TurnedAway => &[],
        }
    }

    /// The page that it holds a reference to.
    pub const fn held_page(&self) -> Option<Pfn> {
        match self.phase {
            Phase::Sleeping(page) => Some(page),
            _ => None,
        }
    }

    /// Whether the page was frozen, so that there was nothing to sleep on (S06).
    pub const fn was_turned_away(&self) -> bool {
        matches!(self.phase, Phase::TurnedAway)
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match self.phase {
                Phase::Looking => {
                    let root = kernel.mms[self.mm].root;
                    let Some(leaf) = kernel.tables.find_leaf(root, self.address) else {
                        self.phase = Phase::Done;
                        return Progress::Done;
                    };
                    if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
                        return Progress::Waiting(LockId::Leaf(leaf));
                    }
                    let entry = kernel.tables.get(leaf, leaf_index(self.address));
                    self.phase = match entry.as_migration() {
                        Some((page, _)) if self.may_sleep(kernel, page) => Phase::Sleeping(page),
                        Some(_) => Phase::TurnedAway,
                        None => Phase::Done,
                    };
                    kernel.unlock::<M>(me, LockId::Leaf(leaf));
                }
                Phase::Sleeping(page) => {
                    if !kernel.page_is_unlocked::<M>(me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                    kernel.put_page(page);
                    self.phase = Phase::Done;
                }
                Phase::Done | Phase::TurnedAway => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done | Phase::TurnedAway) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// EW-3 and EW-4: a frozen page gives no reference, and then the access just faults again.
    fn may_sleep(&self, kernel: &mut Kernel, page: Pfn) -> bool {
        let frame = &mut kernel.frames[page];
        // Only `mremap` can have left it behind (Q21).
        assert!(
            frame.has(PageFlags::LOCKED),
            "migration entry names unlocked page {page}: {KERNEL_HALTS}"
        );
        frame.try_get()
    }
}
