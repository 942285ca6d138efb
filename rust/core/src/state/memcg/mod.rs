//! Memory cgroups: which group pays for which frame (data-model 9).
//!
//! Off until the first group is made; then every frame has a [`Record`]. The rules of charging are
//! in [`crate::kernel`] (`charge`), because they read the page, too. Left out: stock, soft limits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{MemcgId, Pfn, SwapEntry};

bitflags::bitflags! {
    /// What a frame's record says.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct RecordFlags: u8 {
        /// Charged.
        const USED = 1;
        /// Charged as page cache.
        const CACHE = 2;
        /// Counted in the group's MAPPED_FILE.
        const FILE_MAPPED = 4;
        /// Counted in the group's lists. Not stored: a record says so while its page is charged and
        /// on an LRU list ([`crate::kernel::Kernel::memcg_record`]).
        const ACCT_LRU = 8;
    }
}

impl MemcgId {
    /// The group of everybody who is in no other: unlimited, and its usage is not kept.
    pub const ROOT: MemcgId = MemcgId(0);
}

/// Who pays for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// What is charged.
    pub flags: RecordFlags,
    /// To whom.
    pub owner: MemcgId,
}

/// One group.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Memcg {
    /// What people call it.
    pub name: String,
    /// Its parent; none for the root.
    pub parent: Option<MemcgId>,
    /// Pages charged to it and to groups below it. Not kept for the root.
    pub usage: u64,
    /// Pages at most.
    pub limit: Option<u64>,
    /// Pages of page cache.
    pub cache: i64,
    /// Anonymous pages.
    pub rss: i64,
    /// Mapped pages of page cache, less what Q17 loses.
    pub mapped_file: i64,
    /// Swap slots in use whose page it had paid for until the page left memory.
    pub swapout: i64,
    /// Ledger of Q17: mapped charged file pages that `mapped_file` does not count.
    pub mapped_file_drift: i64,
    /// Ledger of Q18: charges left on frames that were thrown away.
    pub leaked: u64,
}

impl Memcg {
    /// The statistic that a page of one sort is counted in.
    pub fn sort(&mut self, is_cache: bool) -> &mut i64 {
        if is_cache { &mut self.cache } else { &mut self.rss }
    }
}

/// All groups, and the records of all frames.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Memcgs {
    groups: Vec<Memcg>,
    records: Vec<Record>,
    /// Frames thrown away while charged (Q18), until somebody charges or uncharges them again.
    leaks: BTreeSet<Pfn>,
    /// Slots counted in a SWAPOUT, and in whose.
    swapped: BTreeMap<SwapEntry, MemcgId>,
}

impl Memcgs {
    /// Whether there are groups besides the root.
    #[inline]
    pub fn are_on(&self) -> bool {
        !self.records.is_empty()
    }

    /// Whether the host has room for the records of so many frames.
    pub fn has_room_for(frames: usize) -> bool {
        Vec::<Record>::new().try_reserve_exact(frames).is_ok()
    }

    /// A new group; the first one turns the records on, for `frames` frames.
    pub fn create(
        &mut self,
        name: String,
        parent: MemcgId,
        limit: Option<u64>,
        frames: usize,
    ) -> MemcgId {
        if self.groups.is_empty() {
            self.groups.push(Memcg { name: "root".into(), ..Memcg::default() });
            self.records = vec![Record::default(); frames];
        }
        self.groups.push(Memcg { name, parent: Some(parent), limit, ..Memcg::default() });
        MemcgId::from(self.groups.len() - 1)
    }

    /// The record of a frame.
    #[inline]
    pub fn record(&self, page: Pfn) -> Record {
        self.records.get(page.index()).copied().unwrap_or_default()
    }

    /// Changes the record of a frame.
    pub fn set_record(&mut self, page: Pfn, record: Record) {
        self.records[page.index()] = record;
    }

    /// Notes that a frame was thrown away with a charge on it (Q18).
    pub fn note_leak(&mut self, page: Pfn) {
        if self.leaks.insert(page) {
            let owner = self.record(page).owner;
            self[owner].leaked += 1;
        }
    }

    /// Somebody uses the charge of a frame: if it was left over, it no longer is.
    pub fn end_leak(&mut self, page: Pfn) {
        if self.leaks.remove(&page) {
            let owner = self.record(page).owner;
            self[owner].leaked -= 1;
        }
    }

    /// Frames with a charge left over from Q18, ascending.
    pub fn leaks(&self) -> impl Iterator<Item = Pfn> {
        self.leaks.iter().copied()
    }

    /// A page that `group` had paid for is in the slot alone from now on.
    pub fn note_swapped(&mut self, slot: SwapEntry, group: MemcgId) {
        self.forget_swapped(slot);
        self.swapped.insert(slot, group);
        self[group].swapout += 1;
    }

    /// The slot is free, or its page is charged again.
    pub fn forget_swapped(&mut self, slot: SwapEntry) {
        if let Some(group) = self.swapped.remove(&slot) {
            self[group].swapout -= 1;
        }
    }

    /// The slots counted in some SWAPOUT, with whose.
    pub fn swapped(&self) -> impl Iterator<Item = (SwapEntry, MemcgId)> {
        self.swapped.iter().map(|(&slot, &group)| (slot, group))
    }

    /// A group and those above it, but the root: whoever counts what is charged to it.
    pub fn payers(&self, group: MemcgId) -> impl Iterator<Item = MemcgId> {
        let above = |&id: &MemcgId| self.groups[id.index()].parent;
        std::iter::successors(Some(group), above).filter(|&id| id != MemcgId::ROOT)
    }

    /// Counts one page more for a group and those above it, unless one of them is full.
    pub fn admit(&mut self, group: MemcgId) -> bool {
        let is_full = |id| {
            let group: &Memcg = &self[id];
            group.limit.is_some_and(|limit| group.usage >= limit)
        };
        if self.payers(group).any(is_full) {
            return false;
        }
        self.change_usage(group, 1);
        true
    }

    /// Counts one page less.
    pub fn discharge(&mut self, group: MemcgId) {
        self.change_usage(group, -1);
    }

    fn change_usage(&mut self, group: MemcgId, change: i64) {
        let mut next = Some(group);
        while let Some(id) = next.filter(|&id| id != MemcgId::ROOT) {
            let group = &mut self[id];
            let usage = group.usage.checked_add_signed(change);
            group.usage = usage.expect("uncharged more pages than were charged");
            next = group.parent;
        }
    }

    /// All groups, the root first; none while they are off.
    pub fn iter(&self) -> impl Iterator<Item = (MemcgId, &Memcg)> {
        self.groups.iter().enumerate().map(|(id, group)| (MemcgId::from(id), group))
    }

    /// A group, if there is one.
    pub fn find(&self, id: MemcgId) -> Option<&Memcg> {
        self.groups.get(id.index())
    }
}

impl std::ops::Index<MemcgId> for Memcgs {
    type Output = Memcg;

    fn index(&self, id: MemcgId) -> &Memcg {
        &self.groups[id.index()]
    }
}

impl std::ops::IndexMut<MemcgId> for Memcgs {
    fn index_mut(&mut self, id: MemcgId) -> &mut Memcg {
        &mut self.groups[id.index()]
    }
}
