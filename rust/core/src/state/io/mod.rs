//! Transfers on their way between memory and a disk; they end when virtual time gets there.
//!
//! Start with [`IoQueue::number`] and [`IoQueue::submit`]. What the end of a transfer means for its page is upstairs, in
//! [`crate::pagecache`]. Spec README, section 3 (disk and swap I/O).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize, Serializer};

use crate::base::Pfn;

/// Which way, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Into the page, which is locked by the disk meanwhile.
    Read,
    /// Out of the page, which is under writeback meanwhile.
    Write,
}

/// One page on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transfer {
    /// Its number: transfers are numbered as they are submitted.
    pub number: u64,
    /// The page.
    pub page: Pfn,
    /// Which way.
    pub direction: Direction,
    /// The tick at which it ends; none: never by itself.
    pub due: Option<u64>,
    /// Whether it ends in an error.
    pub fails: bool,
}

impl Transfer {
    /// Transfers end by tick, those that never do by themselves last, and then by number.
    fn end(&self) -> End {
        (self.due.unwrap_or(u64::MAX), self.number)
    }
}

/// When a transfer ends: the tick, and its number.
type End = (u64, u64);

/// Transfers that have not ended, in the order in which they will.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct IoQueue {
    transfers: Transfers,
    next: u64,
    /// Whether a read ends as soon as it has begun: a verb runs, and nobody schedules (spec README 3).
    pub has_instant_reads: bool,
}

impl IoQueue {
    /// A transfer of a page, with a number of its own. It is on its way once it is submitted.
    pub fn number(
        &mut self,
        page: Pfn,
        direction: Direction,
        due: Option<u64>,
        fails: bool,
    ) -> Transfer {
        let number = self.next;
        self.next += 1;
        Transfer { number, page, direction, due, fails }
    }

    /// Sets a page on its way.
    pub fn submit(&mut self, transfer: Transfer) {
        self.transfers.insert(transfer);
    }

    /// The transfer that ends next, if one ever does.
    pub fn first_due(&self) -> Option<Transfer> {
        self.first().filter(|transfer| transfer.due.is_some())
    }

    /// The transfer that ends next, or that somebody would have to end.
    pub fn first(&self) -> Option<Transfer> {
        self.transfers.by_end.first_key_value().map(|(_, &transfer)| transfer)
    }

    /// The transfer of a page.
    pub fn of_page(&self, page: Pfn) -> Option<Transfer> {
        self.transfers.ends_of(page).next().map(|end| self.transfers.by_end[&end])
    }

    /// Takes a transfer out, because it ends.
    pub fn take(&mut self, transfer: Transfer) {
        self.transfers.remove(transfer);
    }

    /// Another frame holds the page now.
    pub fn rename(&mut self, old: Pfn, new: Pfn) {
        while let Some(transfer) = self.of_page(old) {
            self.transfers.remove(transfer);
            self.transfers.insert(Transfer { page: new, ..transfer });
        }
    }

    /// Feeds what decides how it goes on to `state`: in which order transfers end, and after how many
    /// ticks from `now`; not how many came before them.
    pub fn hash_from<H: Hasher>(&self, now: u64, state: &mut H) {
        let IoQueue { transfers, next: _, has_instant_reads } = self;
        transfers.by_end.len().hash(state);
        for Transfer { number: _, page, direction, due, fails } in transfers.by_end.values() {
            let left = due.map(|due| due.saturating_sub(now));
            (page, direction, left, fails).hash(state);
        }
        has_instant_reads.hash(state);
    }

    /// All of them, in the order in which they end.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Transfer> {
        self.transfers.by_end.values()
    }
}

/// Transfers, found by when they end and by their page. Kept and told from others as a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Vec<Transfer>")]
struct Transfers {
    by_end: BTreeMap<End, Transfer>,
    by_page: BTreeSet<(Pfn, End)>,
}

impl Transfers {
    fn insert(&mut self, transfer: Transfer) {
        self.by_end.insert(transfer.end(), transfer);
        self.by_page.insert((transfer.page, transfer.end()));
    }

    fn remove(&mut self, transfer: Transfer) {
        self.by_end.remove(&transfer.end());
        self.by_page.remove(&(transfer.page, transfer.end()));
    }

    fn ends_of(&self, page: Pfn) -> impl Iterator<Item = End> {
        const LAST: End = (u64::MAX, u64::MAX);
        self.by_page.range((page, (0, 0))..=(page, LAST)).map(|&(_, end)| end)
    }
}

impl From<Vec<Transfer>> for Transfers {
    fn from(listed: Vec<Transfer>) -> Transfers {
        let mut all = Transfers::default();
        listed.into_iter().for_each(|transfer| all.insert(transfer));
        all
    }
}

impl Serialize for Transfers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.by_end.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_end_in_order_and_are_found_by_page_as_in_a_plain_list() {
        let mut queue = IoQueue::default();
        let mut plain: Vec<Transfer> = Vec::new();
        let mut random = 1_u64;
        for _ in 0..3000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = |bound: u64| (random >> 33) % bound;
            let (old, new) = (Pfn(draw(7) as u32), Pfn(draw(11) as u32));
            match draw(5) {
                0 if !plain.is_empty() => queue.take(plain.remove(0)),
                1 => {
                    queue.rename(old, Pfn(new.0 + 100));
                    let renamed = plain.iter_mut().filter(|transfer| transfer.page == old);
                    renamed.for_each(|transfer| transfer.page = Pfn(new.0 + 100));
                }
                _ => {
                    let due = (draw(6) > 0).then_some(draw(50));
                    let transfer = queue.number(new, Direction::Write, due, false);
                    queue.submit(transfer);
                    plain.push(transfer);
                    plain.sort_by_key(Transfer::end);
                }
            }
            assert!(queue.iter().eq(&plain));
            assert_eq!(queue.first(), plain.first().copied());
            let due = plain.first().filter(|transfer| transfer.due.is_some());
            assert_eq!(queue.first_due(), due.copied());
            for page in [old, new, Pfn(new.0 + 100)] {
                let found = plain.iter().find(|transfer| transfer.page == page);
                assert_eq!(queue.of_page(page), found.copied());
            }
        }
        let kept = postcard::to_allocvec(&queue).unwrap();
        let read: IoQueue = postcard::from_bytes(&kept).unwrap();
        assert!(read.iter().eq(&plain) && read.of_page(plain[0].page) == Some(plain[0]));
    }
}
