//! The page pointers of a chunk's records, and which record names a page first (migration 16, 17).

use serde::{Deserialize, Serialize};

use crate::base::Pfn;

/// Bits of the filter.
const SEEN_BITS: usize = 1024;

/// One pointer a record. They are not cleared between chunks (Q09): a record that fails before it
/// gets a page keeps the page of the same record of the chunk before.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Pointers {
    slots: Vec<Option<Pfn>>,
    /// A bit for each page that a record passed so far names, by the low bits of its number: a
    /// page whose bit is clear is new, and nobody need look for it.
    seen: [u64; SEEN_BITS / 64],
}

impl Pointers {
    /// Null pointers for `len` records.
    pub(super) fn new(len: usize) -> Pointers {
        Pointers { slots: vec![None; len], seen: [0; SEEN_BITS / 64] }
    }

    /// A new chunk begins: the pointers stay, but no record has been passed.
    pub(super) fn begin_chunk(&mut self) {
        self.seen = [0; SEEN_BITS / 64];
    }

    /// Record `record` names `page`.
    #[inline]
    pub(super) fn set(&mut self, record: usize, page: Pfn) {
        self.slots[record] = Some(page);
    }

    /// Record `record` names `page` and is done with; the first record that names it (NP-1).
    #[inline]
    pub(super) fn settle(&mut self, record: usize, page: Pfn) -> usize {
        self.set(record, page);
        let first = self.first(record, page);
        self.mark(page);
        first
    }

    /// Record `record` is done with; later ones come behind it.
    #[inline]
    pub(super) fn pass(&mut self, record: usize) {
        if let Some(page) = self.slots[record] {
            self.mark(page);
        }
    }

    #[inline]
    fn mark(&mut self, page: Pfn) {
        let (word, bit) = place(page);
        self.seen[word] |= bit;
    }

    /// The first record that names `page`, which record `record`, not passed yet, does (NP-1).
    #[inline]
    pub(super) fn first(&self, record: usize, page: Pfn) -> usize {
        let (word, bit) = place(page);
        if self.seen[word] & bit == 0 {
            return record;
        }
        let earlier = self.slots[..record].iter().position(|&slot| slot == Some(page));
        earlier.unwrap_or(record)
    }
}

#[inline]
fn place(page: Pfn) -> (usize, u64) {
    let bit = page.index() % SEEN_BITS;
    (bit / 64, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_wins_even_one_that_kept_its_pointer_from_the_chunk_before() {
        let mut pointers = Pointers::new(4);
        pointers.set(1, Pfn(7));
        pointers.begin_chunk();
        (0..2).for_each(|record| pointers.pass(record));
        pointers.set(2, Pfn(7 + 1024));
        assert_eq!(pointers.first(2, Pfn(7 + 1024)), 2, "the same bit, another page");
        pointers.pass(2);
        pointers.set(3, Pfn(7));
        assert_eq!(pointers.first(3, Pfn(7)), 1);
        pointers.begin_chunk();
        assert_eq!(pointers.first(0, Pfn(7)), 0, "records behind are not looked at");
    }
}
