//! Which areas of a long list map a page, without asking the others.
//!
//! A list of areas ([`super::AreaList`]) has an order that a walk can see, and no order by page. A long one has an
//! [`AreaIndex`] beside it: every area's range of pages is cut into aligned blocks of 1, 2, 4... pages, so that all
//! areas over one page lie under at most one block of each size, sorted by their place in the list. A look-up
//! takes the logarithm of the list for each size of block in use; nothing is passed over.
//!
//! Places are kept as *ranks*: numbers with gaps, in the order of the list, that an insertion does not
//! shift. The index follows from the list and the areas, so it is neither hashed nor kept in snapshots, but
//! made anew when one is read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::base::VmaId;

/// Between two ranks, at first.
const GAP: u64 = 1 << 32;
/// An insertion takes this part of the gap, so that many fit where the last one went.
const SHARE: u64 = 256;

/// The index of one list.
#[derive(Clone, Debug, Default)]
pub(super) struct AreaIndex {
    /// Ranks in the order of the list.
    ranks: Vec<u64>,
    /// Rank and range of pages of each area.
    listed: BTreeMap<VmaId, (u64, Range<u64>)>,
    /// Size of block (as a power of two), number of block, rank.
    blocks: BTreeSet<(u32, u64, u64)>,
    /// Blocks of each size.
    sizes: BTreeMap<u32, usize>,
}

impl AreaIndex {
    /// The index of a list, of which every area comes with its pages.
    pub(super) fn of(list: impl Iterator<Item = (VmaId, Range<u64>)>) -> AreaIndex {
        let mut index = AreaIndex::default();
        for (at, (id, pages)) in list.enumerate() {
            index.insert(at, id, pages);
        }
        index
    }

    /// Where in the list an area is.
    pub(super) fn position(&self, id: VmaId) -> Option<usize> {
        let (rank, _) = self.listed.get(&id)?;
        self.ranks.binary_search(rank).ok()
    }

    /// The first place at or after `from` whose area maps `page`.
    pub(super) fn next(&self, from: usize, page: u64) -> Option<usize> {
        let least = *self.ranks.get(from)?;
        let first_of = |&size: &u32| {
            let block = page >> size;
            let mut found = self.blocks.range((size, block, least)..=(size, block, u64::MAX));
            found.next().map(|&(_, _, rank)| rank)
        };
        let rank = self.sizes.keys().filter_map(first_of).min()?;
        self.ranks.binary_search(&rank).ok()
    }

    /// Notes an area that went to place `at`.
    pub(super) fn insert(&mut self, at: usize, id: VmaId, pages: Range<u64>) {
        let before = at.checked_sub(1).map_or(0, |at| self.ranks[at]);
        let rank = match self.ranks.get(at) {
            None => before.checked_add(GAP),
            // Before the first one: as many fit there.
            Some(&first) if at == 0 => (first > 1).then(|| first - (first / SHARE).max(1)),
            Some(after) => match after - before {
                0 | 1 => None,
                gap => Some(before + (gap / SHARE).max(1)),
            },
        };
        match rank {
            Some(rank) => {
                self.ranks.insert(at, rank);
                self.note(id, rank, pages);
            }
            None => {
                self.spread();
                self.insert(at, id, pages);
            }
        }
    }

    /// Forgets an area; tells where it was.
    pub(super) fn remove(&mut self, id: VmaId) -> Option<usize> {
        let (rank, pages) = self.listed.remove(&id)?;
        for (size, block) in blocks_of(pages) {
            self.blocks.remove(&(size, block, rank));
            let left = self.sizes.get_mut(&size).expect("a block of this size was there");
            *left -= 1;
            if *left == 0 {
                self.sizes.remove(&size);
            }
        }
        let at = self.ranks.binary_search(&rank).ok()?;
        self.ranks.remove(at);
        Some(at)
    }

    /// An area has other pages now; nothing if it is not on the list.
    pub(super) fn resize(&mut self, id: VmaId, pages: Range<u64>) {
        if let Some(at) = self.remove(id) {
            self.insert(at, id, pages);
        }
    }

