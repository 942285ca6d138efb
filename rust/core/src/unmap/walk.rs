//! A walk over every entry that may name a page, driven by the page's reverse map.
//!
//! The two walks of a migration differ in which entries they want and what they put there
//! ([`Visitor`]); how they go from area to area, and which locks they hold where, is the same.

use crate::base::{AnonVmaId, Pfn, TableId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::Owner;
use crate::state::lock::Want;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The area.
    pub vma: VmaId,
    /// The leaf table.
    pub leaf: TableId,
    /// The address.
    pub address: u64,
}

/// What one walk looks for, and what it does there.
pub trait Visitor: Copy {
    /// The page whose owner and index lead to the entries.
    fn page(&self) -> Pfn;
    /// Whether there is anything to walk for; asserts what must be true at the start.
    fn may_begin(&self, kernel: &Kernel) -> bool;
    /// Whether an entry is worth the leaf lock: an unlocked look.
    fn wants(&self, entry: Entry) -> bool;
    /// Does its work on one entry, with the leaf locked.
    fn visit<M: Mode>(&self, kernel: &mut Kernel, me: Me, place: Place);
    /// Whether the walk may end after a visit.
    fn is_satisfied(&self, kernel: &Kernel) -> bool;
    /// The steps that finding an entry makes, and those that visiting it makes.
    fn labels(&self) -> (&'static [Label], &'static [Label]);
}

/// How far the walk has got.
///
/// ```text
///   phase      holds        the next advance
///   Starting   nothing      takes the list's lock
///   Finding    list         finds the next entry, takes its leaf lock
///   Visiting   list, leaf   replaces it
///   Done       nothing
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    /// Position in the list of the next area.
    Finding(AnonVmaId, u32),
    Visiting(AnonVmaId, u32, Place),
    Done,
}

/// One walk over a list of areas. The list is the one that the page names at the start.
#[derive(Clone, Copy, Debug)]
pub struct EntryWalk<V> {
    visitor: V,
    phase: Phase,
}

impl<V: Visitor> EntryWalk<V> {
    /// A walk that has not begun.
    #[inline]
    pub(super) const fn with(visitor: V) -> EntryWalk<V> {
        EntryWalk { visitor, phase: Phase::Starting }
    }

    /// Whether the walk has not begun.
    pub const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting)
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Starting | Phase::Finding(..) => self.visitor.labels().0,
            Phase::Visiting(..) => self.visitor.labels().1,
            Phase::Done => &[],
        }
    }

    /// Makes one step.
    #[inline]
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match self.phase {
                Phase::Starting => {
                    let list = match kernel.frames[self.visitor.page()].owner() {
                        Owner::Anon(list) if self.visitor.may_begin(kernel) => list,
                        _ => {
                            self.phase = Phase::Done;
                            return Progress::Done;
                        }
                    };
                    if !kernel.lock::<M>(me, LockId::AnonVma(list), Want::Exclusive) {
                        return Progress::Waiting(LockId::AnonVma(list));
                    }
                    self.phase = Phase::Finding(list, 0);
                }
                Phase::Finding(list, next) => {
                    if let Err(lock) = self.find::<M>(kernel, me, list, next) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Visiting(list, next, place) => {
                    self.visitor.visit::<M>(kernel, me, place);
                    kernel.unlock::<M>(me, LockId::Leaf(place.leaf));
                    if self.visitor.is_satisfied(kernel) {
                        kernel.unlock::<M>(me, LockId::AnonVma(list));
                        self.phase = Phase::Done;
                    } else {
                        self.phase = Phase::Finding(list, next);
                    }
                }
                Phase::Done => return Progress::Done,
            }
            if self.phase == Phase::Done {
                return Progress::Done;
            }
            if Point::Held.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// The next area in which the page could be mapped: leaves its leaf locked if the entry there
    /// is wanted. One area a step, when stepped.
    #[inline]
    fn find<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        list: AnonVmaId,
        mut next: u32,
    ) -> Result<(), LockId> {
        let index = kernel.frames[self.visitor.page()].index();
        while let Some(&vma) = kernel.anon_vmas.areas(list).get(next as usize) {
            next += 1;
            let Some(address) = kernel.vmas[vma].address_of(index) else { continue };
            let root = kernel.mms[kernel.vmas[vma].mm].root;
            kernel.cost.walks += 1;
            let leaf = kernel.tables.leaf_of(root, address);
            let wants =
                |leaf: &TableId| self.visitor.wants(kernel.tables.get(*leaf, leaf_index(address)));
            let Some(leaf) = leaf.filter(wants) else {
                self.phase = Phase::Finding(list, next);
                return Ok(());
            };
            if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
                return Err(LockId::Leaf(leaf));
            }
            self.phase = Phase::Visiting(list, next, Place { vma, leaf, address });
            return Ok(());
        }
        kernel.unlock::<M>(me, LockId::AnonVma(list));
        self.phase = Phase::Done;
        Ok(())
    }
}
