//! Arm's Statistical Profiling Extension in `perf script`: one operation as many samples.
//!
//! perf makes a sample of each group that an operation belongs to, one below the other:
//!
//! ```text
//! sort 42 [003] 122.463754: 1   l1d-miss:     aaaac17d0040
//! sort 42 [003] 122.463754: 1 l1d-access:     aaaac17d0040
//! sort 42 [003] 122.463754: 1     memory:     aaaac17d0040
//! ```
//!
//! Lines that say the same of one address, each under another group's name, are one access.
//!
//! Start with [`Groups`]. Source: perf-arm-spe(1). Left out: operations of several CPUs at one
//! moment, whose samples stand among each other; `perf script --itrace=i1i` prints each once.

const NAMES: [&[u8]; 9] = [
    b"l1d-miss",
    b"l1d-access",
    b"llc-miss",
    b"llc-access",
    b"tlb-miss",
    b"tlb-access",
    b"remote-access",
    b"memory",
    b"instructions",
];

/// The latest operation, and the groups that it was seen in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    /// What stands before the event: whose sample it is, and when.
    head: Vec<u8>,
    address: u64,
    /// A bit for each of the names; none if the latest sample was of another kind.
    seen: u16,
}

impl Groups {
    /// Takes a sample; returns whether it tells of the operation that the one before told of.
    pub(crate) fn is_told_again(&mut self, head: &[u8], event: &[u8], address: u64) -> bool {
        let Some(place) = NAMES.iter().position(|&name| name == event) else {
            self.seen = 0;
            return false;
        };
        let (head, bit) = (head.trim_ascii_end(), 1 << place);
        let is_same = self.address == address && self.head == head;
        if self.seen != 0 && self.seen & bit == 0 && is_same {
            self.seen |= bit;
            return true;
        }
        self.head.clear();
        self.head.extend_from_slice(head);
        (self.address, self.seen) = (address, bit);
        false
    }
}
