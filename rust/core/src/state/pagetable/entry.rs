//! One page-table entry: what is at an address.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::base::{PAGE_SHIFT, Pfn, SwapEntry};

/// A leaf entry, bit for bit as on x86-64 (data-model 6.3 and 6.4). Zero: nothing there.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable, Serialize, Deserialize,
)]
#[repr(transparent)]
pub struct Entry(pub u64);

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Nothing.
    None,
    /// A page is mapped.
    Present,
    /// Swapped out.
    Swap,
    /// The page is being moved.
    Migration,
}

impl Entry {
    /// Bit 0: a page is there.
    pub const PRESENT: u64 = 1;
    /// Bit 1: stores are permitted.
    pub const WRITABLE: u64 = 1 << 1;
    /// Bit 2: user space may use it.
    pub const USER: u64 = 1 << 2;
    /// Bit 5: the page was used.
    pub const ACCESSED: u64 = 1 << 5;
    /// Bit 6: the page was written through this entry.
    pub const DIRTY: u64 = 1 << 6;
    /// Bit 8 without bit 0: present, but no access is permitted.
    pub const PROTNONE: u64 = 1 << 8;
    /// Bit 9: not an ordinary page (the zero page).
    pub const SPECIAL: u64 = 1 << 9;
    /// Bit 63: no execution.
    pub const NO_EXECUTE: u64 = 1 << 63;

    /// Bits that `mprotect` keeps: frame, accessed, dirty, special.
    const KEPT: u64 = Self::FRAME | Self::ACCESSED | Self::DIRTY | Self::SPECIAL;
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    const TYPE_POISON: u64 = 29;
    const TYPE_READ: u64 = 30;
    const TYPE_WRITE: u64 = 31;

    /// Nothing there.
    pub const NONE: Entry = Entry(0);

    /// An ordinary entry for `pfn` with the given protection bits.
    #[inline]
    pub const fn page(pfn: Pfn, protection: u64) -> Entry {
        Entry((pfn.0 as u64) << PAGE_SHIFT | protection)
    }

    /// A migration entry for the old page `pfn`: swap type 30 or 31, the frame as offset.
    #[inline]
    pub const fn migration(pfn: Pfn, is_write: bool) -> Entry {
        let kind = if is_write { Self::TYPE_WRITE } else { Self::TYPE_READ };
        Entry((pfn.0 as u64) << 9 | kind << 1)
    }

    /// A genuine swap entry: device in bits 1 to 5, offset from bit 9.
    #[inline]
    pub const fn swap(slot: SwapEntry) -> Entry {
        Entry((slot.offset() as u64) << 9 | (slot.device() as u64) << 1)
    }

    /// The slot of a genuine swap entry.
    #[inline]
    pub const fn as_swap(self) -> Option<SwapEntry> {
        let device = self.0 >> 1 & 0x1f;
        if self.is_swap_type() && device < Self::TYPE_POISON {
            Some(SwapEntry::new(device as u8, (self.0 >> 9) as u32))
        } else {
            None
        }
    }

    /// Whether nothing is there.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether a page is mapped, accessible or not.
    #[inline]
    pub const fn is_present(self) -> bool {
        self.0 & (Self::PRESENT | Self::PROTNONE) != 0
    }

    /// Whether it is a swap or migration entry.
    #[inline]
    pub const fn is_swap_type(self) -> bool {
        self.0 != 0 && !self.is_present() && self.0 & Self::DIRTY == 0
    }

    /// The old page of a migration entry, and whether it is the write flavour.
    #[inline]
    pub const fn as_migration(self) -> Option<(Pfn, bool)> {
        let kind = self.0 >> 1 & 0x1f;
        if self.is_swap_type() && (kind == Self::TYPE_READ || kind == Self::TYPE_WRITE) {
            Some((Pfn((self.0 >> 9) as u32), kind == Self::TYPE_WRITE))
        } else {
            None
        }
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        if self.is_none() {
            Kind::None
        } else if self.is_present() {
            Kind::Present
        } else if self.as_migration().is_some() {
            Kind::Migration
        } else {
            Kind::Swap
        }
    }

    /// The frame of a present entry.
    #[inline]
    pub const fn pfn(self) -> Pfn {
        Pfn(((self.0 & Self::FRAME) >> PAGE_SHIFT) as u32)
    }

    /// Whether all of `bits` are set.
    #[inline]
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// The entry with `bits` set.
    #[inline]
    pub const fn with(self, bits: u64) -> Entry {
        Entry(self.0 | bits)
    }

    /// The entry with `bits` clear.
    #[inline]
    pub const fn without(self, bits: u64) -> Entry {
        Entry(self.0 & !bits)
    }

    /// The page of a present entry: none for the zero page (`vm_normal_page`).
    #[inline]
    pub const fn normal_page(self) -> Option<Pfn> {
        if self.0 & Self::SPECIAL != 0 { None } else { Some(self.pfn()) }
    }

    /// The entry under new protection bits, keeping frame, accessed, dirty and special.
    pub const fn reprotected(self, protection: u64) -> Entry {
        Entry(self.0 & Self::KEPT | protection & !Self::KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_entry_has_the_value_that_the_specification_gives() {
        assert_eq!(Entry::migration(Pfn(7), false).0, 7 * 512 + 60);
        assert_eq!(Entry::migration(Pfn(7), true).0, 7 * 512 + 62);
        assert_eq!(Entry::migration(Pfn(7), true).as_migration(), Some((Pfn(7), true)));
        assert_eq!(Entry::migration(Pfn(0), false).kind(), Kind::Migration);
    }

    #[test]
    fn a_swap_entry_survives_being_stored_and_is_no_migration_entry() {
        let slot = SwapEntry::new(28, 0x7ff_ffff);
        assert_eq!(Entry::swap(slot).as_swap(), Some(slot));
        assert_eq!(Entry::swap(slot).kind(), Kind::Swap);
        assert_eq!(Entry::migration(Pfn(3), true).as_swap(), None);
        assert_eq!(SwapEntry::from_neutral(slot.neutral()), slot);
    }

    #[test]
    fn an_entry_without_access_still_counts_as_present() {
        let entry = Entry::page(Pfn(3), Entry::PROTNONE | Entry::ACCESSED);
        assert_eq!(entry.kind(), Kind::Present);
        assert_eq!(entry.pfn(), Pfn(3));
        assert_eq!(Entry::page(Pfn(9), Entry::PRESENT | Entry::DIRTY).as_migration(), None);
    }
}
