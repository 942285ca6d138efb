//! Which page is at which index of an address space: a 64-way radix tree with two tags.
//!
//! An index is eleven digits of six bits. A tree of height h has only the last h of them, so it
//! covers indices 0 .. 64^h - 1; height 0 is one page, at index 0, in the root itself. Below the
//! root are *branches* of 64 slots, each slot with two tags. A tag of a slot whose branch is not a
//! leaf says that something below has it, so that a search for tagged pages passes by whatever
//! has none.
//!
//! Start with [`RadixTree::get`], then [`RadixTree::insert`] and [`RadixTree::delete`], which keep
//! the height as small as the largest index allows. [`RadixTree::replace`] is what a migration
//! does to the slot of its page (MM-9). Above us: the address spaces, file and swap, which hold
//! the tree lock around every change. [`RadixTree::check`], in a file of its own, is for the audit
//! (I-64); which pages must carry which tag (I-65 to I-67) is a matter of pages, not of the tree.
//!
//! Source: data-model 5.2. Left out: the slot handle of `lookup_slot`. A reader without the lock
//! asks for the index again instead, which tells him what re-reading the handle would
//! (supporting-paths 9). A branch counts its items with a word, one bit a slot, rather than with a
//! number: the count of its ones is the population, and it finds the next item as a tag word
//! finds the next tagged one.

mod check;

use std::{iter, mem};

use serde::{Deserialize, Serialize};

use crate::base::{Pfn, grow};

/// Bits of an index that choose a slot.
const DIGIT_BITS: u32 = 6;
/// Slots of a branch.
const SLOTS: usize = 1 << DIGIT_BITS;
/// Digits of the largest index: no tree is higher.
const HEIGHT_MAX: u32 = u64::BITS.div_ceil(DIGIT_BITS);
/// A slot that holds nothing. No machine has a frame of this number, and no pool a branch.
const VACANT: u32 = u32::MAX;

/// A mark on a slot, found again without looking at every page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tag {
    /// The page may have to be written (I-66).
    Dirty = 0,
    /// The page is being written (I-65).
    Writeback = 1,
}

impl Tag {
    /// Both, by number.
    pub const ALL: [Tag; 2] = [Tag::Dirty, Tag::Writeback];

    #[inline]
    const fn number(self) -> usize {
        self as usize
    }
}

/// One node of the tree: the numbers of 64 branches, or at level 0 of 64 frames.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Branch {
    #[serde(with = "kept")]
    slots: [u32; SLOTS],
    /// Which slots are occupied.
    occupied: u64,
    /// Which slots are tagged or, above level 0, have something tagged below them.
    tagged: [u64; Tag::ALL.len()],
}

/// How the slots are kept in a snapshot: as a list of their length.
mod kept {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::SLOTS;

    pub(super) fn serialize<S: Serializer>(slots: &[u32; SLOTS], to: S) -> Result<S::Ok, S::Error> {
        slots.as_slice().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[u32; SLOTS], D::Error> {
        let slots = Vec::<u32>::deserialize(from)?;
        slots.try_into().map_err(|_| D::Error::custom("a branch has 64 slots"))
    }
}

impl Branch {
    const BLANK: Branch =
        Branch { slots: [VACANT; SLOTS], occupied: 0, tagged: [0; Tag::ALL.len()] };

    #[inline]
    fn put(&mut self, position: usize, number: u32) {
        self.slots[position] = number;
        self.occupied |= 1 << position;
    }

    #[inline]
    fn take(&mut self, position: usize) {
        self.slots[position] = VACANT;
        self.occupied &= !(1 << position);
    }

    #[inline]
    const fn has_tag(&self, position: usize, tag: Tag) -> bool {
        self.tagged[tag.number()] >> position & 1 == 1
    }
}

/// Pages by index, with tags (`page_tree`).
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct RadixTree {
    /// The item of index 0 at height 0, the topmost branch at any other height.
    root: u32,
    height: u32,
    /// Whether anything at all has the tag.
    root_tagged: [bool; Tag::ALL.len()],
    len: u64,
    pool: Vec<Branch>,
    /// Branches of the pool that are not in the tree; all of them blank.
    spare: Vec<u32>,
}

impl Default for RadixTree {
    fn default() -> Self {
        RadixTree {
            root: VACANT,
            height: 0,
            root_tagged: [false; Tag::ALL.len()],
            len: 0,
            pool: Vec::new(),
            spare: Vec::new(),
        }
    }
}

/// The way down to an item: the branch of each level that there is, and what is at the end.
struct Way {
    branches: [u32; HEIGHT_MAX as usize],
    item: Pfn,
}

/// The slot of a branch of `level` that leads towards `index`.
#[inline]
const fn digit(index: u64, level: u32) -> usize {
    (index >> (level * DIGIT_BITS)) as usize % SLOTS
}

/// What is left of an index below `level`.
#[inline]
const fn digits_below(index: u64, level: u32) -> u64 {
    index & !(u64::MAX << (level * DIGIT_BITS))
}

fn expect_a_frame(item: Pfn) {
    assert!(item.0 != VACANT, "{item} is the mark of a vacant slot, not a frame");
}

impl RadixTree {
    /// Puts `item` at `index`, without tags. Answers whether it did: an occupied slot keeps what
    /// it has (-EEXIST) and nothing changes.
    pub fn insert(&mut self, index: u64, item: Pfn) -> bool {
        expect_a_frame(item);
        // An occupied slot is covered, so a refusal has neither grown the tree nor branched it.
        self.grow_to(index);
        if self.height == 0 {
            if self.root != VACANT {
                return false;
            }
            self.root = item.0;
        } else {
            let leaf = self.leaf_for(index);
            let branch = &mut self.pool[leaf as usize];
            if branch.slots[digit(index, 0)] != VACANT {
                return false;
            }
            branch.put(digit(index, 0), item.0);
        }
        self.len += 1;
        true
    }

