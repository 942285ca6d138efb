//! Locks between calls in flight: an owner and a queue, nothing that spins.
//!
//! Only stepped calls come here (see [`crate::step::Mode`]): a call that runs alone on the
//! machine can meet no lock. Start with [`Locks::acquire`]. The PG_locked bit itself is in the
//! page; this room knows whose it is and who waits (data-model 11 and 12).

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::base::CallId;
use crate::step::LockId;

/// How somebody wants a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Want {
    /// Alone.
    Exclusive,
    /// With other readers.
    Shared,
    /// Not at all: only to see it free once (`wait_on_page_locked`).
    Watch,
}

/// Locks that a call which runs through has at a pause, outermost first, and how; they are on no record
/// while it runs.
pub type AtPause = Vec<(LockId, Want)>;

#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
struct Record {
    holders: Vec<CallId>,
    is_shared: bool,
    waiters: VecDeque<(CallId, Want)>,
}

/// Who holds which lock, and who waits for it, in order.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Locks {
    records: BTreeMap<LockId, Record>,
    woken: Vec<CallId>,
}

impl Locks {
    /// Tries to take a lock for `call`; queues the call if that cannot be now.
    ///
    /// `mmap_sem` is fair: it is handed to whoever is first in the queue, and a waiting writer
    /// stops later readers. All others are free for whoever comes first once released; a
    /// woken waiter tries again.
    pub fn acquire(&mut self, lock: LockId, call: CallId, want: Want) -> bool {
        debug_assert!(
            self.held_by(call).all(|held| held.class() <= lock.class()),
            "call {call} takes {lock} out of order (I-35)"
        );
        let record = self.records.entry(lock).or_default();
        if record.holders.contains(&call) {
            return true;
        }
        let is_fair = matches!(lock, LockId::MmapSem(_));
        let must_queue = is_fair && record.waiters.iter().any(|&(other, _)| other != call);
        if !must_queue && record.admits(want) {
            record.waiters.retain(|&(other, _)| other != call);
            record.take(call, want);
            return true;
        }
        if !record.waiters.iter().any(|&(other, _)| other == call) {
            record.waiters.push_back((call, want));
        }
        false
    }

    /// Releases a lock and wakes who may go on. Of a page lock: all watchers and the first exclusive
    /// waiter. Of `mmap_sem`: the first writer, or all readers before the next writer, who then
    /// hold it. Of a spinlock: everybody, for they only look again, and may want it no more.
    ///
    /// # Panics
    /// If `call` does not hold it: an error of the model.
    pub fn release(&mut self, lock: LockId, call: CallId) {
        let record = self.records.get_mut(&lock).expect("released a lock that nobody holds");
        let at = record.holders.iter().position(|&holder| holder == call);
        record.holders.remove(at.expect("released a lock of somebody else"));
        if record.holders.is_empty() {
            match lock {
                LockId::MmapSem(_) => record.hand_over(&mut self.woken),
                _ if lock.is_spin() => record.wake_all(&mut self.woken),
                _ => record.wake(&mut self.woken),
            }
        }
        if record.holders.is_empty() && record.waiters.is_empty() {
            self.records.remove(&lock);
        }
    }

    /// What watchers of a lock without holder wait for has happened (PG_writeback is clear).
    pub fn wake_watchers(&mut self, lock: LockId) {
        if let Some(mut record) = self.records.remove(&lock) {
            record.wake_all(&mut self.woken);
        }
    }

    /// Passes a lock that `from` holds on to `to`; nobody is woken.
    pub fn pass_on(&mut self, lock: LockId, from: CallId, to: CallId) {
        let record = self.records.get_mut(&lock).expect("passed on a lock that nobody holds");
        let holder = record.holders.iter_mut().find(|holder| **holder == from);
        *holder.expect("passed on a lock of somebody else") = to;
    }

    /// Notes that `call` holds `lock` already, taken while it ran alone.
    pub fn note_held(&mut self, lock: LockId, call: CallId, want: Want) {
        self.records.entry(lock).or_default().take(call, want);
    }

    /// Queues `call` to see `lock` free once.
    pub fn watch(&mut self, lock: LockId, call: CallId) {
        let record = self.records.entry(lock).or_default();
        if !record.waiters.iter().any(|&(other, _)| other == call) {
            record.waiters.push_back((call, Want::Watch));
        }
    }

    /// Whether a shared lock could be had at once (`down_read_trylock`). Its own holder gets none.
    pub fn may_share(&self, lock: LockId, call: CallId) -> bool {
        self.records.get(&lock).is_none_or(|record| {
            let is_own = record.holders.contains(&call) && !record.is_shared;
            !is_own && record.admits(Want::Shared) && record.waiters.is_empty()
        })
    }

