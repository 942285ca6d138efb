//! The pool of page tables, and the way from a root down to a leaf.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Entry;
use crate::base::{PAGE_SHIFT, TableId, sparse};

/// Entries of one table.
pub const ENTRIES: usize = 512;
/// Levels above the leaf table.
const UPPER_LEVELS: u32 = 3;
/// Bytes that one leaf table covers.
pub const LEAF_SPAN: u64 = 1 << 21;

/// The slot of an address in its leaf table.
#[inline]
pub const fn leaf_index(address: u64) -> usize {
    (address >> PAGE_SHIFT) as usize % ENTRIES
}

/// The first address beyond the leaf table of `address`.
#[inline]
pub const fn leaf_span_end(address: u64) -> u64 {
    (address | (LEAF_SPAN - 1)) + 1
}

const fn slot(address: u64, level: u32) -> usize {
    (address >> (PAGE_SHIFT + 9 * level)) as usize % ENTRIES
}

/// All page tables of the machine. A table that nobody uses is empty and waits for the next user.
#[derive(Debug)]
pub struct Tables {
    tables: Vec<[Entry; ENTRIES]>,
    /// For each table, a bit for each stretch that may have an entry: the others need not be read.
    used: Vec<u8>,
    vacant: Vec<TableId>,
    /// No more tables than this: the kernel's own data take no frames (data-model 1.4), so
    /// nothing else would bound them where the zero page is mapped everywhere.
    limit: usize,
    /// The last walk: (root, 2 MiB range, leaf). Forgotten whenever a table is freed.
    last_walk: Option<(TableId, u64, TableId)>,
}

/// The walk that is remembered saves time and decides nothing, and so do bits of empty stretches.
impl Hash for Tables {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (table, (entries, &used)) in self.tables.iter().zip(&self.used).enumerate() {
            for stretch in bits(used) {
                let first = stretch * STRETCH;
                let line = (table * ENTRIES + first) / sparse::per_line::<Entry>();
                sparse::hash_lines(&entries[first..first + STRETCH], line, state);
            }
        }
        state.write_usize(usize::MAX);
        self.vacant.hash(state);
    }
}

impl Clone for Tables {
    fn clone(&self) -> Tables {
        // A copy that makes some tables more need not move those that it has.
        let mut tables = Vec::with_capacity(self.tables.len() + ROOM);
        tables.extend_from_slice(&self.tables);
        Tables {
            tables,
            used: self.used.clone(),
            vacant: self.vacant.clone(),
            limit: self.limit,
            last_walk: self.last_walk,
        }
    }

    /// The same, in the memory that it has already.
    fn clone_from(&mut self, other: &Tables) {
        self.tables.truncate(other.tables.len());
        let common = self.tables.len();
        for (table, entries) in self.tables.iter_mut().enumerate() {
            for stretch in bits(self.used[table] | other.used[table]) {
                let span = stretch * STRETCH..(stretch + 1) * STRETCH;
                entries[span.clone()].copy_from_slice(&other.tables[table][span]);
            }
        }
        self.tables.extend_from_slice(&other.tables[common..]);
        self.used.clone_from(&other.used);
        self.vacant.clone_from(&other.vacant);
        (self.limit, self.last_walk) = (other.limit, other.last_walk);
    }
}

/// What a snapshot keeps: how many tables, their lines, the vacant ones, the limit.
type Kept = (usize, Vec<sparse::Line>, Vec<TableId>, usize);

impl Serialize for Tables {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let entries = self.tables.as_flattened();
        let lines = sparse::lines(entries, std::iter::once(0..entries.len()));
        (self.tables.len(), lines, &self.vacant, self.limit).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (len, lines, vacant, limit) = Kept::deserialize(from)?;
        let bad = || serde::de::Error::custom("page tables beyond the limit");
        if len > limit.max(TABLES_MAX) {
            return Err(bad());
        }
        let mut tables = Vec::new();
        if tables.try_reserve_exact(len).is_err() {
            return Err(serde::de::Error::custom("this host has no room for its page tables"));
        }
        tables.resize(len, [Entry::NONE; ENTRIES]);
        if !sparse::fill(tables.as_flattened_mut(), &lines) {
            return Err(bad());
        }
        let used = tables.iter().map(used_stretches).collect();
        Ok(Tables { tables, used, vacant, limit, last_walk: None })
    }
}

