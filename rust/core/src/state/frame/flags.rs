//! The flag bits of a page (data-model 2.2).

use serde::{Deserialize, Serialize};

bitflags::bitflags! {
    /// Flags of a page, under the bit numbers of the modelled kernel.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub struct PageFlags: u32 {
        /// The page lock.
        const LOCKED = 1;
        /// I/O error.
        const ERROR = 1 << 1;
        /// Used lately (aging).
        const REFERENCED = 1 << 2;
        /// The content is valid.
        const UPTODATE = 1 << 3;
        /// Must be written.
        const DIRTY = 1 << 4;
        /// On an LRU list.
        const LRU = 1 << 5;
        /// On, or destined for, an active list.
        const ACTIVE = 1 << 6;
        /// Owned by the kernel's allocator.
        const SLAB = 1 << 7;
        /// For filesystems.
        const CHECKED = 1 << 8;
        /// Not used here.
        const ARCH_1 = 1 << 9;
        /// The zero page, firmware.
        const RESERVED = 1 << 10;
        /// Buffers or filesystem data attached.
        const PRIVATE = 1 << 11;
        /// fscache data attached.
        const PRIVATE_2 = 1 << 12;
        /// Under writeback.
        const WRITEBACK = 1 << 13;
        /// First page of a compound page.
        const HEAD = 1 << 14;
        /// Another page of a compound page.
        const TAIL = 1 << 15;
        /// In the swap cache.
        const SWAPCACHE = 1 << 16;
        /// Has blocks on disk.
        const MAPPEDTODISK = 1 << 17;
        /// To the list's tail when writeback ends.
        const RECLAIM = 1 << 18;
        /// Free.
        const BUDDY = 1 << 19;
        /// Belongs to the anonymous LRU family.
        const SWAPBACKED = 1 << 20;
        /// On, or destined for, the unevictable list.
        const UNEVICTABLE = 1 << 21;
        /// Mapped by some VM_LOCKED area.
        const MLOCKED = 1 << 22;
        /// Not used here.
        const UNCACHED = 1 << 23;
        /// A bad frame.
        const HWPOISON = 1 << 24;
    }
}

impl PageFlags {
    /// Flags that must be clear when a frame is handed back (data-model 2.2, freeing check). Of
    /// PG_reserved and PG_private_2, which only a person sets, he lets go with the page.
    pub const CHECKED_AT_FREE: PageFlags = PageFlags::LRU
        .union(PageFlags::LOCKED)
        .union(PageFlags::PRIVATE)
        .union(PageFlags::BUDDY)
        .union(PageFlags::WRITEBACK)
        .union(PageFlags::SLAB)
        .union(PageFlags::SWAPCACHE)
        .union(PageFlags::ACTIVE)
        .union(PageFlags::UNEVICTABLE)
        .union(PageFlags::MLOCKED);
}
