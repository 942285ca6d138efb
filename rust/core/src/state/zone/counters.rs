//! Zone counters: how many pages there are of each sort (data-model 3.1).

/// One counter. The first five are the lengths of the LRU lists, in list order.
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as in the kernel")]
pub enum Counter {
    InactiveAnon,
    ActiveAnon,
    InactiveFile,
    ActiveFile,
    Unevictable,
    Mlock,
    AnonPages,
    FileMapped,
    FilePages,
    FileDirty,
    Writeback,
    VmscanWrite,
    IsolatedAnon,
    IsolatedFile,
    Shmem,
}

impl Counter {
    /// All counters.
    pub const ALL: [Counter; 15] = [
        Counter::InactiveAnon,
        Counter::ActiveAnon,
        Counter::InactiveFile,
        Counter::ActiveFile,
        Counter::Unevictable,
        Counter::Mlock,
        Counter::AnonPages,
        Counter::FileMapped,
        Counter::FilePages,
        Counter::FileDirty,
        Counter::Writeback,
        Counter::VmscanWrite,
        Counter::IsolatedAnon,
        Counter::IsolatedFile,
        Counter::Shmem,
    ];

    /// The name as `/proc/vmstat` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Counter::InactiveAnon => "nr_inactive_anon",
            Counter::ActiveAnon => "nr_active_anon",
            Counter::InactiveFile => "nr_inactive_file",
            Counter::ActiveFile => "nr_active_file",
            Counter::Unevictable => "nr_unevictable",
            Counter::Mlock => "nr_mlock",
            Counter::AnonPages => "nr_anon_pages",
            Counter::FileMapped => "nr_mapped",
            Counter::FilePages => "nr_file_pages",
            Counter::FileDirty => "nr_dirty",
            Counter::Writeback => "nr_writeback",
            Counter::VmscanWrite => "nr_vmscan_write",
            Counter::IsolatedAnon => "nr_isolated_anon",
            Counter::IsolatedFile => "nr_isolated_file",
            Counter::Shmem => "nr_shmem",
        }
    }

    /// The isolated counter of a page's LRU family.
    #[inline]
    pub const fn isolated(is_file_family: bool) -> Counter {
        if is_file_family { Counter::IsolatedFile } else { Counter::IsolatedAnon }
    }
}

/// The counters of one zone. Signed, because some documented quirks take them below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counters([i64; 15]);

impl Counters {
    /// The value of one counter.
    #[inline]
    pub fn get(&self, counter: Counter) -> i64 {
        self.0[counter as usize]
    }

    /// Changes one counter.
    #[inline]
    pub fn add(&mut self, counter: Counter, change: i64) {
        self.0[counter as usize] += change;
    }

    /// Changes the length of LRU list `index`.
    #[inline]
    pub fn add_lru(&mut self, index: usize, change: i64) {
        debug_assert!(index <= Counter::Unevictable as usize);
        self.0[index] += change;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_and_a_name_of_its_own() {
        for (at, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, at);
            assert_eq!(Counter::ALL.iter().filter(|c| c.name() == counter.name()).count(), 1);
        }
    }
}
