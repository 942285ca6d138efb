//! Memory cgroups: which group pays for which frame (data-model 9).
//!
//! Off until the first group is made; then every frame has a [`Record`]. The rules of charging are
//! in [`crate::kernel`] (`charge`), because they read the page, too. Left out: stock, soft limits.

use crate::base::{MemcgId, Pfn};

bitflags::bitflags! {
    /// What a frame's record says.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RecordFlags: u8 {
        /// Charged.
        const USED = 1;
        /// Charged as page cache.
        const CACHE = 2;
        /// Counted in the group's MAPPED_FILE.
        const FILE_MAPPED = 4;
        /// Counted in the group's lists.
        const ACCT_LRU = 8;
    }
}

/// Who pays for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What is charged.
    pub flags: RecordFlags,
    /// To whom.
    pub owner: MemcgId,
}

/// One group.
#[derive(Clone, Debug, Default)]
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
    /// Pages swapped out.
    pub swapout: i64,
    /// Ledger of Q17: successful migrations of mapped charged file pages.
    pub mapped_file_drift: i64,
    /// Ledger of Q18: charges left on frames that were thrown away.
    pub leaked: u64,
}

/// All groups, and the records of all frames.
#[derive(Clone, Debug, Default)]
pub struct Memcgs {
    groups: Vec<Memcg>,
    records: Vec<Record>,
}

impl Memcgs {
    /// Whether there are groups besides the root.
    #[inline]
    pub fn are_on(&self) -> bool {
        !self.records.is_empty()
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