    /// The item at `index`.
    #[inline]
    pub fn get(&self, index: u64) -> Option<Pfn> {
        if !self.covers(index) {
            return None;
        }
        let mut number = self.root;
        for level in (0..self.height).rev() {
            number = self.pool.get(number as usize)?.slots[digit(index, level)];
        }
        (number != VACANT).then_some(Pfn(number))
    }

    /// Puts `item` in the place of the item at `index` and returns that one. The tags of the slot
    /// stay as they are (MM-9). Where there is nothing to replace, nothing changes.
    #[inline]
    pub fn replace(&mut self, index: u64, item: Pfn) -> Option<Pfn> {
        expect_a_frame(item);
        if !self.covers(index) {
            return None;
        }
        let mut slot = &mut self.root;
        if self.height > 0 {
            let mut leaf = self.root;
            for level in (1..self.height).rev() {
                leaf = self.pool.get(leaf as usize)?.slots[digit(index, level)];
            }
            slot = &mut self.pool.get_mut(leaf as usize)?.slots[digit(index, 0)];
        }
        (*slot != VACANT).then(|| Pfn(mem::replace(slot, item.0)))
    }

    /// Takes the item at `index` out, with its tags. Branches that become empty go, and so does
    /// every level that nothing but index 0 of it needs.
    pub fn delete(&mut self, index: u64) -> Option<Pfn> {
        let way = self.way_to(index)?;
        for tag in Tag::ALL {
            self.untag(&way, index, tag);
        }
        self.prune(&way, index);
        self.shrink();
        self.len -= 1;
        if self.branches() == 0 {
            // Keeps the copies of a machine small; the capacity stays.
            self.pool.clear();
            self.spare.clear();
        }
        Some(way.item)
    }

    /// Sets `tag` at `index`.
    ///
    /// # Panics
    /// If the slot is empty: only a page can be dirty or under writeback.
    pub fn set_tag(&mut self, index: u64, tag: Tag) {
        let Some(way) = self.way_to(index) else {
            panic!("tag {tag:?} set at {index:#x}, where there is no item");
        };
        for level in 0..self.height {
            let word = &mut self.branch_mut(&way, level).tagged[tag.number()];
            let before = mem::replace(word, *word | 1 << digit(index, level));
            if before != 0 {
                // Everything above knew of a tag below already.
                return;
            }
        }
        self.root_tagged[tag.number()] = true;
    }

    /// Clears `tag` at `index`. Changes nothing where it is not set, or where there is no item.
    pub fn clear_tag(&mut self, index: u64, tag: Tag) {
        if let Some(way) = self.way_to(index) {
            self.untag(&way, index, tag);
        }
    }

    /// Whether `tag` is set at `index`.
    pub fn has_tag(&self, index: u64, tag: Tag) -> bool {
        if !self.covers(index) || !self.is_tagged(tag) {
            return false;
        }
        let mut number = self.root;
        for level in (0..self.height).rev() {
            let branch = &self.pool[number as usize];
            if !branch.has_tag(digit(index, level), tag) {
                return false;
            }
            number = branch.slots[digit(index, level)];
        }
        true
    }

    /// Whether anything has `tag`: one look at the root.
    #[inline]
    pub fn is_tagged(&self, tag: Tag) -> bool {
        self.root_tagged[tag.number()]
    }

    /// The first item at or above `from` (gang lookup). Empty stretches cost nothing.
    pub fn next(&self, from: u64) -> Option<(u64, Pfn)> {
        let is_wanted = self.root != VACANT;
        self.first(from, is_wanted, |branch| branch.occupied)
    }

    /// The first item at or above `from` that has `tag`.
    pub fn next_tagged(&self, from: u64, tag: Tag) -> Option<(u64, Pfn)> {
        self.first(from, self.is_tagged(tag), |branch| branch.tagged[tag.number()])
    }

    /// All items with their indices, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Pfn)> + '_ {
        iter::successors(self.next(0), |&(index, _)| self.next(index.checked_add(1)?))
    }

    /// How many items there are (`nrpages`).
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many levels of branches there are, 0..=11.
    #[inline]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// How many branches are in the tree; an empty tree has none.
    #[inline]
    pub fn branches(&self) -> usize {
        self.pool.len() - self.spare.len()
    }

