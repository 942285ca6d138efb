//! `unmap_and_move` and `move_to_new_page`: one page, phase by phase (migration 13 and 14).
//!
//! What differs between kinds of pages is in [`super::methods`]. UM-7 and UM-12, the RCU section
//! around the reverse map, are nothing to do: a list of areas that lost its last user stays as an
//! empty one for ever, so whoever still names it finds nothing (Q26).

mod seen;

use serde::{Deserialize, Serialize};

use super::methods::{MethodCall, Way, claim, transfer};
use super::target::Target;
use crate::base::{Bugs, Errno, MemcgId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::buffers::try_to_free_buffers;
use crate::pagecache::transfer::writeback_is_over;
use crate::state::frame::{Owner, PageFlags};
use crate::step::{LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;
use crate::unmap::{Restoring, Unmapping};

/// How far one page has got on its way to another frame.
///
/// ```text
///   phase        an entry of it     old page                 new page
///   Allocating   -> old             mapped                   -
///   Locking      -> old             mapped                   allocated
///   Checking     -> old             mapped, locked           allocated
///   Settling     -> old             the same, being written  allocated
///   Unmapping    some -> old        locked                   allocated
///   Claiming     migration: old     unmapped, locked         allocated
///   Moving       migration: old     the address space's      locked, empty
///   Transferring migration: old     unmapped, ours alone     locked, empty
///   Mapping      some -> new        an empty shell           locked, full
///   Opening      -> new             an empty shell           locked, in use
///   Returning    some -> old        locked again in use      allocated, discarded
///   Closing      -> old or new      locked                   in use or discarded
///   Leaving      -> old or new      unlocked                 in use or discarded
///   Discarding   -> old or new      back on its way          one reference is ours
/// ```
/// Transferring is for pages without address space, Moving for all others; in the course of Moving
/// entries may come back early and the old page be unlocked for a while (WO-3 to WO-5).
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Allocating,
    Locking,
    Checking,
    Settling,
    Unmapping(Unmapping),
    /// How the page is going to be moved, as far as that could be told before.
    Claiming(Way),
    Moving(MethodCall),
    Transferring,
    Mapping(Restoring),
    Opening,
    Returning(Restoring, Errno),
    Closing(Outcome),
    Leaving(Outcome),
    Discarding(Outcome),
    Done(Outcome),
}

/// What an attempt came to.
pub type Outcome = Result<(), Errno>;

/// An attempt that is over.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Ended {
    /// What it came to.
    pub outcome: Outcome,
    /// Which item of the batch it was.
    pub item: usize,
    /// The target frame, or what was it.
    pub target: Pfn,
    /// Whether there was no target frame (UM-1).
    pub is_starved: bool,
    /// Whether the old page has left the caller's list.
    pub has_let_go: bool,
    /// Whether the target frame was thrown away.
    pub has_wasted_frame: bool,
}

impl Ended {
    /// There was no target frame for a page (UM-1).
    pub const fn starved(page: Pfn, item: usize) -> Ended {
        Ended {
            outcome: Err(Errno::NoMemory),
            item,
            target: page,
            is_starved: true,
            has_let_go: false,
            has_wasted_frame: false,
        }
    }
}

/// One attempt to move one isolated page.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct PageMove {
    old: Pfn,
    new: Pfn,
    item: u32,
    may_sleep: bool,
    /// KSM pages may go: whoever takes memory offline keeps KSM out (UM-4).
    is_offlining: bool,
    /// The page had lost all its users before the attempt (UM-2).
    was_freed: bool,
    /// The memory cgroup that pays for the new page, too, meanwhile (UM-5).
    charge: Option<MemcgId>,
    phase: Phase,
}

impl PageMove {
    /// An attempt for item `item` of a batch. `may_sleep` in forced passes.
    #[inline]
    pub const fn new(old: Pfn, item: u32, may_sleep: bool, is_offlining: bool) -> PageMove {
        PageMove {
            old,
            // Until there is a target frame.
            new: old,
            item,
            may_sleep,
            is_offlining,
            was_freed: false,
            charge: None,
            phase: Phase::Allocating,
        }
    }

