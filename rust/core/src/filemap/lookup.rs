//! `find_get_page` in its three steps, and `find_lock_page` (supporting-paths 9).

use serde::{Deserialize, Serialize};

use crate::base::{Bugs, MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::tree;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    /// Read the slot.
    Reading,
    /// Take a reference to what it held, without any lock.
    Getting(Pfn),
    /// See that the slot still holds it.
    Checking(Pfn),
    /// Take its lock.
    Locking(Pfn),
    Done(Option<Pfn>),
}

/// One look-up. It takes no lock; with `lock`, it ends with the page locked and still in its file.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Lookup {
    file: MappingId,
    index: u64,
    is_locking: bool,
    phase: Phase,
}

impl Lookup {
    /// `find_get_page`, in a file or, by [`crate::base::SwapEntry::neutral`], in the swap cache.
    pub const fn new(file: MappingId, index: u64) -> Lookup {
        Lookup { file, index, is_locking: false, phase: Phase::Reading }
    }

    /// `find_lock_page`, in a file.
    pub const fn locking(file: MappingId, index: u64) -> Lookup {
        Lookup { file, index, is_locking: true, phase: Phase::Reading }
    }

    /// The page, referenced (and locked, if that was asked for); none if there is none. Only once
    /// done; the reference is the caller's from then on.
    pub fn found(&self) -> Option<Pfn> {
        match self.phase {
            Phase::Done(found) => found,
            _ => unreachable!("asked before the look-up was done"),
        }
    }

    /// The steps that the next advance makes.
    pub const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Reading => &["SP9-1", "SP9-2"],
            Phase::Getting(_) => &["SP9-3"],
            Phase::Checking(_) => &["SP9-4", "SP9-5"],
            Phase::Locking(_) => &["SP9-lock"],
            Phase::Done(_) => &[],
        }
    }

    /// The page that it holds a reference to, while it is not done.
    pub const fn held_page(&self) -> Option<Pfn> {
        match self.phase {
            Phase::Checking(page) | Phase::Locking(page) => Some(page),
            _ => None,
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            self.phase = match self.phase {
                Phase::Reading => match kernel.mappings[self.file].tree.get(self.index) {
                    Some(page) => Phase::Getting(page),
                    None => Phase::Done(None),
                },
                Phase::Getting(page) if kernel.frames[page].try_get() => Phase::Checking(page),
                Phase::Getting(_) => {
                    self.phase = Phase::Reading;
                    return self.look_again::<M>(kernel, me);
                }
                Phase::Checking(page) => self.check::<M>(kernel, page),
                Phase::Locking(page) => {
                    if !kernel.lock_page::<M>(me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                    self.check_locked::<M>(kernel, me, page)
                }
                Phase::Done(_) => return Progress::Done,
            };
            if matches!(self.phase, Phase::Done(_)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// The page was frozen. The kernel spins here; a look-up that nobody else can help sleeps until
    /// whoever froze it has let the tree go.
    fn look_again<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Progress {
        assert!(M::STEPS, "a frozen page in the cache, and nobody who froze it");
        let lock = LockId::Tree(self.file);
        if kernel.locks.holders(lock).is_empty() {
            return Progress::Ran;
        }
        kernel.locks.watch(lock, me.call);
        Progress::Waiting(lock)
    }

    fn check<M: Mode>(&self, kernel: &mut Kernel, page: Pfn) -> Phase {
        let is_trusting = kernel.has_bug::<M>(Bugs::NO_RECHECK);
        if !is_trusting && kernel.mappings[self.file].tree.get(self.index) != Some(page) {
            kernel.put_page(page);
            return Phase::Reading;
        }
        if self.is_locking { Phase::Locking(page) } else { Phase::Done(Some(page)) }
    }

    fn check_locked<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Phase {
        if tree::page_mapping(kernel, page) == Some(self.file) {
            return Phase::Done(Some(page));
        }
        kernel.unlock_page::<M>(me, page);
        kernel.put_page(page);
        Phase::Reading
    }
}
