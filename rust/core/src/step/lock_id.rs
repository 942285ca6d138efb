//! What a call can wait for.

use std::fmt;

use crate::base::{AnonVmaId, MmId, Pfn, TableId};

/// The name of one simulated lock, outermost class first (data-model 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockId {
    /// `mmap_sem` of one mm: fair, shared or exclusive.
    MmapSem(MmId),
    /// PG_locked of one page.
    Page(Pfn),
    /// The lock of one `anon_vma`.
    AnonVma(AnonVmaId),
    /// The lock of one leaf table.
    Leaf(TableId),
}

impl LockId {
    /// Whether nobody may sleep while holding it (I-34).
    pub const fn is_spin(self) -> bool {
        matches!(self, LockId::AnonVma(_) | LockId::Leaf(_))
    }

    /// Its place in the order in which locks are taken (data-model 11), outermost first.
    pub const fn class(self) -> u8 {
        match self {
            LockId::MmapSem(_) => 0,
            LockId::Page(_) => 1,
            LockId::AnonVma(_) => 2,
            LockId::Leaf(_) => 3,
        }
    }

    /// The kind as users see it.
    pub const fn kind(self) -> &'static str {
        match self {
            LockId::MmapSem(_) => "mmap_sem",
            LockId::Page(_) => "page_lock",
            LockId::AnonVma(_) => "anon_vma_lock",
            LockId::Leaf(_) => "leaf_lock",
        }
    }

    /// The number of the thing locked.
    pub const fn number(self) -> u32 {
        match self {
            LockId::MmapSem(MmId(n))
            | LockId::Page(Pfn(n))
            | LockId::AnonVma(AnonVmaId(n))
            | LockId::Leaf(TableId(n)) => n,
        }
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.number())
    }
}