/// Entries that are looked at together: an eighth of a table.
const STRETCH: usize = 64;
/// Tables that a copy has room for besides those that it begins with.
const ROOM: usize = 8;
/// Tables that every machine may have.
const TABLES_MIN: usize = 1 << 16;
/// Tables that no machine may exceed: 8 GiB of the host's memory.
const TABLES_MAX: usize = 1 << 21;

impl Tables {
    /// No table yet, and no more than a machine of `frames` frames can make use of.
    pub fn new(frames: usize) -> Tables {
        let limit = (TABLES_MIN + 8 * (frames / ENTRIES)).min(TABLES_MAX);
        Tables { tables: Vec::new(), used: Vec::new(), vacant: Vec::new(), limit, last_walk: None }
    }

    /// A new, empty table. Roots are made whatever the limit.
    pub fn create(&mut self) -> TableId {
        self.vacant.pop().unwrap_or_else(|| {
            self.tables.push([Entry::NONE; ENTRIES]);
            self.used.push(0);
            TableId::from(self.tables.len() - 1)
        })
    }

    /// The leaf table for `address` under `root`, if all levels above it exist.
    #[inline]
    pub fn find_leaf(&self, root: TableId, address: u64) -> Option<TableId> {
        let mut table = root;
        for level in (1..=UPPER_LEVELS).rev() {
            table = self.below(table, slot(address, level))?;
        }
        Some(table)
    }

    /// As [`Tables::find_leaf`], without a walk where the last one went to the same leaf table.
    #[inline]
    pub fn leaf_of(&mut self, root: TableId, address: u64) -> Option<TableId> {
        let range = address / LEAF_SPAN;
        match self.last_walk {
            Some((last_root, last_range, leaf)) if (last_root, last_range) == (root, range) => {
                Some(leaf)
            }
            _ => {
                let leaf = self.find_leaf(root, address)?;
                self.last_walk = Some((root, range, leaf));
                Some(leaf)
            }
        }
    }

    /// The leaf table for `address` under `root`, made with all levels above it if need be; none
    /// if there is no room for it.
    pub fn make_leaf(&mut self, root: TableId, address: u64) -> Option<TableId> {
        let has_room = self.in_use() + UPPER_LEVELS as usize <= self.limit;
        if !has_room && self.find_leaf(root, address).is_none() {
            return None;
        }
        let mut table = root;
        for level in (1..=UPPER_LEVELS).rev() {
            let at = slot(address, level);
            table = self.below(table, at).unwrap_or_else(|| {
                let new = self.create();
                self.set(table, at, pointer_to(new));
                new
            });
        }
        Some(table)
    }

    /// The entry for `address` under `root`; none where a table is missing.
    pub fn entry(&self, root: TableId, address: u64) -> Entry {
        let leaf = self.find_leaf(root, address);
        leaf.map_or(Entry::NONE, |leaf| self.get(leaf, leaf_index(address)))
    }

    /// One entry of a leaf table.
    #[inline]
    pub fn get(&self, leaf: TableId, at: usize) -> Entry {
        self.tables[leaf.index()][at % ENTRIES]
    }

    /// All entries of a leaf table: for loops over neighbours.
    #[inline]
    pub fn entries_of(&self, leaf: TableId) -> &[Entry; ENTRIES] {
        &self.tables[leaf.index()]
    }

    /// Replaces one entry of a leaf table.
    #[inline]
    pub fn set(&mut self, leaf: TableId, at: usize, entry: Entry) {
        self.tables[leaf.index()][at % ENTRIES] = entry;
        self.used[leaf.index()] |= 1 << (at % ENTRIES / STRETCH);
    }

    /// The same where there is an entry already.
    #[inline]
    pub fn replace(&mut self, leaf: TableId, at: usize, entry: Entry) {
        let place = &mut self.tables[leaf.index()][at % ENTRIES];
        debug_assert!(!place.is_none() && !entry.is_none(), "an entry in place of an entry");
        *place = entry;
    }

    /// Frees the tables under `root` that lie wholly in `gap`, where nothing is mapped any more;
    /// tells how many. Entries left there by mistake keep their table.
    pub fn free_range(&mut self, root: TableId, gap: Range<u64>) -> usize {
        self.last_walk = None;
        self.free_below(root, UPPER_LEVELS, 0, &gap)
    }