    /// Whether the tree is high enough to have `index`.
    #[inline]
    const fn covers(&self, index: u64) -> bool {
        self.height == HEIGHT_MAX || index >> (self.height * DIGIT_BITS) == 0
    }

    #[inline]
    fn branch_mut(&mut self, way: &Way, level: u32) -> &mut Branch {
        &mut self.pool[way.branches[level as usize] as usize]
    }

    /// The way to the item at `index`, if there is one.
    fn way_to(&self, index: u64) -> Option<Way> {
        if !self.covers(index) {
            return None;
        }
        let mut branches = [VACANT; HEIGHT_MAX as usize];
        let mut number = self.root;
        for level in (0..self.height).rev() {
            branches[level as usize] = number;
            number = self.pool.get(number as usize)?.slots[digit(index, level)];
        }
        (number != VACANT).then_some(Way { branches, item: Pfn(number) })
    }

    /// Adds levels on top until the tree covers `index`. What was the root goes into slot 0 of
    /// the new one, its tags with it; an empty tree has nothing to put there.
    fn grow_to(&mut self, index: u64) {
        while !self.covers(index) {
            if self.root != VACANT {
                let number = self.sprout();
                let branch = &mut self.pool[number as usize];
                branch.put(0, self.root);
                branch.tagged = self.root_tagged.map(u64::from);
                self.root = number;
            }
            self.height += 1;
        }
    }

    /// The leaf that has the slot of `index`, with every branch on the way that was missing.
    fn leaf_for(&mut self, index: u64) -> u32 {
        if self.root == VACANT {
            self.root = self.sprout();
        }
        let mut number = self.root;
        for level in (1..self.height).rev() {
            let position = digit(index, level);
            let mut child = self.pool[number as usize].slots[position];
            if child == VACANT {
                child = self.sprout();
                self.pool[number as usize].put(position, child);
            }
            number = child;
        }
        number
    }

    /// A blank branch, a spare one if there is one.
    fn sprout(&mut self) -> u32 {
        self.spare.pop().unwrap_or_else(|| {
            grow(&mut self.pool);
            self.pool.push(Branch::BLANK);
            u32::try_from(self.pool.len() - 1).expect("fewer branches than frames")
        })
    }

    /// Clears a tag, and upwards of it as long as it was the last below.
    fn untag(&mut self, way: &Way, index: u64, tag: Tag) {
        for level in 0..self.height {
            let word = &mut self.branch_mut(way, level).tagged[tag.number()];
            *word &= !(1 << digit(index, level));
            if *word != 0 {
                return;
            }
        }
        self.root_tagged[tag.number()] = false;
    }

    /// Empties a slot, and upwards of it as long as the branch has become empty.
    fn prune(&mut self, way: &Way, index: u64) {
        for level in 0..self.height {
            let branch = self.branch_mut(way, level);
            branch.take(digit(index, level));
            if branch.occupied != 0 {
                return;
            }
            self.spare.push(way.branches[level as usize]);
        }
        (self.root, self.height) = (VACANT, 0);
    }

    /// Drops the topmost level while slot 0 is all there is of it.
    fn shrink(&mut self) {
        while self.height > 0 && self.pool[self.root as usize].occupied == 1 {
            let top = mem::replace(&mut self.pool[self.root as usize], Branch::BLANK);
            self.spare.push(self.root);
            self.root = top.slots[0];
            self.height -= 1;
        }
    }

    /// The first item at or above `from` whose slots a word of its branches names all the way.
    #[inline]
    fn first(
        &self,
        from: u64,
        is_root_wanted: bool,
        wanted: impl Fn(&Branch) -> u64 + Copy,
    ) -> Option<(u64, Pfn)> {
        if !is_root_wanted || !self.covers(from) {
            return None;
        }
        let (index, number) = match self.height.checked_sub(1) {
            None => (0, self.root),
            Some(level) => self.first_below(self.root, level, from, wanted)?,
        };
        Some((index, Pfn(number)))
    }

    /// The same below one branch, with indices counted from its first.
    ///
    /// At most two slots are entered: that of `from`, which may have nothing so late, and the
    /// next wanted one, which has something from its start.
    fn first_below(
        &self,
        branch: u32,
        level: u32,
        from: u64,
        wanted: impl Fn(&Branch) -> u64 + Copy,
    ) -> Option<(u64, u32)> {
        let branch = &self.pool[branch as usize];
        let start = digit(from, level);
        let mut ahead = wanted(branch) & u64::MAX << start;
        while ahead != 0 {
            let position = ahead.trailing_zeros() as usize;
            let (base, number) =
                ((position as u64) << (level * DIGIT_BITS), branch.slots[position]);
            if level == 0 {
                return Some((base, number));
            }
            let rest = if position == start { digits_below(from, level) } else { 0 };
            if let Some((index, item)) = self.first_below(number, level - 1, rest, wanted) {
                return Some((base | index, item));
            }
            ahead &= ahead - 1;
        }
        None
    }
}