    /// What a batch has to know of an attempt. Only once done.
    #[inline]
    pub fn ended(&self) -> Ended {
        Ended {
            outcome: self.outcome(),
            item: self.item as usize,
            target: self.new,
            is_starved: self.is_starved(),
            has_let_go: self.has_let_go(),
            has_wasted_frame: self.has_wasted_frame(),
        }
    }

    /// Whether no target frame was to be had: then nothing was done at all (UM-1).
    #[inline]
    fn is_starved(&self) -> bool {
        self.new == self.old
    }

    /// Whether the old page has left the caller's list: put back, with its reference dropped.
    #[inline]
    pub fn has_let_go(&self) -> bool {
        match self.phase {
            Phase::Discarding(outcome) | Phase::Done(outcome) => {
                !self.was_freed && !self.is_starved() && outcome != Err(Errno::Again)
            }
            _ => false,
        }
    }

    /// Whether the target frame was thrown away.
    #[inline]
    const fn has_wasted_frame(&self) -> bool {
        matches!(self.phase, Phase::Done(Err(_))) || self.was_freed
    }

    /// What the attempt came to. Only once done.
    #[inline]
    fn outcome(&self) -> Outcome {
        match self.phase {
            Phase::Done(outcome) => outcome,
            _ => unreachable!("asked before the attempt was done"),
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    ///
    /// No phase leads back to an earlier one, so they stand here one after the other, and not as arms
    /// of a loop: what runs straight through never asks which phase it is in.
    #[inline]
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, target: &Target) -> Progress {
        let stopped = self.prepare::<M>(kernel, me, target).or_else(|| self.carry::<M>(kernel, me));
        stopped.or_else(|| self.finish::<M>(kernel, me)).unwrap_or(Progress::Done)
    }

    /// Whether others may run now: why the call returns.
    #[inline(always)]
    fn stops<M: Mode>(&self, me: Me) -> bool {
        Point::Open.stops::<M>(me) && !matches!(self.phase, Phase::Done(_))
    }

    /// UM-1 to UM-8: a target frame, the page lock, and whether the page may go at all.
    #[inline(always)]
    fn prepare<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        target: &Target,
    ) -> Option<Progress> {
        if let Phase::Allocating = self.phase {
            self.allocate::<M>(kernel, me, target);
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Locking = self.phase {
            if let Err(lock) = self.lock::<M>(kernel, me) {
                return Some(Progress::Waiting(lock));
            }
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Checking = self.phase {
            self.check::<M>(kernel, me);
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Settling = self.phase {
            if !writeback_is_over::<M>(kernel, me, self.old) {
                return Some(Progress::Waiting(LockId::Writeback(self.old)));
            }
            self.begin::<M>(kernel);
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        None
    }

    /// UM-9 to UM-11: the entries go, the page goes, the entries come back.
    #[inline(always)]
    fn carry<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Option<Progress> {
        if let Phase::Unmapping(walk) = &mut self.phase {
            match walk.advance::<M>(kernel, me) {
                Progress::Done => self.phase = Phase::Claiming(self.way::<M>(kernel)),
                other => return Some(other),
            }
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Claiming(_) = self.phase {
            self.claim::<M>(kernel, me);
            // A method begins in the step that has chosen it.
            if !matches!(self.phase, Phase::Moving(_)) && self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Moving(method) = &mut self.phase {
            match method.advance::<M>(kernel, me, self.old, self.new) {
                Progress::Done => {
                    let outcome = method.outcome();
                    self.end_method::<M>(kernel, me, outcome);
                }
                other => return Some(other),
            }
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Transferring = self.phase {
            transfer::<M>(kernel, me, self.new, self.old);
            self.begin_mapping::<M>(kernel, me);
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Mapping(walk) = &mut self.phase {
            match walk.advance::<M>(kernel, me) {
                Progress::Done => self.phase = Phase::Opening,
                other => return Some(other),
            }
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        None
    }

    /// The rest of UM-11, MN-5, and UM-12 to UM-18: locks are given back, and references.
    #[inline(always)]
    fn finish<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Option<Progress> {
        if let Phase::Opening = self.phase {
            if kernel.has_bug::<M>(Bugs::COPY_LATE) {
                kernel.contents.copy(self.old, self.new);
            }
            kernel.unlock_page::<M>(me, self.new);
            self.phase = Phase::Closing(Ok(()));
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Returning(walk, errno) = &mut self.phase {
            match walk.advance::<M>(kernel, me) {
                Progress::Done => self.phase = Phase::Closing(Err(*errno)),
                other => return Some(other),
            }
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Closing(outcome) = self.phase {
            // UM-14
            kernel.end_migration(self.charge, self.old, self.new, outcome.is_ok());
            self.charge = None;
            kernel.unlock_page::<M>(me, self.old);
            self.phase = Phase::Leaving(outcome);
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Leaving(outcome) = self.phase {
            // UM-16: only a page that may be retried stays on the caller's list.
            if outcome != Err(Errno::Again) {
                kernel.put_back_migrated::<M>(me, self.old);
            }
            self.phase = Phase::Discarding(outcome);
            if self.stops::<M>(me) {
                return Some(Progress::Ran);
            }
        }
        if let Phase::Discarding(outcome) = self.phase {
            self.discard::<M>(kernel, me, outcome);
            self.phase = Phase::Done(outcome);
        }
        None
    }

    /// UM-1 and UM-2. A page that its users freed while it was isolated counts as moved and stays
    /// on the list (Q02); without a frame the attempt ends here and now.
    #[inline]
    fn allocate<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, target: &Target) {
        let Some(new) = target.allocate(kernel, me, self.old, self.item as usize) else {
            self.phase = Phase::Done(Err(Errno::NoMemory));
            return;
        };
        kernel.cost.attempts += 1;
        if M::STEPS {
            let node = i64::from(kernel.zones.node_of(new).0);
            kernel.note::<M>(me, EventKind::Allocate, Some(new), 0, node);
        }
        self.new = new;
        self.was_freed = kernel.frames[self.old].count() == 1;
        self.phase = if self.was_freed { Phase::Discarding(Ok(())) } else { Phase::Locking };
    }

    /// UM-3: forced passes sleep for the page lock, the first three give up.
    #[inline]
    fn lock<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        if self.may_sleep {
            if !kernel.lock_page::<M>(me, self.old) {
                return Err(LockId::Page(self.old));
            }
        } else if !kernel.try_lock_page::<M>(me, self.old) {
            self.phase = Phase::Discarding(Err(Errno::Again));
            return Ok(());
        }
        self.phase = Phase::Checking;
        Ok(())
    }

    /// UM-4 to UM-6: a KSM page is refused unless memory goes offline; the new page is charged for;
    /// writeback ends the attempt or, in forced passes, is waited for.
    #[inline]
    fn check<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        let frame = &kernel.frames[self.old];
        let is_plain = frame.is_plain_anon() && !frame.has(PageFlags::WRITEBACK);
        if is_plain && !kernel.memcgs.are_on() {
            self.phase = Phase::Unmapping(Unmapping::new(self.old));
        } else {
            self.check_all::<M>(kernel, me);
        }
    }

    #[cold]
    fn check_all<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        if kernel.frames[self.old].is_ksm() && !self.is_offlining {
            self.phase = Phase::Closing(Err(Errno::Busy));
            return;
        }
        match kernel.prepare_migration(me, self.old) {
            Ok(charge) => self.charge = charge,
            Err(errno) => {
                self.phase = Phase::Closing(Err(errno));
                return;
            }
        }
        let is_written = kernel.frames[self.old].has(PageFlags::WRITEBACK);
        if !is_written || kernel.has_bug::<M>(Bugs::NO_WRITEBACK_WAIT) {
            self.begin::<M>(kernel);
        } else if self.may_sleep {
            self.phase = Phase::Settling;
        } else {
            self.phase = Phase::Closing(Err(Errno::Again));
        }
    }

    /// UM-8: a page without owner has nothing to unmap: one that lost it while it was isolated, or one
    /// of the swap cache that was never mapped (S28). What truncation left behind with buffers on it
    /// loses those first (S27).
    #[inline]
    fn begin<M: Mode>(&mut self, kernel: &mut Kernel) {
        let frame = &kernel.frames[self.old];
        self.phase = if !frame.is_unowned() {
            Phase::Unmapping(Unmapping::new(self.old))
        } else if frame.has_private() {
            try_to_free_buffers(kernel, self.old);
            Phase::Closing(Err(Errno::Again))
        } else {
            Phase::Claiming(self.way::<M>(kernel))
        };
    }

    /// How the page will be moved, for those who look; [`PageMove::claim`] decides.
    #[inline]
    fn way<M: Mode>(&self, kernel: &Kernel) -> Way {
        if M::STEPS { Way::of(kernel, self.old) } else { Way::Alone }
    }

    /// UM-10 to MN-3: the new page is locked and takes the old one's identity, and the kind of page
    /// decides how it is moved. Without address space, that is MM-1: if the page is ours alone,
    /// nothing can go wrong any more, else the entries go back.
    #[inline]
    fn claim<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        if kernel.frames[self.old].is_mapped() {
            self.phase = Phase::Returning(Restoring::new(self.old, self.old), Errno::Again);
            return;
        }
        if !kernel.has_bug::<M>(Bugs::NEW_UNLOCKED) {
            self.lock_new::<M>(kernel, me);
        }
        let old = kernel.frames[self.old];
        let new = &mut kernel.frames[self.new];
        new.take_identity_of(&old);
        new.set(old.flags() & PageFlags::SWAPBACKED);
        match Way::of(kernel, self.old) {
            Way::Alone => match claim(kernel, self.old) {
                Ok(()) => self.phase = Phase::Transferring,
                Err(errno) => self.refuse::<M>(kernel, me, errno),
            },
            way => self.phase = Phase::Moving(MethodCall::new(way)),
        }
    }

    #[inline]
    fn lock_new<M: Mode>(&self, kernel: &mut Kernel, me: Me) {
        assert!(kernel.try_lock_page::<M>(me, self.new), "new page {} was locked", self.new);
    }

    /// The method has returned.
    #[cold]
    fn end_method<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, outcome: Outcome) {
        match outcome {
            Ok(()) => self.begin_mapping::<M>(kernel, me),
            Err(errno) => self.refuse::<M>(kernel, me, errno),
        }
    }

    /// MN-4 of a success. In profile REPAIRED the charge moves before the page is mapped (Q17).
    #[inline]
    fn begin_mapping<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        if kernel.has_bug::<M>(Bugs::NEW_UNLOCKED) {
            self.lock_new::<M>(kernel, me);
        }
        kernel.commit_migration_early(self.charge, self.old, self.new);
        self.phase = Phase::Mapping(Restoring::new(self.old, self.new));
    }

    /// MN-4 and MN-5 of a failure; PG_swapbacked and `index` of the new page stay.
    #[inline]
    fn refuse<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, errno: Errno) {
        kernel.frames[self.new].set_owner(Owner::None);
        if !kernel.has_bug::<M>(Bugs::NEW_UNLOCKED) {
            kernel.unlock_page::<M>(me, self.new);
        }
        self.phase = Phase::Returning(Restoring::new(self.old, self.old), errno);
    }

    /// UM-17 and UM-18: our reference to the new page goes; on failure a pagevec keeps the frame
    /// until it is drained (Q32).
    #[inline]
    fn discard<M: Mode>(&self, kernel: &mut Kernel, me: Me, outcome: Outcome) {
        if kernel.has_bug::<M>(Bugs::DROP_EARLY) {
            kernel.put_page(self.new);
            kernel.frames[self.new].get();
        }
        kernel.put_back(me.cpu, self.new);
        kernel.cost.retries += u64::from(outcome == Err(Errno::Again));
        kernel.cost.moves += u64::from(outcome.is_ok() && !self.was_freed);
        let value = outcome.map_or_else(|errno| i64::from(errno.negative()), |()| 0);
        kernel.note::<M>(me, EventKind::Attempt, Some(self.old), 0, value);
    }
}
