//! How often each elementary operation was done: the ledger from which time can be modelled.

use serde::{Deserialize, Serialize};

macro_rules! ledger {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of elementary operations since the machine was built.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct Cost {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Cost {
            /// Every count under its name, in a fixed order.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

ledger! {
    /// Addresses resolved to an entry by a lookup, an access or a fault.
    walks,
    /// Frames allocated.
    allocations,
    /// Pages taken off an LRU list for migration.
    isolations,
    /// Attempts to move a page that got as far as having a target frame.
    attempts,
    /// Attempts that ended with EAGAIN.
    retries,
    /// Entries taken out by the reverse map: replaced by migration or swap entries, or cleared by reclaim.
    unmaps,
    /// Flushes of translations from other CPUs: one for each entry, when an area is unmapped one for each batch.
    flushes,
    /// Pages copied by migration.
    copies,
    /// Migration entries replaced by ordinary entries.
    restores,
    /// Pages moved. One that nobody needed any more was not (Q02).
    moves,
    /// Passes over a batch.
    passes,
    /// Batches handed to the engine.
    batches,
    /// CPUs whose pagevecs were drained on purpose.
    drains,
    /// Faults served.
    faults,
    /// Pages copied by a write fault.
    cow_copies,
    /// Entries copied by fork.
    forked_entries,
    /// Entries cleared by unmapping.
    zaps,
}
