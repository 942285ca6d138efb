//! Taking and giving back locks, in either mode.
//!
//! A call that runs alone meets no lock, so all of this vanishes but the PG_locked bit.

use super::Kernel;
use crate::base::Pfn;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::step::{LockId, Me, Mode};

impl Kernel {
    /// Takes a lock, or queues for it and says no: the caller then answers `Waiting`.
    #[inline(always)]
    pub fn lock<M: Mode>(&mut self, me: Me, lock: LockId, want: Want) -> bool {
        !M::STEPS || self.locks.acquire(lock, me.call, want)
    }

    /// Gives a lock back.
    #[inline(always)]
    pub fn unlock<M: Mode>(&mut self, me: Me, lock: LockId) {
        if M::STEPS {
            self.locks.release(lock, me.call);
        }
    }

    /// Takes the page lock if it is free (`trylock_page`).
    #[inline]
    pub fn try_lock_page<M: Mode>(&mut self, me: Me, pfn: Pfn) -> bool {
        if self.frames[pfn].has(PageFlags::LOCKED) {
            return false;
        }
        self.frames[pfn].set(PageFlags::LOCKED);
        if M::STEPS {
            self.locks.note_held(LockId::Page(pfn), me.call, Want::Exclusive);
        }
        true
    }

    /// Takes the page lock, or queues for it as an exclusive waiter and says no (`lock_page`).
    #[inline]
    pub fn lock_page<M: Mode>(&mut self, me: Me, pfn: Pfn) -> bool {
        if M::STEPS && !self.locks.acquire(LockId::Page(pfn), me.call, Want::Exclusive) {
            return false;
        }
        debug_assert!(!self.frames[pfn].has(PageFlags::LOCKED), "page {pfn} locked by nobody");
        self.frames[pfn].set(PageFlags::LOCKED);
        true
    }

    /// Releases the page lock and wakes its waiters.
    ///
    /// # Panics
    /// If the page is not locked: an error of the model (invariants 14).
    #[inline]
    pub fn unlock_page<M: Mode>(&mut self, me: Me, pfn: Pfn) {
        assert!(self.frames[pfn].take(PageFlags::LOCKED), "page {pfn} unlocked twice");
        if M::STEPS {
            self.locks.release(LockId::Page(pfn), me.call);
        }
    }

    /// Whether the page is unlocked; if not, queues to see that (`wait_on_page_locked`).
    #[inline]
    pub fn page_is_unlocked<M: Mode>(&mut self, me: Me, pfn: Pfn) -> bool {
        let is_locked = self.frames[pfn].has(PageFlags::LOCKED);
        if is_locked && M::STEPS {
            self.locks.watch(LockId::Page(pfn), me.call);
        }
        !is_locked
    }
}
