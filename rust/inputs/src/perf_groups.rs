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
//! moment, whose samples stand among each other; `perf script --itrace=M` prints each once.

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
        let Some(bit) = bit_of(event) else {
            self.seen = 0;
            return false;
        };
        let head = head.trim_ascii_end();
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

/// Returns a bit for the group that an event is the name of.
fn bit_of(event: &[u8]) -> Option<u16> {
    // Behind a colon may be whose operations they are: `memory:u`.
    let place = match event.split(|&byte| byte == b':').next()? {
        b"l1d-miss" => 0,
        b"l1d-access" => 1,
        b"llc-miss" => 2,
        b"llc-access" => 3,
        b"tlb-miss" => 4,
        b"tlb-access" => 5,
        b"remote-access" => 6,
        b"memory" => 7,
        b"instructions" => 8,
        _ => return None,
    };
    Some(1 << place)
}
