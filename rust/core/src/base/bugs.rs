//! Rules that a machine breaks on purpose: the switches of the gallery.

use serde::{Deserialize, Serialize};

/// How an assertion ends that shows no mistake of this crate: the kernel of that time halts there, too.
pub const KERNEL_HALTS: &str = "a kernel of that time halts here (Q21)";

bitflags::bitflags! {
    /// What is done wrong, each as real code once did or easily could. A machine with any of them
    /// makes every call step by step, so the fast path never asks.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct Bugs: u32 {
        /// MM-6 is left out: the slot changes while others may still take references.
        const NO_FREEZE = 1;
        /// SP9-4 is left out: a look-up trusts the page that was in the slot a moment ago.
        const NO_RECHECK = 1 << 1;
        /// MC-1 comes after MN-4: the entries name the new page before it has the bytes.
        const COPY_LATE = 1 << 2;
        /// UM-9 does not hand the dirty bit of an entry over to the page.
        const DIRTY_DROPPED = 1 << 3;
        /// Fork copies a write migration entry as it is, and leaves the parent's.
        const FORK_KEEPS_WRITE = 1 << 4;
        /// `mprotect` leaves write migration entries alone (Q27).
        const MPROTECT_KEEPS_WRITE = 1 << 5;
        /// UM-7 and UM-12 are left out: a list that lost its last area is freed at once (Q26).
        const NO_RCU = 1 << 6;
        /// Fork puts the child's area before its parent's on every list (I-74).
        const CHILD_FIRST = 1 << 7;
        /// MN-1 does not lock the new page; it is locked only when the entries come back.
        const NEW_UNLOCKED = 1 << 8;
        /// UM-6 is left out: a page is moved while it is written.
        const NO_WRITEBACK_WAIT = 1 << 9;
        /// UM-17 drops the migrator's reference before the pagevec has its own.
        const DROP_EARLY = 1 << 10;
        /// MP-5 and UM-16 do not lower the isolated counter (Q19, the other way round).
        const ISOLATED_LEFT = 1 << 11;
    }
}