    /// Who holds the lock.
    pub fn holders(&self, lock: LockId) -> &[CallId] {
        self.records.get(&lock).map_or(&[], |record| &record.holders)
    }

    /// Whether somebody has the lock for himself.
    pub fn is_exclusive(&self, lock: LockId) -> bool {
        self.records
            .get(&lock)
            .is_some_and(|record| !record.holders.is_empty() && !record.is_shared)
    }

    /// Everything that `call` holds, outermost class first.
    pub fn held_by(&self, call: CallId) -> impl Iterator<Item = LockId> {
        let holds = move |record: &Record| record.holders.contains(&call);
        self.records.iter().filter(move |(_, record)| holds(record)).map(|(&lock, _)| lock)
    }

    /// Every lock with its holders and its waiters in order.
    pub fn iter(&self) -> impl Iterator<Item = (LockId, &[CallId], impl Iterator<Item = CallId>)> {
        self.records.iter().map(|(&lock, record)| {
            let waiters = record.waiters.iter().map(|&(call, _)| call);
            (lock, record.holders.as_slice(), waiters)
        })
    }

    /// The calls woken since this was last asked, in the order of their waking.
    pub fn take_woken(&mut self) -> Vec<CallId> {
        std::mem::take(&mut self.woken)
    }

    /// Whether nobody holds or awaits anything.
    pub fn is_quiet(&self) -> bool {
        self.records.values().all(|record| record.holders.is_empty() && record.waiters.is_empty())
    }
}

impl Record {
    fn admits(&self, want: Want) -> bool {
        self.holders.is_empty() || (want == Want::Shared && self.is_shared)
    }

    fn take(&mut self, call: CallId, want: Want) {
        self.holders.push(call);
        self.is_shared = want == Want::Shared;
    }

    /// All watchers, and the first who wants the lock. They leave the queue and try again.
    fn wake(&mut self, woken: &mut Vec<CallId>) {
        let mut is_first = true;
        self.waiters.retain(|&(call, want)| {
            let stays = want != Want::Watch && !std::mem::take(&mut is_first);
            if !stays {
                woken.push(call);
            }
            stays
        });
    }

    fn wake_all(&mut self, woken: &mut Vec<CallId>) {
        woken.extend(self.waiters.drain(..).map(|(call, _)| call));
    }

    fn hand_over(&mut self, woken: &mut Vec<CallId>) {
        while let Some(&(call, want)) = self.waiters.front() {
            if !self.admits(want) {
                return;
            }
            self.waiters.pop_front();
            self.take(call, want);
            woken.push(call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MmId, Pfn};

    const PAGE: LockId = LockId::Page(Pfn(1));
    const SEM: LockId = LockId::MmapSem(MmId(0));

    #[test]
    fn unlocking_a_page_wakes_all_watchers_and_the_first_exclusive_waiter() {
        let mut locks = Locks::default();
        let [a, b, c, d] = [0, 1, 2, 3].map(CallId);
        assert!(locks.acquire(PAGE, a, Want::Exclusive));
        assert!(!locks.acquire(PAGE, b, Want::Exclusive));
        locks.watch(PAGE, c);
        assert!(!locks.acquire(PAGE, d, Want::Exclusive));
        locks.release(PAGE, a);
        assert_eq!(locks.take_woken(), [b, c]);
        assert!(locks.acquire(PAGE, a, Want::Exclusive), "whoever runs first may take it");
        assert!(!locks.acquire(PAGE, b, Want::Exclusive), "and then the woken one waits again");
    }

    #[test]
    fn a_waiting_writer_stops_later_readers_of_mmap_sem() {
        let mut locks = Locks::default();
        let [a, b, c, d] = [0, 1, 2, 3].map(CallId);
        assert!(locks.acquire(SEM, a, Want::Shared));
        assert!(!locks.acquire(SEM, b, Want::Exclusive));
        assert!(!locks.acquire(SEM, c, Want::Shared));
        assert!(!locks.acquire(SEM, d, Want::Shared));
        locks.release(SEM, a);
        assert_eq!(locks.holders(SEM), [b]);
        locks.release(SEM, b);
        assert_eq!(locks.holders(SEM), [c, d]);
        assert_eq!(locks.take_woken(), [b, c, d]);
        locks.release(SEM, c);
        locks.release(SEM, d);
        assert!(locks.is_quiet());
    }
}