    /// Frees the root of an address space whose other tables are gone.
    pub fn free_root(&mut self, root: TableId) {
        self.last_walk = None;
        self.tables[root.index()] = [Entry::NONE; ENTRIES];
        self.used[root.index()] = 0;
        self.vacant.push(root);
    }

    /// Every leaf entry under `root` that is not empty, with its address, ascending.
    pub fn entries(&self, root: TableId) -> impl Iterator<Item = (u64, TableId, Entry)> {
        self.leaves(root).into_iter().flat_map(move |(base, leaf)| {
            let page = move |at: usize| base + ((at as u64) << PAGE_SHIFT);
            self.used_in(leaf).map(move |(at, entry)| (page(at), leaf, entry))
        })
    }

    /// How many tables hang under `root`, itself included.
    pub fn reachable(&self, root: TableId) -> usize {
        let mut level = vec![root];
        let mut count = 1;
        for _ in 0..UPPER_LEVELS {
            let below = |&table: &TableId| self.used_in(table).map(|(_, e)| TableId(e.pfn().0));
            level = level.iter().flat_map(below).collect();
            count += level.len();
        }
        count
    }

    /// Sees to it that so many tables can be made; false if the host has no room for them.
    pub fn try_reserve(&mut self, count: usize) -> bool {
        let more = count.saturating_sub(self.vacant.len());
        // Half as much again is good to have, but not needed.
        let has_tables =
            self.tables.try_reserve(more).is_ok() || self.tables.try_reserve_exact(more).is_ok();
        has_tables && self.used.try_reserve(more).is_ok()
    }

    /// How many tables may be made yet.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.in_use()) + UPPER_LEVELS as usize
    }

    /// How many there are, in use or not.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How many tables are in use.
    pub fn in_use(&self) -> usize {
        self.tables.len() - self.vacant.len()
    }

    fn leaves(&self, root: TableId) -> Vec<(u64, TableId)> {
        let mut tables = vec![(0, root)];
        for level in (1..=UPPER_LEVELS).rev() {
            let shift = PAGE_SHIFT + 9 * level;
            tables = tables
                .into_iter()
                .flat_map(|(base, table)| {
                    let used = self.used_in(table);
                    used.map(move |(at, e)| (base + ((at as u64) << shift), TableId(e.pfn().0)))
                })
                .collect();
        }
        tables
    }

    /// The entries of a table that are not empty, ascending; a stretch of empty ones costs one glance.
    fn used_in(&self, table: TableId) -> impl Iterator<Item = (usize, Entry)> {
        let entries = &self.tables[table.index()];
        bits(self.used[table.index()]).flat_map(move |number| {
            let stretch = entries[number * STRETCH..(number + 1) * STRETCH].iter().enumerate();
            let used = stretch.filter(|(_, entry)| !entry.is_none());
            used.map(move |(at, &entry)| (number * STRETCH + at, entry))
        })
    }

    fn below(&self, table: TableId, at: usize) -> Option<TableId> {
        let entry = self.tables[table.index()][at];
        (!entry.is_none()).then(|| TableId(entry.pfn().0))
    }

    fn free_below(&mut self, table: TableId, level: u32, base: u64, gap: &Range<u64>) -> usize {
        let span = 1u64 << (PAGE_SHIFT + 9 * level);
        let first = (gap.start.saturating_sub(base) / span) as usize;
        let last = ((gap.end.saturating_sub(base)).div_ceil(span) as usize).min(ENTRIES);
        let mut freed = 0;
        for at in first..last {
            let Some(below) = self.below(table, at) else {
                continue;
            };
            let start = base + at as u64 * span;
            if level > 1 {
                freed += self.free_below(below, level - 1, start, gap);
            }
            let is_inside = gap.start <= start && start + span <= gap.end;
            if is_inside && self.used_in(below).next().is_none() {
                self.used[below.index()] = 0;
                self.vacant.push(below);
                self.tables[table.index()][at] = Entry::NONE;
                freed += 1;
            }
        }
        freed
    }
}

/// The numbers of the bits that are set, ascending.
fn bits(set: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |bit| set >> bit & 1 != 0)
}

/// The stretches of a table that have an entry.
fn used_stretches(table: &[Entry; ENTRIES]) -> u8 {
    let stretches = table.chunks_exact(STRETCH).enumerate();
    let used = stretches.filter(|(_, stretch)| stretch.iter().any(|entry| !entry.is_none()));
    used.fold(0, |bits, (number, _)| bits | 1 << number)
}

