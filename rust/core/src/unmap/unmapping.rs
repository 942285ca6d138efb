//! `try_to_unmap` for migration: every entry of a page becomes a migration entry.

use super::{Walk, list_of, mapcount};
use crate::base::{Pfn, TableId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;

/// How far the walk over the areas has got.
///
/// ```text
///   phase      holds                       the next advance
///   Starting   nothing                     takes the list's lock
///   Finding    list                        finds the next entry, takes its leaf lock
///   Replacing  list, leaf                  replaces it, drops map count and reference
///   Done       nothing
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Finding(Walk),
    Replacing { walk: Walk, vma: VmaId, leaf: TableId, address: u64 },
    Done,
}

/// One run of UM-9 over a locked page.
#[derive(Clone, Copy, Debug)]
pub struct Unmapping {
    page: Pfn,
    phase: Phase,
}

impl Unmapping {
    /// Will replace the entries of `page`, which its caller keeps locked.
    #[inline]
    pub const fn new(page: Pfn) -> Unmapping {
        Unmapping { page, phase: Phase::Starting }
    }

    /// The steps that the next advance makes.
    pub const fn labels(&self) -> &'static [Label] {
        &["UM-9"]
    }

    /// Makes one step. The walk ends as soon as the page is unmapped.
    #[inline]
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let point = match self.phase {
                Phase::Starting => {
                    // The list is asked for only if the page is mapped (supporting-paths 5).
                    let mapped = kernel.frames[self.page].is_mapped();
                    let Some(list) = list_of(kernel, self.page).filter(|_| mapped) else {
                        self.phase = Phase::Done;
                        return Progress::Done;
                    };
                    if !kernel.lock::<M>(me, LockId::AnonVma(list), Want::Exclusive) {
                        return Progress::Waiting(LockId::AnonVma(list));
                    }
                    self.phase = Phase::Finding(Walk { list, next: 0 });
                    Point::Held
                }
                Phase::Finding(walk) => match self.find::<M>(kernel, me, walk) {
                    Ok(point) => point,
                    Err(waits) => return waits,
                },
                Phase::Replacing { walk, vma, leaf, address } => {
                    replace_entry::<M>(kernel, me, self.page, vma, leaf, address);
                    kernel.unlock::<M>(me, LockId::Leaf(leaf));
                    self.phase = if kernel.frames[self.page].is_mapped() {
                        Phase::Finding(walk)
                    } else {
                        kernel.unlock::<M>(me, LockId::AnonVma(walk.list));
                        Phase::Done
                    };
                    Point::Held
                }
                Phase::Done => return Progress::Done,
            };
            if self.phase == Phase::Done {
                return Progress::Done;
            }
            if point.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// `page_check_address` for the next area: leaves the leaf locked if the page is there.
    #[inline]
    fn find<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        mut walk: Walk,
    ) -> Result<Point, Progress> {
        let index = kernel.frames[self.page].index();
        let Some((vma, address)) = walk.next_place(kernel, index) else {
            kernel.unlock::<M>(me, LockId::AnonVma(walk.list));
            self.phase = Phase::Done;
            return Ok(Point::Held);
        };
        let root = kernel.mms[kernel.vmas[vma].mm].root;
        kernel.cost.walks += 1;
        let is_here = |entry: Entry| entry.is_present() && entry.pfn() == self.page;
        let leaf = kernel.tables.leaf_of(root, address);
        let Some(leaf) = leaf.filter(|&l| is_here(kernel.tables.get(l, leaf_index(address))))
        else {
            self.phase = Phase::Finding(walk);
            return Ok(Point::Held);
        };
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(Progress::Waiting(LockId::Leaf(leaf)));
        }
        if is_here(kernel.tables.get(leaf, leaf_index(address))) {
            self.phase = Phase::Replacing { walk, vma, leaf, address };
        } else {
            kernel.unlock::<M>(me, LockId::Leaf(leaf));
            self.phase = Phase::Finding(walk);
        }
        Ok(Point::Held)
    }
}

/// One visit, leaf locked: entry replaced, then map count lowered, then reference dropped.
///
/// Neither VM_LOCKED nor the accessed bit is looked at (TTU_IGNORE_MLOCK, TTU_IGNORE_ACCESS).
#[inline]
fn replace_entry<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    page: Pfn,
    vma: VmaId,
    leaf: TableId,
    address: u64,
) {
    let at = leaf_index(address);
    let entry = kernel.tables.get(leaf, at);
    debug_assert!(
        kernel.frames[page].has(PageFlags::LOCKED),
        "migration entry of an unlocked page"
    );
    debug_assert!(kernel.vmas[vma].contains(address));
    if entry.has(Entry::DIRTY) {
        kernel.frames[page].set(PageFlags::DIRTY);
    }
    let is_write = entry.has(Entry::WRITABLE);
    kernel.tables.set(leaf, at, Entry::migration(page, is_write));
    kernel.cost.unmaps += 1;
    kernel.cost.flushes += 1;
    kernel.note::<M>(me, EventKind::Unmap, Some(page), address, i64::from(is_write));
    mapcount::remove(kernel, page);
    kernel.put_page(page);
}