    /// Whether it says the same as the list.
    pub(super) fn agrees(&self, list: impl ExactSizeIterator<Item = (VmaId, Range<u64>)>) -> bool {
        list.len() == self.ranks.len()
            && list.enumerate().all(|(at, (id, pages))| {
                let noted = self.listed.get(&id);
                noted.is_some_and(|(rank, range)| *rank == self.ranks[at] && *range == pages)
            })
    }

    fn note(&mut self, id: VmaId, rank: u64, pages: Range<u64>) {
        for (size, block) in blocks_of(pages.clone()) {
            self.blocks.insert((size, block, rank));
            *self.sizes.entry(size).or_default() += 1;
        }
        self.listed.insert(id, (rank, pages));
    }

    /// New ranks with wide gaps, in the same order.
    fn spread(&mut self) {
        let old = std::mem::take(self);
        let mut areas: Vec<_> = old.listed.into_iter().collect();
        areas.sort_by_key(|(_, (rank, _))| *rank);
        for (at, (id, (_, pages))) in areas.into_iter().enumerate() {
            let rank = (at as u64 + 1) * GAP;
            self.ranks.push(rank);
            self.note(id, rank, pages);
        }
    }
}

/// A range as aligned blocks, each as long as can be: (power of two, number of the block).
fn blocks_of(pages: Range<u64>) -> impl Iterator<Item = (u32, u64)> {
    let mut from = pages.start;
    std::iter::from_fn(move || {
        let left = pages.end.checked_sub(from).filter(|&left| left > 0)?;
        let size = from.trailing_zeros().min(left.ilog2());
        let block = (size, from >> size);
        from += 1 << size;
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a search from the beginning of the list finds.
    fn searched(list: &[(VmaId, Range<u64>)], from: usize, page: u64) -> Option<usize> {
        (from..list.len()).find(|&at| list[at].1.contains(&page))
    }

    #[test]
    fn it_finds_what_a_search_through_the_list_finds_whatever_is_inserted_and_removed() {
        let (mut index, mut list) = (AreaIndex::default(), Vec::new());
        let mut state = 20_100_516_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for turn in 0..3000 {
            let pages = |start: usize, len: usize| start as u64..(start + len) as u64;
            if turn % 3 == 2 {
                let (id, _) = list.remove(random(list.len()));
                index.remove(id);
            } else if turn % 7 == 0 && !list.is_empty() {
                let at = random(list.len());
                list[at].1 = pages(random(40), 1 + random(9));
                index.resize(list[at].0, list[at].1.clone());
            } else {
                let at = random(list.len() + 1);
                let new = (VmaId(turn), pages(random(40), 1 + random(20)));
                list.insert(at, new.clone());
                index.insert(at, new.0, new.1);
            }
            let (from, page) = (random(list.len() + 1), random(64) as u64);
            assert_eq!(index.next(from, page), searched(&list, from, page), "turn {turn}");
            assert!(list.iter().enumerate().all(|(at, (id, _))| index.position(*id) == Some(at)));
        }
        assert!(index.agrees(list.into_iter()));
    }

    #[test]
    fn many_areas_fit_behind_the_same_one() {
        let mut index = AreaIndex::of([(VmaId(0), 0..4), (VmaId(1), 0..4)].into_iter());
        for number in 2..20_000 {
            index.insert(1, VmaId(number), 0..4);
        }
        assert_eq!(index.position(VmaId(19_999)), Some(1));
        assert_eq!(index.position(VmaId(1)), Some(19_999));
        assert_eq!(index.next(2, 3), Some(2));
    }

    #[test]
    fn a_range_is_cut_into_few_aligned_blocks() {
        assert_eq!(blocks_of(3..9).collect::<Vec<_>>(), [(0, 3), (2, 1), (0, 8)]);
        assert_eq!(blocks_of(0..1 << 39).collect::<Vec<_>>(), [(39, 0)]);
        assert_eq!(blocks_of(5..5).count(), 0);
    }

    #[test]
    fn many_areas_fit_before_the_first_one() {
        let mut index = AreaIndex::default();
        for id in 0..20_000 {
            index.insert(0, VmaId(id), u64::from(id)..u64::from(id) + 1);
        }
        for id in [0, 1, 77, 19_999] {
            assert_eq!(index.position(VmaId(id)), Some(19_999 - id as usize));
            assert_eq!(index.next(0, u64::from(id)), Some(19_999 - id as usize));
        }
    }
}
