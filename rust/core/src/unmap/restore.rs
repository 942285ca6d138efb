//! `remove_migration_ptes`: every migration entry of a page becomes an ordinary entry again.

use super::{Walk, list_of, mapcount};
use crate::base::{Pfn, TableId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;

/// How far the walk has got; as in [`super::Unmapping`], with the leaf locked in `Replacing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Finding(Walk),
    Replacing { walk: Walk, vma: VmaId, leaf: TableId, address: u64 },
    Done,
}

/// One walk over all candidates: entries that name `old` will map `new`.
#[derive(Clone, Copy, Debug)]
pub struct Restoring {
    old: Pfn,
    new: Pfn,
    phase: Phase,
}

impl Restoring {
    /// Will map `new` wherever a migration entry names `old`; they may be the same page.
    #[inline]
    pub const fn new(old: Pfn, new: Pfn) -> Restoring {
        Restoring { old, new, phase: Phase::Starting }
    }

    /// Whether the walk has not begun.
    pub const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting)
    }

    /// The steps that the next advance makes; none of this section before the walk has begun.
    pub const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Replacing { .. } => &["RP-4", "RP-5", "RP-6", "RP-7", "RP-8", "RP-9", "RP-10"],
            Phase::Finding(_) => &["RP-1", "RP-2", "RP-3"],
            Phase::Starting | Phase::Done => &[],
        }
    }

    /// Makes one step. The list walked is the one that `new` names at the start, even if the
    /// first restored entry re-points the page (Q14); the walk never stops early.
    #[inline]
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let point = match self.phase {
                Phase::Starting => {
                    assert!(
                        kernel.frames[self.new].has(PageFlags::LOCKED),
                        "entries restored to unlocked page {}",
                        self.new
                    );
                    let Some(list) = list_of(kernel, self.new) else {
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
                    self.replace::<M>(kernel, me, vma, leaf, address);
                    kernel.unlock::<M>(me, LockId::Leaf(leaf));
                    self.phase = Phase::Finding(walk);
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

    /// RP-1 to RP-3: the next leaf that holds a swap-type entry, locked.
    #[inline]
    fn find<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        mut walk: Walk,
    ) -> Result<Point, Progress> {
        let index = kernel.frames[self.new].index();
        let Some((vma, address)) = walk.next_place(kernel, index) else {
            kernel.unlock::<M>(me, LockId::AnonVma(walk.list));
            self.phase = Phase::Done;
            return Ok(Point::Held);
        };
        let root = kernel.mms[kernel.vmas[vma].mm].root;
        kernel.cost.walks += 1;
        let leaf = kernel.tables.leaf_of(root, address);
        let swap_type = |l: &TableId| kernel.tables.get(*l, leaf_index(address)).is_swap_type();
        let Some(leaf) = leaf.filter(swap_type) else {
            self.phase = Phase::Finding(walk);
            return Ok(Point::Held);
        };
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(Progress::Waiting(LockId::Leaf(leaf)));
        }
        self.phase = Phase::Replacing { walk, vma, leaf, address };
        Ok(Point::Held)
    }

    /// RP-4 to RP-9, leaf locked. The entry comes back clean and unused (Q13); its write bit is
    /// that of the migration entry, whatever the area permits now (Q27).
    #[inline]
    fn replace<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        vma: VmaId,
        leaf: TableId,
        address: u64,
    ) {
        let at = leaf_index(address);
        let Some((named, is_write)) = kernel.tables.get(leaf, at).as_migration() else {
            return;
        };
        assert!(kernel.frames[named].has(PageFlags::LOCKED), "entry names unlocked page {named}");
        if named != self.old {
            return;
        }
        kernel.frames[self.new].get();
        let writable = if is_write { Entry::WRITABLE } else { 0 };
        let protection = kernel.vmas[vma].protection;
        let entry = Entry::page(self.new, protection).without(Entry::ACCESSED).with(writable);
        kernel.tables.set(leaf, at, entry);
        mapcount::add_anon(kernel, self.new, vma, address);
        kernel.cost.restores += 1;
        let value = i64::from(entry.has(Entry::WRITABLE));
        kernel.note::<M>(me, EventKind::Restore, Some(self.new), address, value);
    }
}
