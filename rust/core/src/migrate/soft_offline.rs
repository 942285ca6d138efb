//! Soft offline: the page of one frame that is about to fail goes elsewhere, and the frame is never
//! used again (syscalls 8).
//!
//! [`SoftOffline`] goes through the branches in the kernel's order. Its two oddities are kept: a
//! page that cannot be shaken onto an LRU list keeps a reference for ever, and the isolated counter
//! is lowered without having been raised (Q19). Left out: hard poison, the counter of bad pages.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::target::Target;
use crate::base::{Errno, Pfn, Profile};
use crate::kernel::Kernel;
use crate::pagecache::{transfer, tree};
use crate::state::frame::PageFlags;
use crate::state::lru;
use crate::state::zone::Counter;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;

/// How far it has got. From `Looking` to `Invalidating` a reference to the page is held.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// A reference is taken.
    Getting,
    /// Is the page on an LRU list?
    Looking,
    /// It was not: without the reference, all CPUs are drained.
    Shaking,
    /// A reference is taken once more.
    GettingAgain,
    /// Is it on a list now? If not, the reference is forgotten.
    LookingAgain,
    Locking,
    /// Until the write is over.
    Waiting,
    /// Locked: already poisoned? Or a clean page of a file that nobody needs?
    Invalidating,
    /// The reference is dropped, the page isolated.
    Isolating,
    Moving(Box<Batch>),
    Done(Result<(), Errno>),
}

/// One soft offline.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct SoftOffline {
    page: Pfn,
    phase: Phase,
}

impl SoftOffline {
    /// Will retire the frame `page`.
    pub const fn new(page: Pfn) -> SoftOffline {
        SoftOffline { page, phase: Phase::Getting }
    }

    /// 0 or an errno. Only once done.
    pub fn result(&self) -> Result<(), Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the soft offline was done"),
        }
    }

    /// The batch under way.
    pub fn batch(&self) -> Option<&Batch> {
        match &self.phase {
            Phase::Moving(batch) => Some(batch),
            _ => None,
        }
    }

    /// The page that it holds a reference to.
    pub fn held_page(&self) -> Option<Pfn> {
        use Phase::{Invalidating, Locking, Looking, LookingAgain, Waiting};
        let is_held =
            matches!(self.phase, Looking | LookingAgain | Locking | Waiting | Invalidating);
        is_held.then_some(self.page)
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Getting | Phase::GettingAgain => &["SY8-get"],
            Phase::Looking | Phase::LookingAgain => &["SY8-lru"],
            Phase::Shaking => &["SY8-shake"],
            Phase::Locking => &["SY8-lock"],
            Phase::Waiting => &["SY8-writeback"],
            Phase::Invalidating => &["SY8-invalidate"],
            Phase::Isolating => &["SY8-isolate"],
            Phase::Moving(batch) => batch.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let page = self.page;
        loop {
            match &mut self.phase {
                Phase::Getting => self.get(kernel, Phase::Looking),
                Phase::GettingAgain => self.get(kernel, Phase::LookingAgain),
                Phase::Looking => {
                    self.phase = if kernel.frames[page].has(PageFlags::LRU) {
                        Phase::Locking
                    } else {
                        kernel.put_page(page);
                        Phase::Shaking
                    };
                }
                Phase::Shaking => {
                    kernel.drain_all();
                    self.phase = Phase::GettingAgain;
                }
                Phase::LookingAgain => {
                    self.phase = if kernel.frames[page].has(PageFlags::LRU) {
                        Phase::Locking
                    } else {
                        kernel.ledger.leak_reference(page);
                        refused::<M>(kernel, me, page, Errno::InputOutput)
                    };
                }
                Phase::Locking => {
                    if !kernel.lock_page::<M>(me, page) {
                        return Progress::Waiting(LockId::Page(page));
                    }
                    self.phase = Phase::Waiting;
                }
                Phase::Waiting => {
                    if !transfer::writeback_is_over::<M>(kernel, me, page) {
                        return Progress::Waiting(LockId::Writeback(page));
                    }
                    self.phase = Phase::Invalidating;
                }
                Phase::Invalidating => self.invalidate::<M>(kernel, me),
                Phase::Isolating => self.isolate::<M>(kernel, me),
                Phase::Moving(batch) => match batch.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let result = batch.result();
                        self.end(kernel, result);
                    }
                    other => return other,
                },
                Phase::Done(_) => return Progress::Done,
            }
            if let Phase::Done(_) = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// A free frame is poisoned, and that is all; without a reference, another one is nobody's.
    fn get(&mut self, kernel: &mut Kernel, next: Phase) {
        self.phase = if kernel.frames[self.page].try_get() {
            next
        } else if kernel.zones.is_free(self.page) {
            kernel.zones.poison(&mut kernel.frames, self.page);
            Phase::Done(Ok(()))
        } else {
            Phase::Done(Err(Errno::InputOutput))
        };
    }

    fn invalidate<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        let page = self.page;
        let is_poisoned = kernel.frames[page].has(PageFlags::HWPOISON);
        let is_gone = !is_poisoned && tree::invalidate(kernel, me, page);
        kernel.unlock_page::<M>(me, page);
        self.phase = if is_poisoned {
            kernel.put_page(page);
            Phase::Done(Err(Errno::Busy))
        } else if is_gone {
            kernel.put_page(page);
            kernel.zones.poison(&mut kernel.frames, page);
            Phase::Done(Ok(()))
        } else {
            Phase::Isolating
        };
        if let Phase::Isolating = self.phase {
            kernel.put_page(page);
        }
    }

    /// The counter that the engine will lower is not raised (Q19).
    fn isolate<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        let page = self.page;
        if lru::isolate(&mut kernel.frames, &mut kernel.zones, &mut kernel.lru, page).is_err() {
            self.phase = refused::<M>(kernel, me, page, Errno::Busy);
            return;
        }
        kernel.cost.isolations += 1;
        kernel.note::<M>(me, EventKind::Isolate, Some(page), 0, 0);
        let family = Counter::isolated(kernel.frames[page].is_file_family());
        if kernel.profile == Profile::Exact {
            kernel.ledger.note(kernel.zones.zone_of(page), family, -1);
        } else {
            kernel.zones.counters_of(page).add(family, 1);
        }
        let mut batch = Batch::new(Target::Preferably(kernel.zones.node_of(page)), 0);
        batch.append(page);
        self.phase = Phase::Moving(Box::new(batch));
    }

    /// A page that did not move is an I/O error; one that did leaves a bad frame behind.
    fn end(&mut self, kernel: &mut Kernel, moved: Result<u32, Errno>) {
        let result = match moved {
            Ok(0) => {
                kernel.zones.poison(&mut kernel.frames, self.page);
                Ok(())
            }
            Ok(_) => Err(Errno::InputOutput),
            Err(errno) => Err(errno),
        };
        self.phase = Phase::Done(result);
    }
}

/// The page is on no list: that is the end, and the recorder hears why.
fn refused<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn, errno: Errno) -> Phase {
    kernel.note::<M>(me, EventKind::Refuse, Some(page), 0, i64::from(errno.negative()));
    Phase::Done(Err(errno))
}
