//! Transfers on their way between memory and a disk; they end when virtual time gets there.
//!
//! Start with [`IoQueue::submit`]. What the end of a transfer means for its page is upstairs, in
//! [`crate::pagecache`]. Spec README, section 3 (disk and swap I/O).

use serde::{Deserialize, Serialize};

use crate::base::{Pfn, grow};

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

/// Transfers that have not ended, in the order in which they will.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct IoQueue {
    transfers: Vec<Transfer>,
    next: u64,
    /// Whether a read ends as soon as it has begun: a verb runs, and nobody schedules (spec README 3).
    pub has_instant_reads: bool,
}

impl IoQueue {
    /// Sets a page on its way.
    pub fn submit(
        &mut self,
        page: Pfn,
        direction: Direction,
        due: Option<u64>,
        fails: bool,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let transfer = Transfer { number, page, direction, due, fails };
        let key = |t: &Transfer| (t.due.unwrap_or(u64::MAX), t.number);
        let at = self.transfers.partition_point(|other| key(other) < key(&transfer));
        grow(&mut self.transfers);
        self.transfers.insert(at, transfer);
        number
    }

    /// The transfer that ends next, if one ever does.
    pub fn first_due(&self) -> Option<Transfer> {
        self.transfers.first().copied().filter(|transfer| transfer.due.is_some())
    }

    /// The transfer of a page.
    pub fn of_page(&self, page: Pfn) -> Option<Transfer> {
        self.transfers.iter().copied().find(|transfer| transfer.page == page)
    }

    /// Takes a transfer out, because it ends.
    pub fn take(&mut self, number: u64) -> Option<Transfer> {
        let at = self.transfers.iter().position(|transfer| transfer.number == number)?;
        Some(self.transfers.remove(at))
    }

    /// Another frame holds the page now.
    pub fn rename(&mut self, old: Pfn, new: Pfn) {
        for transfer in self.transfers.iter_mut().filter(|transfer| transfer.page == old) {
            transfer.page = new;
        }
    }

    /// All of them, in the order in which they end.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Transfer> {
        self.transfers.iter()
    }
}