/// An upper entry: present, writable, user, accessed and dirty, as the hardware leaves it.
fn pointer_to(table: TableId) -> Entry {
    let bits = Entry::PRESENT | Entry::WRITABLE | Entry::USER | Entry::ACCESSED | Entry::DIRTY;
    Entry::page(crate::base::Pfn(table.0), bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pfn;

    #[test]
    fn neighbours_share_a_leaf_and_an_empty_range_gives_its_tables_back() {
        let mut tables = Tables::new(0);
        let root = tables.create();
        let (near, far) = (0x2000_0000_0000, 0x2000_0020_0000);
        let leaf = tables.make_leaf(root, near).unwrap();
        assert_eq!(tables.make_leaf(root, near + 0x1f_f000), Some(leaf));
        let other = tables.make_leaf(root, far).unwrap();
        assert_ne!(other, leaf);
        assert_eq!(tables.in_use(), 5);
        tables.set(leaf, leaf_index(near), Entry::page(Pfn(1), Entry::PRESENT));
        assert_eq!(tables.entries(root).map(|(at, ..)| at).collect::<Vec<_>>(), [near]);
        assert_eq!(tables.free_range(root, 0..1 << 47), 1, "only the empty leaf goes");
        tables.set(leaf, leaf_index(near), Entry::NONE);
        assert_eq!(tables.free_range(root, near..near + 0x1000), 0, "the range must cover a table");
        assert_eq!(tables.free_range(root, 0..1 << 47), 3);
        assert_eq!(tables.in_use(), 1);
        assert_eq!(tables.entry(root, near), Entry::NONE);
    }

    #[test]
    fn a_copy_in_place_equals_the_original_and_bits_of_empty_stretches_do_not_count() {
        use std::hash::DefaultHasher;
        let hash = |tables: &Tables| {
            let mut hasher = DefaultHasher::new();
            tables.hash(&mut hasher);
            hasher.finish()
        };
        let mut one = Tables::new(0);
        let root = one.create();
        let leaf = one.make_leaf(root, 0).unwrap();
        one.set(leaf, 3, Entry::page(Pfn(1), Entry::PRESENT));
        let (mut other, before) = (one.clone(), hash(&one));
        one.set(leaf, 500, Entry::page(Pfn(2), Entry::PRESENT));
        assert_ne!(hash(&one), before);
        other.make_leaf(root, 1 << 30).unwrap();
        other.set(leaf, 200, Entry::page(Pfn(3), Entry::PRESENT));
        other.clone_from(&one);
        assert_eq!(other.tables, one.tables, "more tables, and other stretches, than it had");
        assert_eq!(hash(&other), hash(&one));
        one.set(leaf, 500, Entry::NONE);
        assert_eq!(hash(&one), before, "set and taken back");
        other.clone_from(&Tables::new(0));
        other.clone_from(&one);
        assert_eq!((other.tables.as_slice(), hash(&other)), (one.tables.as_slice(), before));
    }

    #[test]
    fn a_remembered_walk_answers_like_a_new_one() {
        let mut tables = Tables::new(0);
        let (root, other) = (tables.create(), tables.create());
        assert_eq!(tables.leaf_of(root, 0x1000), None);
        let leaf = tables.make_leaf(root, 0x1000).unwrap();
        tables.make_leaf(other, 0x1000).unwrap();
        for address in [0x1000, 0x5000, 0x20_0000, 0x7000] {
            for root in [root, other] {
                assert_eq!(tables.leaf_of(root, address), tables.find_leaf(root, address));
            }
        }
        assert_eq!(tables.leaf_of(root, 0), Some(leaf));
        assert_eq!(tables.free_range(root, 0..1 << 47), 3);
        assert_eq!(tables.leaf_of(root, 0), None);
    }

    #[test]
    fn tables_come_to_an_end() {
        let mut tables = Tables::new(0);
        let root = tables.create();
        let made = (0..).take_while(|at| tables.make_leaf(root, at << 21).is_some()).count();
        assert!(made > 65_000 && tables.in_use() <= TABLES_MIN, "{made} leaves");
        assert!(tables.make_leaf(root, 0).is_some(), "what is there stays there");
    }
}
