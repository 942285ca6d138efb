//! What a call can wait for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{AnonVmaId, MappingId, MmId, Pfn, TableId};

/// The name of one simulated lock, outermost class first (data-model 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockId {
    /// `ksm_thread_mutex`: one for the machine.
    KsmThread,
    /// `mmap_sem` of one mm: fair, shared or exclusive.
    MmapSem(MmId),
    /// PG_locked of one page.
    Page(Pfn),
    /// PG_writeback of one page: nobody holds it, it is only waited for.
    Writeback(Pfn),
    /// One buffer: the number of its ring times eight, and its place in it.
    Buffer(u32),
    /// The lock of one `anon_vma`.
    AnonVma(AnonVmaId),
    /// `i_mmap_lock` of one file.
    FileMap(MappingId),
    /// The lock of one leaf table.
    Leaf(TableId),
    /// `tree_lock` of one address space.
    Tree(MappingId),
}

impl LockId {
    /// Whether nobody may sleep while holding it (I-34).
    pub const fn is_spin(self) -> bool {
        matches!(self, LockId::AnonVma(_) | LockId::FileMap(_) | LockId::Leaf(_) | LockId::Tree(_))
    }

    /// Its place in the order in which locks are taken (data-model 11), outermost first.
    pub const fn class(self) -> u8 {
        match self {
            LockId::KsmThread => 0,
            LockId::MmapSem(_) => 1,
            LockId::Page(_) => 2,
            LockId::Writeback(_) | LockId::Buffer(_) => 3,
            LockId::AnonVma(_) | LockId::FileMap(_) => 4,
            LockId::Leaf(_) => 5,
            LockId::Tree(_) => 6,
        }
    }

    /// The kind as users see it.
    pub const fn kind(self) -> &'static str {
        match self {
            LockId::KsmThread => "ksm_thread_mutex",
            LockId::MmapSem(_) => "mmap_sem",
            LockId::Page(_) => "page_lock",
            LockId::Writeback(_) => "writeback",
            LockId::Buffer(_) => "buffer_lock",
            LockId::AnonVma(_) => "anon_vma_lock",
            LockId::FileMap(_) => "i_mmap_lock",
            LockId::Leaf(_) => "leaf_lock",
            LockId::Tree(_) => "tree_lock",
        }
    }

    /// The number of the thing locked.
    pub const fn number(self) -> u32 {
        match self {
            LockId::KsmThread => 0,
            LockId::MmapSem(MmId(n))
            | LockId::Page(Pfn(n))
            | LockId::Writeback(Pfn(n))
            | LockId::Buffer(n)
            | LockId::AnonVma(AnonVmaId(n))
            | LockId::FileMap(MappingId(n))
            | LockId::Tree(MappingId(n))
            | LockId::Leaf(TableId(n)) => n,
        }
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.number())
    }
}
