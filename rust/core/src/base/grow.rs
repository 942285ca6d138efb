//! Long tables that grow by one row where the host has no room for twice as many.
//!
//! A vector doubles when it is full, and ends the process where the host does not give that much. The tables
//! of a machine can be hundreds of MiB, so one more row could ask for as much again: [`grow`] goes
//! before every push to a table that can be long. Neighbours: [`super::Arena`]. Source: none.

/// Rows that are asked for where twice as many are not to be had.
const FEW: usize = 64;

/// Sees to it that there is room for one more row: for twice as many, if the host gives that, or a few. If it
/// gives neither, the push that follows says so.
#[inline]
pub fn grow<T>(rows: &mut Vec<T>) {
    if rows.len() == rows.capacity() && rows.try_reserve(1).is_err() {
        // What cannot be had is met again by the push.
        let _ = rows.try_reserve_exact(FEW);
    }
}
