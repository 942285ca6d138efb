//! Dropping one page of a file that nobody needs (`invalidate_inode_page`, supporting-paths 8).

use serde::{Deserialize, Serialize};

use super::lookup::Lookup;
use crate::base::{MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::tree;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Looking(Lookup),
    Dropping(Pfn),
    Done(bool),
}

/// One page to be dropped, if it can be locked at once and is clean, unmapped and otherwise unused.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Invalidate {
    file: MappingId,
    phase: Phase,
}

impl Invalidate {
    /// Will drop the page at `index` of `file`.
    pub const fn new(file: MappingId, index: u64) -> Invalidate {
        Invalidate { file, phase: Phase::Looking(Lookup::new(file, index)) }
    }

    /// Whether the page is gone. Only once done.
    pub fn is_gone(&self) -> bool {
        match self.phase {
            Phase::Done(is_gone) => is_gone,
            _ => unreachable!("asked before the call was done"),
        }
    }

    /// The page that it holds a reference to.
    pub const fn held_page(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Looking(lookup) => lookup.held_page(),
            Phase::Dropping(page) => Some(*page),
            Phase::Done(_) => None,
        }
    }

    /// The steps that the next advance makes.
    pub const fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Looking(lookup) => lookup.labels(),
            Phase::Dropping(_) => &["SP8-invalidate"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            self.phase = match &mut self.phase {
                Phase::Looking(lookup) => match lookup.advance::<M>(kernel, me) {
                    Progress::Done => lookup.found().map_or(Phase::Done(false), Phase::Dropping),
                    other => return other,
                },
                Phase::Dropping(page) => {
                    let page = *page;
                    if !tree::is_free::<M>(kernel, me, self.file) {
                        return Progress::Waiting(LockId::Tree(self.file));
                    }
                    Phase::Done(drop_page::<M>(kernel, me, page))
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
}

fn drop_page<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> bool {
    let is_locked = kernel.try_lock_page::<M>(me, page);
    let is_gone = is_locked && tree::invalidate(kernel, me, page);
    if is_locked {
        kernel.unlock_page::<M>(me, page);
    }
    kernel.put_page(page);
    is_gone
}
