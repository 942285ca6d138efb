//! `unmap_and_move` and `move_to_new_page`: one page, phase by phase (migration 13 and 14).

use super::methods::{claim, transfer};
use super::target::Target;
use crate::base::{Errno, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;
use crate::unmap::{Restoring, Unmapping};

/// How far one page has got on its way to another frame.
///
/// ```text
///   phase        an entry of it     old page                 new page
///   Allocating   -> old             mapped                   -
///   Locking      -> old             mapped                   allocated
///   Checking     -> old             mapped, locked           allocated
///   Unmapping    some -> old        locked                   allocated
///   Claiming     migration: old     unmapped, locked         allocated
///   Transferring migration: old     unmapped, ours alone     locked, empty
///   Mapping      some -> new        an empty shell           locked, full
///   Opening      -> new             an empty shell           locked, in use
///   Returning    some -> old        locked again in use      allocated, discarded
///   Closing      -> old or new      locked                   in use or discarded
///   Leaving      -> old or new      unlocked                 in use or discarded
///   Discarding   -> old or new      back on its way          one reference is ours
/// ```
#[derive(Clone, Copy, Debug)]
enum Phase {
    Allocating,
    Locking,
    Checking,
    Unmapping(Unmapping),
    Claiming,
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

/// One attempt to move one isolated page.
#[derive(Clone, Copy, Debug)]
pub struct PageMove {
    old: Pfn,
    new: Pfn,
    item: u32,
    may_sleep: bool,
    /// The page had lost all its users before the attempt (UM-2).
    was_freed: bool,
    phase: Phase,
}

impl PageMove {
    /// An attempt for item `item` of a batch. `may_sleep` in forced passes.
    #[inline]
    pub const fn new(old: Pfn, item: u32, may_sleep: bool) -> PageMove {
        PageMove { old, new: old, item, may_sleep, was_freed: false, phase: Phase::Allocating }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Allocating => &["UM-1", "UM-2"],
            Phase::Locking => &["UM-3"],
            Phase::Checking => &["UM-4", "UM-5", "UM-6", "UM-7", "UM-8"],
            Phase::Unmapping(walk) => walk.labels(),
            Phase::Claiming => &["UM-10", "MN-1", "MN-2", "MN-3", "MG-1", "MG-2", "MM-1"],
            Phase::Transferring => &[
                "MC-1", "MG-3", "MC-2", "MC-3", "MC-4", "MC-5", "MC-6", "MC-7", "MC-8", "MC-9",
                "MC-10", "MG-4",
            ],
            Phase::Mapping(walk) if walk.is_starting() => &["MN-4"],
            Phase::Returning(walk, _) if walk.is_starting() => &["UM-11"],
            Phase::Mapping(walk) | Phase::Returning(walk, _) => walk.labels(),
            Phase::Opening => &["MN-5"],
            Phase::Closing(_) => &["UM-12", "UM-14", "UM-15"],
            Phase::Leaving(_) => &["UM-16", "PB-1", "PB-2", "PB-3"],
            Phase::Discarding(_) => &["UM-17", "UM-18"],
            Phase::Done(_) => &[],
        }
    }

    /// The page under way.
    #[inline]
    pub const fn page(&self) -> Pfn {
        self.old
    }

    /// Which item of the batch this is.
    #[inline]
    pub const fn item(&self) -> usize {
        self.item as usize
    }

    /// The target frame, while the attempt owns a reference to it.
    pub const fn new_page(&self) -> Option<Pfn> {
        match self.phase {
            Phase::Allocating | Phase::Done(_) => None,
            _ => Some(self.new),
        }
    }

    /// Whether the old page has left the caller's list: put back, with its reference dropped.
    #[inline]
    pub const fn has_let_go(&self) -> bool {
        match self.phase {
            Phase::Discarding(outcome) | Phase::Done(outcome) => {
                !self.was_freed && !matches!(outcome, Err(Errno::Again | Errno::NoMemory))
            }
            _ => false,
        }
    }

    /// Whether the target frame was thrown away.
    #[inline]
    pub const fn has_wasted_frame(&self) -> bool {
        matches!(self.phase, Phase::Done(Err(_))) || self.was_freed
    }

    /// The target frame, or what was it.
    #[inline]
    pub const fn target(&self) -> Pfn {
        self.new
    }

    /// Whether migration entries may name the old page (I-21).
    pub const fn may_have_entries(&self) -> bool {
        matches!(
            self.phase,
            Phase::Unmapping(_)
                | Phase::Claiming
                | Phase::Transferring
                | Phase::Mapping(_)
                | Phase::Returning(..)
        )
    }

    /// What the attempt came to. Only once done.
    #[inline]
    pub fn outcome(&self) -> Outcome {
        match self.phase {
            Phase::Done(outcome) => outcome,
            _ => unreachable!("asked before the attempt was done"),
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    #[inline]
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, target: &Target) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Allocating => self.allocate::<M>(kernel, me, target),
                Phase::Locking => {
                    if let Err(lock) = self.lock::<M>(kernel, me) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Checking => self.check(kernel),
                Phase::Unmapping(walk) => match walk.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Claiming,
                    other => return other,
                },
                Phase::Claiming => self.claim::<M>(kernel, me),
                Phase::Transferring => {
                    transfer(kernel, self.new, self.old);
                    kernel.note::<M>(me, EventKind::Copy, Some(self.old), 0, i64::from(self.new.0));
                    self.phase = Phase::Mapping(Restoring::new(self.old, self.new));
                }
                Phase::Mapping(walk) => match walk.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Opening,
                    other => return other,
                },
                Phase::Opening => {
                    kernel.unlock_page::<M>(me, self.new);
                    self.phase = Phase::Closing(Ok(()));
                }
                Phase::Returning(walk, errno) => match walk.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Closing(Err(*errno)),
                    other => return other,
                },
                Phase::Closing(outcome) => {
                    let outcome = *outcome;
                    kernel.unlock_page::<M>(me, self.old);
                    self.phase = Phase::Leaving(outcome);
                }
                Phase::Leaving(outcome) => {
                    let outcome = *outcome;
                    // UM-16: only a page that may be retried stays on the caller's list.
                    if outcome != Err(Errno::Again) {
                        kernel.put_back_isolated(me.cpu, self.old);
                        kernel.note::<M>(me, EventKind::PutBack, Some(self.old), 0, 0);
                    }
                    self.phase = Phase::Discarding(outcome);
                }
                Phase::Discarding(outcome) => {
                    let outcome = *outcome;
                    self.discard::<M>(kernel, me, outcome);
                    self.phase = Phase::Done(outcome);
                    return Progress::Done;
                }
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

    /// UM-4 to UM-8: an anonymous page outside the swap cache passes; one that lost its owner
    /// while it was isolated has nothing to unmap.
    #[inline]
    fn check(&mut self, kernel: &Kernel) {
        debug_assert!(!kernel.frames[self.old].has(PageFlags::WRITEBACK | PageFlags::PRIVATE));
        self.phase = if kernel.frames[self.old].is_unowned() {
            Phase::Claiming
        } else {
            Phase::Unmapping(Unmapping::new(self.old))
        };
    }

    /// UM-10 to MM-1: the new page is locked and takes the old one's identity; if the page is
    /// ours alone, nothing can go wrong any more, else the entries go back.
    #[inline]
    fn claim<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        let back = Phase::Returning(Restoring::new(self.old, self.old), Errno::Again);
        if kernel.frames[self.old].is_mapped() {
            self.phase = back;
            return;
        }
        assert!(kernel.try_lock_page::<M>(me, self.new), "new page {} was locked", self.new);
        let old = kernel.frames[self.old];
        let new = &mut kernel.frames[self.new];
        new.take_identity_of(&old);
        new.set(old.flags() & PageFlags::SWAPBACKED);
        self.phase = match claim(kernel, self.old) {
            Ok(()) => Phase::Transferring,
            Err(_) => {
                // MN-4 and MN-5 of a failure; PG_swapbacked and `index` stay.
                kernel.frames[self.new].set_owner(Owner::None);
                kernel.unlock_page::<M>(me, self.new);
                back
            }
        };
    }

    /// UM-17 and UM-18: our reference to the new page goes; on failure a pagevec keeps the frame
    /// until it is drained (Q32).
    #[inline]
    fn discard<M: Mode>(&self, kernel: &mut Kernel, me: Me, outcome: Outcome) {
        kernel.put_back(me.cpu, self.new);
        kernel.cost.retries += u64::from(outcome == Err(Errno::Again));
        kernel.cost.moves += u64::from(outcome.is_ok());
        let value = outcome.map_or_else(|errno| i64::from(errno.negative()), |()| 0);
        kernel.note::<M>(me, EventKind::Attempt, Some(self.old), 0, value);
    }
}
