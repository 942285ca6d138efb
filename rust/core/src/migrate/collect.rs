//! `check_range`: which pages of a range a policy, or a pair of nodes, wants moved (syscalls 6.3).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use crate::base::{Errno, MmId, NodeMask, PAGE_SIZE, Pfn, TableId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{leaf_index, leaf_span_end};
use crate::step::{LockId, Me, Mode};
use crate::trace::EventKind;

/// What the scan looks for, and what it does with it.
#[derive(Clone, Copy, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// Nodes asked about.
    pub nodes: NodeMask,
    /// Whether pages *outside* those nodes are wanted (INVERT).
    pub is_inverted: bool,
    /// MPOL_MF_STRICT: without a move, a wanted page is an error.
    pub is_strict: bool,
    /// MPOL_MF_MOVE or MPOL_MF_MOVE_ALL: wanted pages are collected.
    pub may_move: bool,
    /// MPOL_MF_MOVE_ALL: pages that are mapped more than once, too.
    pub is_shared_too: bool,
    /// DISCONTIG_OK: holes in the range are no error.
    pub may_have_holes: bool,
}

/// One scan, under the caller's `mmap_sem`. One advance visits at most one leaf table.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Collect {
    mm: MmId,
    range: Range<u64>,
    wanted: Wanted,
    /// Where the scan stands.
    next: u64,
    /// The area that it is in, once its hole has been judged.
    area: Option<VmaId>,
    /// End of the area before.
    last_end: Option<u64>,
}

impl Collect {
    /// Will scan `range` of `mm`.
    pub const fn new(mm: MmId, range: Range<u64>, wanted: Wanted) -> Collect {
        let next = range.start;
        Collect { mm, range, wanted, next, area: None, last_end: None }
    }

    /// Makes one step: true when the range has been scanned.
    ///
    /// # Errors
    /// Outside: the lock to wait for. Inside: `Fault` for a hole, `InputOutput` for a page in the
    /// wrong place that is not to be moved.
    pub fn advance<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        batch: &mut Batch,
    ) -> Result<Result<bool, Errno>, LockId> {
        let Some(id) = self.area else {
            return Ok(self.enter_area(kernel));
        };
        let end = kernel.vmas[id].end;
        let stop = leaf_span_end(self.next).min(end).min(self.range.end);
        if let Some(leaf) = kernel.tables.find_leaf(kernel.mms[self.mm].root, self.next) {
            let lock = LockId::Leaf(leaf);
            if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                return Err(lock);
            }
            let visited = self.visit::<M>(kernel, me, leaf, self.next..stop, batch);
            kernel.unlock::<M>(me, lock);
            if let Err(errno) = visited {
                return Ok(Err(errno));
            }
        }
        self.next = stop;
        if stop == end.min(self.range.end) {
            self.area = None;
            self.next = end;
        }
        Ok(Ok(false))
    }

    /// The next area of the range, if its surroundings are in order; true at the end.
    fn enter_area(&mut self, kernel: &Kernel) -> Result<bool, Errno> {
        let space = &kernel.mms[self.mm];
        let Some(id) = space.find_vma(self.next) else {
            return if self.last_end.is_none() { Err(Errno::Fault) } else { Ok(true) };
        };
        let vma = &kernel.vmas[id];
        if vma.start >= self.range.end {
            return Ok(true);
        }
        if !self.wanted.may_have_holes {
            let is_last = space.find_vma(vma.end).is_none();
            let has_gap = self.last_end.is_some_and(|end| end < vma.start);
            if (is_last && vma.end < self.range.end) || has_gap {
                return Err(Errno::Fault);
            }
        }
        self.last_end = Some(vma.end);
        let moves = self.wanted.may_move && is_migratable(kernel, id);
        let is_scanned = !vma.flags.contains(VmFlags::HUGETLB) && (self.wanted.is_strict || moves);
        self.next = vma.end;
        if is_scanned {
            self.area = Some(id);
            self.next = vma.start.max(self.range.start);
        }
        Ok(false)
    }

    /// Every entry of one leaf table that lies in the range, leaf locked.
    fn visit<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        leaf: TableId,
        addresses: Range<u64>,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        for address in addresses.step_by(PAGE_SIZE as usize) {
            let entry = kernel.tables.get(leaf, leaf_index(address));
            let page = entry.normal_page().filter(|_| entry.is_present());
            let Some(page) = page.filter(|&page| self.wants(kernel, page)) else { continue };
            if !self.wanted.may_move {
                return Err(Errno::InputOutput);
            }
            // `migrate_page_add`: what cannot be isolated is passed over in silence.
            let is_ours = self.wanted.is_shared_too || kernel.frames[page].mapcount() == 1;
            if is_ours && kernel.isolate_page(page).is_ok() {
                batch.append(page);
                kernel.note::<M>(me, EventKind::Isolate, Some(page), address, 0);
            }
        }
        Ok(())
    }

    fn wants(&self, kernel: &Kernel, page: Pfn) -> bool {
        let is_named = self.wanted.nodes.contains(kernel.zones.node_of(page));
        !is_left_alone(kernel, page) && is_named != self.wanted.is_inverted
    }
}

/// Whether no system call moves the page, or says where it is: PG_reserved, or KSM's (Q11).
#[inline]
pub(super) fn is_left_alone(kernel: &Kernel, page: Pfn) -> bool {
    let frame = &kernel.frames[page];
    frame.has(PageFlags::RESERVED) || frame.is_ksm()
}

/// `vma_migratable`: no area of a kind that cannot be, and no file whose pages must come from a
/// lower zone type than policies are about.
#[inline]
pub(super) fn is_migratable(kernel: &Kernel, vma: VmaId) -> bool {
    let area = &kernel.vmas[vma];
    let is_low = |file| kernel.mappings[file].kind.is_below_policy_zone;
    area.is_migratable() && !area.file.is_some_and(is_low)
}
