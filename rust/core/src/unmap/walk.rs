//! A walk over every entry that may name a page, driven by the page's reverse map.
//!
//! The walks differ in which entries they want and what they put there ([`Visitor`]); how they go
//! from area to area, and which locks they hold where, is the same. Where the areas come from is
//! the page's owner's business ([`Route`]): the list of an anonymous page, the `i_mmap` of a file,
//! or, item by item, the lists of a KSM page ([`super::items`]).

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::items::Items;
use crate::base::{AnonVmaId, Bugs, MappingId, Pfn, TableId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::Owner;
use crate::state::lock::Want;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::rmap::next_area;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Does its work on one entry, with the leaf locked; an answer other than [`Verdict::Again`]
    /// ends the walk.
    ///
    /// # Errors
    /// A lock to wait for first; nothing has changed then.
    fn visit<M: Mode>(&self, kernel: &mut Kernel, me: Me, place: Place) -> Result<Verdict, LockId>;
    /// Whether the walk may end after a visit.
    fn is_satisfied(&self, kernel: &Kernel) -> bool;
    /// The steps that finding an entry makes, and those that visiting it makes.
    fn labels(&self) -> (&'static [Label], &'static [Label]);
}

/// Where the areas come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Route {
    /// Not known before the start.
    Unknown,
    /// The areas on the list of an anonymous page.
    List(AnonVmaId),
    /// The areas that map a file.
    File(MappingId),
    /// The areas on the list of one item of a KSM page after the other.
    Items(Items),
}

/// How far the walk has got.
///
/// ```text
///   phase      holds                 the next advance
///   Starting   nothing               takes the lock of the list or file
///   Finding    list or file          finds the next entry, takes its leaf lock
///   Visiting   list or file, leaf    replaces it
///   Done       nothing
/// ```
/// With KSM pages, Finding holds nothing between two items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// Position among the areas of the next one.
    Finding(u32),
    Visiting(u32, Place),
    /// What the last visit said.
    Done(Verdict),
}

/// One walk over the areas of a page. They are those of the owner that the page has at the start.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct EntryWalk<V> {
    pub(super) visitor: V,
    route: Route,
    phase: Phase,
}

impl<V: Visitor> EntryWalk<V> {
    /// A walk that has not begun.
    #[inline]
    pub(super) const fn with(visitor: V) -> EntryWalk<V> {
        EntryWalk { visitor, route: Route::Unknown, phase: Phase::Starting }
    }

