//! Rules about simulated locks.

use super::{Report, View};
use crate::base::CallId;
use crate::state::frame::PageFlags;
use crate::state::io::Direction;
use crate::step::LockId;

/// A locked page has exactly one owner, a call or the disk; with no call in flight only the disk and a
/// person hold anything, and nobody waits.
pub(super) fn page_locks_have_owners(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for page in view.touched() {
        let is_locked = kernel.frames[page].has(PageFlags::LOCKED);
        let holders = kernel.locks.holders(LockId::Page(page));
        if usize::from(is_locked) != holders.len() {
            report(Some(page), format!("PG_locked is {is_locked}, with {} owners", holders.len()));
        }
        let read = kernel.io.of_page(page).filter(|transfer| transfer.direction == Direction::Read);
        if holders.contains(&CallId::DISK) != read.is_some() {
            report(Some(page), format!("its lock is held by {holders:?}, its read is {read:?}"));
        }
    }
    for (lock, holders, waiters) in kernel.locks.iter() {
        let is_from_outside = |call: &CallId| [CallId::DISK, CallId::HAND].contains(call);
        let is_idle = !view.holdings.is_busy;
        if is_idle && (waiters.count() > 0 || !holders.iter().all(is_from_outside)) {
            report(None, format!("{lock} is held or awaited with no call in flight"));
        }
        let LockId::Page(page) = lock else { continue };
        for &call in holders.iter().filter(|call| !is_from_outside(call)) {
            let held = kernel.locks.held_by(call).filter_map(|other| match other {
                LockId::Page(other) if other != page => Some(other),
                _ => None,
            });
            for other in held {
                let moves = &view.holdings.moves;
                if !moves.contains(&(page, other)) && !moves.contains(&(other, page)) {
                    report(Some(page), format!("call {call} holds the lock of page {other}, too"));
                }
            }
        }
    }
}

/// Who waits for a lock that is not a spinlock holds no spinlock.
pub(super) fn nobody_sleeps_holding_a_spinlock(view: &View<'_>, report: Report<'_>) {
    let locks = &view.kernel.locks;
    for (lock, _, waiters) in locks.iter().filter(|(lock, ..)| !lock.is_spin()) {
        for call in waiters {
            if let Some(held) = locks.held_by(call).find(|held| held.is_spin()) {
                report(None, format!("call {call} waits for {lock} while holding {held}"));
            }
        }
    }
}
