//! `do_swap_page`: a page comes back from swap (supporting-paths 2.5).

use super::faulting::Served;
use crate::base::{MmId, Pfn, SwapEntry, VmaId};
use crate::kernel::Kernel;
use crate::state::pagetable::Entry;
use crate::step::{Label, Me, Mode, Progress};

/// One fault on a genuine swap entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct SwapIn {
    mm: MmId,
    vma: VmaId,
    address: u64,
    slot: SwapEntry,
    is_write: bool,
}

impl SwapIn {
    /// A fault at `address` of `vma`, where `slot` is swapped out.
    pub(super) const fn new(
        mm: MmId,
        vma: VmaId,
        address: u64,
        slot: SwapEntry,
        is_write: bool,
    ) -> SwapIn {
        SwapIn { mm, vma, address, slot, is_write }
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        todo!("swap owner")
    }

    /// Pages that it holds one reference each to.
    pub(super) fn held_pages(&self) -> [Option<Pfn>; 2] {
        todo!("swap owner")
    }

    /// How it ended, and the entry through which a store has still to be satisfied (step 8). Only
    /// once done.
    pub(super) fn ended(&self) -> (Served, Option<Entry>) {
        todo!("swap owner")
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let _ = (kernel, me, self.mm, self.vma, self.address, self.slot, self.is_write);
        todo!("swap owner")
    }
}