    /// Whether the walk has not begun.
    pub const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting)
    }

    /// What the last visit said. Only once done.
    pub(super) fn last_verdict(&self) -> Verdict {
        match self.phase {
            Phase::Done(verdict) => verdict,
            _ => unreachable!("asked before the walk was done"),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Starting | Phase::Finding(..) => self.visitor.labels().0,
            Phase::Visiting(..) => self.visitor.labels().1,
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    #[inline]
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        match self.try_advance::<M>(kernel, me) {
            Ok(progress) => progress,
            Err(lock) => Progress::Waiting(lock),
        }
    }

    #[inline]
    fn try_advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Progress, LockId> {
        if let Phase::Starting = self.phase {
            self.start::<M>(kernel, me)?;
            if self.stops::<M>(me) {
                return Ok(Progress::Ran);
            }
        }
        loop {
            let found = match self.phase {
                Phase::Finding(next) => self.find::<M>(kernel, me, next)?,
                Phase::Visiting(next, place) => Some((next, place)),
                _ => None,
            };
            if let Some((next, place)) = found {
                // Only who can be stopped here needs to remember where he was.
                if M::STEPS && matches!(self.phase, Phase::Finding(_)) {
                    self.phase = Phase::Visiting(next, place);
                    if self.stops::<M>(me) {
                        return Ok(Progress::Ran);
                    }
                }
                self.visit::<M>(kernel, me, next, place)?;
            }
            if let Phase::Done(_) = self.phase {
                return Ok(Progress::Done);
            }
            if self.stops::<M>(me) {
                return Ok(Progress::Ran);
            }
        }
    }

    /// Whether others may run now: why the walk returns. Between two items of a KSM page no spinlock
    /// is held.
    #[inline(always)]
    fn stops<M: Mode>(&self, me: Me) -> bool {
        let point = match self.route {
            Route::Items(items) if M::STEPS && items.is_between() => Point::Open,
            _ => Point::Held,
        };
        point.stops::<M>(me) && !matches!(self.phase, Phase::Done(_))
    }

    /// The owner says where to look. A KSM page that is not in its tree yet is found nowhere.
    #[inline]
    fn start<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        let page = self.visitor.page();
        let may_begin = self.visitor.may_begin(kernel);
        let route = match kernel.frames[page].owner() {
            Owner::Anon(list) if kernel.has_bug::<M>(Bugs::NO_RCU) && may_begin => {
                let is_gone = kernel.anon_vmas.areas(list).is_empty();
                assert!(!is_gone, "page {page} is looked for on list {list}, which was freed");
                Route::List(list)
            }
            Owner::Anon(list) if may_begin => Route::List(list),
            Owner::File(file) if may_begin => Route::File(file),
            Owner::Ksm(Some(node)) if may_begin => Route::Items(Items::new(node)),
            Owner::Ksm(None) if may_begin => {
                self.phase = Phase::Done(Verdict::Fail);
                return Ok(());
            }
            _ => {
                self.phase = Phase::Done(Verdict::Again);
                return Ok(());
            }
        };
        if let Some(lock) = lock_of(route) {
            if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                return Err(lock);
            }
        }
        self.route = route;
        self.phase = Phase::Finding(0);
        Ok(())
    }

    /// The next area in which the page could be mapped, and the number after its own: its leaf is
    /// locked if the entry there is wanted, else it is not named. One area a step, when stepped.
    #[inline]
    fn find<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        next: u32,
    ) -> Result<Option<(u32, Place)>, LockId> {
        let index = kernel.frames[self.visitor.page()].index();
        let Kernel { anon_vmas, mappings, vmas, .. } = &*kernel;
        let found = match self.route {
            Route::List(list) => anon_vmas.next_area(list, vmas, next as usize, index),
            Route::File(file) => next_area(&mappings[file], vmas, next as usize, index),
            Route::Items(items) => return self.find_of_items::<M>(kernel, me, items, next),
            Route::Unknown => unreachable!("a walk that has begun knows its way"),
        };
        let Some(((vma, address), next)) = found else {
            self.end::<M>(kernel, me, Verdict::Again);
            return Ok(None);
        };
        self.look::<M>(kernel, me, next as u32, vma, address)
    }

    /// The same for a KSM page: round by round, item by item, each at its own address.
    #[cold]
    fn find_of_items<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        mut items: Items,
        mut next: u32,
    ) -> Result<Option<(u32, Place)>, LockId> {
        let Some((list, address)) = items.current(kernel) else {
            self.phase = Phase::Done(Verdict::Again);
            return Ok(None);
        };
        if items.is_between() {
            if !kernel.lock::<M>(me, LockId::AnonVma(list), Want::Exclusive) {
                return Err(LockId::AnonVma(list));
            }
            items.enter(list);
        }
        while let Some(&vma) = kernel.anon_vmas.areas(list).get(next as usize) {
            next += 1;
            if items.wants(kernel, vma) && kernel.vmas[vma].contains(address) {
                self.route = Route::Items(items);
                return self.look::<M>(kernel, me, next, vma, address);
            }
        }
        kernel.unlock::<M>(me, LockId::AnonVma(list));
        items.leave();
        self.route = Route::Items(items);
        self.phase = Phase::Finding(0);
        Ok(None)
    }

    /// The entry at `address` of `vma`: its leaf is locked if it is wanted.
    #[inline]
    fn look<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        next: u32,
        vma: VmaId,
        address: u64,
    ) -> Result<Option<(u32, Place)>, LockId> {
        let root = kernel.mms[kernel.vmas[vma].mm].root;
        kernel.cost.walks += 1;
        let leaf = kernel.tables.leaf_of(root, address);
        let wants =
            |leaf: &TableId| self.visitor.wants(kernel.tables.get(*leaf, leaf_index(address)));
        let Some(leaf) = leaf.filter(wants) else {
            self.phase = Phase::Finding(next);
            return Ok(None);
        };
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            // This area again, then.
            self.phase = Phase::Finding(next - 1);
            return Err(LockId::Leaf(leaf));
        }
        Ok(Some((next, Place { vma, leaf, address })))
    }

    /// One entry, its leaf locked.
    #[inline]
    fn visit<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        next: u32,
        place: Place,
    ) -> Result<(), LockId> {
        let verdict = self.visitor.visit::<M>(kernel, me, place)?;
        kernel.unlock::<M>(me, LockId::Leaf(place.leaf));
        if verdict != Verdict::Again || self.visitor.is_satisfied(kernel) {
            self.end::<M>(kernel, me, verdict);
        } else {
            self.phase = Phase::Finding(next);
        }
        Ok(())
    }

    /// The last area was looked at, or no more need be.
    #[inline]
    fn end<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, verdict: Verdict) {
        if let Some(lock) = lock_of(self.route) {
            kernel.unlock::<M>(me, lock);
        }
        self.phase = Phase::Done(verdict);
    }
}

/// The lock that a walk on this route holds.
#[inline]
fn lock_of(route: Route) -> Option<LockId> {
    match route {
        Route::List(list) => Some(LockId::AnonVma(list)),
        Route::File(file) => Some(LockId::FileMap(file)),
        Route::Items(items) => items.entered().map(LockId::AnonVma),
        Route::Unknown => None,
    }
}
