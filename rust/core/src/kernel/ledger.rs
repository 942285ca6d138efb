//! How far documented quirks have carried counters off (invariants 15).
//!
//! The drift of Q16 is kept in the address spaces, those of Q17 and Q18 in the memory cgroups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Pfn, ZoneId};
use crate::state::zone::Counter;

/// Drift of zone counters, which profile REPAIRED leaves empty; and references that nobody drops,
/// in any profile.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Ledger {
    drift: BTreeMap<(ZoneId, usize), i64>,
    leaked: BTreeMap<Pfn, u32>,
}

impl Ledger {
    /// A quirk changed a counter of a zone that no page stands for.
    pub fn note(&mut self, zone: ZoneId, counter: Counter, change: i64) {
        let drift = self.drift.entry((zone, counter as usize)).or_default();
        *drift += change;
        if *drift == 0 {
            self.drift.remove(&(zone, counter as usize));
        }
    }

    /// How far a counter of a zone has drifted.
    pub fn drift(&self, zone: ZoneId, counter: Counter) -> i64 {
        self.drift.get(&(zone, counter as usize)).copied().unwrap_or(0)
    }

    /// Every counter that has drifted: zone, counter, by how much.
    pub fn iter(&self) -> impl Iterator<Item = (ZoneId, Counter, i64)> {
        self.drift.iter().map(|(&(zone, at), &by)| (zone, Counter::ALL[at], by))
    }

    /// The kernel forgot a reference that it holds: the page stays for ever (syscalls 8).
    pub fn leak_reference(&mut self, page: Pfn) {
        *self.leaked.entry(page).or_default() += 1;
    }

    /// References that nobody will drop, by page.
    pub fn leaked_references(&self) -> impl Iterator<Item = (Pfn, u32)> {
        self.leaked.iter().map(|(&page, &references)| (page, references))
    }
}
