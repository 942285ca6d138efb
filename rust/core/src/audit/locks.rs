//! Rules about simulated locks.

use super::census::touched;
use super::{Report, View};
use crate::state::frame::PageFlags;
use crate::step::LockId;

/// A locked page has exactly one owner; with no call in flight none is locked and nobody waits.
pub(super) fn page_locks_have_owners(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for page in touched(kernel) {
        let is_locked = kernel.frames[page].has(PageFlags::LOCKED);
        let holders = kernel.locks.holders(LockId::Page(page)).len();
        if usize::from(is_locked) != holders {
            report(Some(page), format!("PG_locked is {is_locked}, with {holders} owners"));
        }
    }
    if !view.holdings.is_busy && !kernel.locks.is_quiet() {
        report(None, "locks are held or awaited with no call in flight".into());
    }
    for (lock, holders, _) in kernel.locks.iter() {
        let LockId::Page(page) = lock else { continue };
        for &call in holders {
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
