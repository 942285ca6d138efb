//! A tree and a map that go through the same, and what indices alone say of a tree's shape.
//!
//! After every step of [`Pair`] the tree counts itself anew, and its height and number of branches
//! are those that the map's indices need (data-model 5.2, I-64).

use std::collections::{BTreeMap, BTreeSet};

use pagemig_core::base::Pfn;
use pagemig_core::state::mapping::{RadixTree, Tag};

/// Numbers that are the same everywhere (a linear congruential generator, its upper half).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn half(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 32
    }

    /// Any 64 bits.
    fn word(&mut self) -> u64 {
        self.half() << 32 | self.half()
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// What the map keeps of an index: the page, and whether each tag is set.
pub(crate) type Row = (Pfn, [bool; 2]);

/// A tree and a map that have been through the same.
#[derive(Default)]
pub(crate) struct Pair {
    pub(crate) tree: RadixTree,
    pub(crate) map: BTreeMap<u64, Row>,
}

impl Pair {
    pub(crate) fn insert(&mut self, index: u64, item: Pfn) {
        let is_vacant = !self.map.contains_key(&index);
        assert_eq!(self.tree.insert(index, item), is_vacant, "insert at {index:#x}");
        self.map.entry(index).or_insert((item, [false; 2]));
        self.compare_at(index);
    }

    pub(crate) fn delete(&mut self, index: u64) {
        let expected = self.map.remove(&index).map(|(item, _)| item);
        assert_eq!(self.tree.delete(index), expected, "delete at {index:#x}");
        self.compare_at(index);
    }

    pub(crate) fn replace(&mut self, index: u64, item: Pfn) {
        let row = self.map.get_mut(&index);
        let expected = row.map(|row| std::mem::replace(&mut row.0, item));
        assert_eq!(self.tree.replace(index, item), expected, "replace at {index:#x}");
        self.compare_at(index);
    }

    /// Sets a tag, if there is a page.
    pub(crate) fn set_tag(&mut self, index: u64, tag: Tag) {
        if let Some(row) = self.map.get_mut(&index) {
            row.1[tag as usize] = true;
            self.tree.set_tag(index, tag);
            self.compare_at(index);
        }
    }

    pub(crate) fn clear_tag(&mut self, index: u64, tag: Tag) {
        if let Some(row) = self.map.get_mut(&index) {
            row.1[tag as usize] = false;
        }
        self.tree.clear_tag(index, tag);
        self.compare_at(index);
    }

    /// The first of the map at or above `from`, with `tag` if one is named.
    fn next(&self, from: u64, tag: Option<Tag>) -> Option<(u64, Pfn)> {
        let is_wanted = |row: &Row| tag.is_none_or(|tag| row.1[tag as usize]);
        self.map.range(from..).find(|(_, row)| is_wanted(row)).map(|(&index, row)| (index, row.0))
    }

    /// Both agree on one index, on what follows it, and on the tree as a whole.
    pub(crate) fn compare_at(&self, index: u64) {
        let row = self.map.get(&index);
        assert_eq!(self.tree.get(index), row.map(|row| row.0), "item at {index:#x}");
        assert_eq!(self.tree.next(index), self.next(index, None), "next from {index:#x}");
        for tag in Tag::ALL {
            let is_set = row.is_some_and(|row| row.1[tag as usize]);
            assert_eq!(self.tree.has_tag(index, tag), is_set, "{tag:?} at {index:#x}");
            let next = self.tree.next_tagged(index, tag);
            assert_eq!(next, self.next(index, Some(tag)), "next {tag:?} from {index:#x}");
            let is_any = self.map.values().any(|row| row.1[tag as usize]);
            assert_eq!(self.tree.is_tagged(tag), is_any, "{tag:?} of the root");
        }
        self.compare_shape();
    }

    /// I-64, and the height and the branches that these very indices need.
    fn compare_shape(&self) {
        assert_eq!(self.tree.check(), Ok(()));
        assert_eq!(self.tree.len(), self.map.len() as u64);
        assert_eq!(self.tree.is_empty(), self.map.is_empty());
        let height = self.map.last_key_value().map_or(0, |(&largest, _)| height_for(largest));
        assert_eq!(self.tree.height(), height);
        assert_eq!(self.tree.branches(), branches_for(self.map.keys().copied(), height));
    }

    /// Everything, one by one and by all three walks.
    pub(crate) fn compare_all(&self) {
        for (&index, &(item, tags)) in &self.map {
            assert_eq!(self.tree.get(index), Some(item));
            assert_eq!(Tag::ALL.map(|tag| self.tree.has_tag(index, tag)), tags);
        }
        let items: Vec<_> = self.map.iter().map(|(&index, row)| (index, row.0)).collect();
        assert_eq!(self.tree.iter().collect::<Vec<_>>(), items);
        for tag in Tag::ALL {
            let tagged = self.map.iter().filter(|(_, row)| row.1[tag as usize]);
            let tagged: Vec<_> = tagged.map(|(&index, row)| (index, row.0)).collect();
            assert_eq!(all_tagged(&self.tree, tag), tagged);
        }
    }
}

/// The least h with `largest` < 64^h; the one page of index 0 needs no level at all.
pub(crate) fn height_for(largest: u64) -> u32 {
    (0..).find(|&height| u128::from(largest) < 64_u128.pow(height)).expect("at most 11")
}

/// A branch of level l covers 64^(l + 1) indices and is there if one of them is.
fn branches_for(indices: impl Iterator<Item = u64> + Clone, height: u32) -> usize {
    let starts = |level| indices.clone().map(move |index| u128::from(index) >> (6 * (level + 1)));
    (0..height).map(|level| starts(level).collect::<BTreeSet<_>>().len()).sum()
}

/// A gang lookup by tag, from the start to the end.
pub(crate) fn all_tagged(tree: &RadixTree, tag: Tag) -> Vec<(u64, Pfn)> {
    let after = |index: u64| tree.next_tagged(index.checked_add(1)?, tag);
    std::iter::successors(tree.next_tagged(0, tag), |&(index, _)| after(index)).collect()
}

/// Where the height changes, and the two ends.
pub(crate) fn boundaries() -> Vec<u64> {
    let powers = (0..11).map(|exponent| 1_u64 << (6 * exponent));
    let around = powers.flat_map(|power| [power - 1, power, power + 1]);
    let ends = [65, 4095, 4096, u64::MAX - 1, u64::MAX, u64::MAX / 2];
    around.chain(ends).collect::<BTreeSet<_>>().into_iter().collect()
}
