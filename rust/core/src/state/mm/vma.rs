//! One area of an address space.

use smallvec::SmallVec;

use serde::{Deserialize, Serialize};

use super::super::mapping::FileSystem;
use super::super::policy::Policy;
use super::page_protection;
use crate::base::{AnonVmaId, MappingId, MmId, PAGE_SHIFT};

bitflags::bitflags! {
    /// Flags of an area (data-model 6.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub struct VmFlags: u64 {
        /// Loads are permitted.
        const READ = 0x1;
        /// Stores are permitted.
        const WRITE = 0x2;
        /// Execution is permitted.
        const EXEC = 0x4;
        /// Stores reach other mappings.
        const SHARED = 0x8;
        /// READ may be granted.
        const MAYREAD = 0x10;
        /// WRITE may be granted.
        const MAYWRITE = 0x20;
        /// EXEC may be granted.
        const MAYEXEC = 0x40;
        /// SHARED may be granted.
        const MAYSHARE = 0x80;
        /// Grows towards lower addresses.
        const GROWSDOWN = 0x100;
        /// Maps frames that have no page.
        const PFNMAP = 0x400;
        /// Pages must stay (mlock).
        const LOCKED = 0x2000;
        /// Maps a device.
        const IO = 0x4000;
        /// Read in order.
        const SEQ_READ = 0x8000;
        /// Read in any order.
        const RAND_READ = 0x10000;
        /// Fork leaves it out.
        const DONTCOPY = 0x20000;
        /// Must not grow.
        const DONTEXPAND = 0x40000;
        /// Must not be swapped.
        const RESERVED = 0x80000;
        /// Huge pages.
        const HUGETLB = 0x400000;
        /// Pages in any order.
        const NONLINEAR = 0x800000;
        /// Pages put in by a driver.
        const INSERTPAGE = 0x2000000;
        /// May hold entries without page.
        const MIXEDMAP = 0x10000000;
        /// KSM may merge its pages.
        const MERGEABLE = 0x80000000;
    }
}

impl VmFlags {
    /// What `mprotect` may change.
    pub const PROTECTION: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::EXEC);
    /// Areas with one of these cannot be migrated (`vma_migratable`).
    pub const UNMOVABLE: VmFlags =
        VmFlags::IO.union(VmFlags::HUGETLB).union(VmFlags::PFNMAP).union(VmFlags::RESERVED);
    /// Areas with one of these are never mlocked page by page.
    pub const UNLOCKABLE: VmFlags =
        VmFlags::IO.union(VmFlags::DONTEXPAND).union(VmFlags::RESERVED).union(VmFlags::PFNMAP);
    /// Areas with one of these are copied by fork even if no page of them was ever written.
    pub const ALWAYS_COPIED: VmFlags = VmFlags::HUGETLB
        .union(VmFlags::NONLINEAR)
        .union(VmFlags::PFNMAP)
        .union(VmFlags::INSERTPAGE);
    /// What every area may be turned into.
    pub const MAY_ALL: VmFlags = VmFlags::MAYREAD.union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);
}

/// A run of addresses that behave alike.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Vma {
    /// Whose.
    pub mm: MmId,
    /// First address.
    pub start: u64,
    /// First address beyond.
    pub end: u64,
    /// What it permits, and what it is.
    pub flags: VmFlags,
    /// Entry bits for its pages (`vm_page_prot`).
    pub protection: u64,
    /// The file that it maps; none for anonymous memory.
    pub file: Option<MappingId>,
    /// Whether the file must hear of the first store to a page (`page_mkwrite`, or dirty
    /// accounting): shared writable entries are read-only until then.
    pub wants_notice: bool,
    /// Whether its file has pages from a zone type below `policy_zone`, which cannot be migrated.
    pub has_low_pages: bool,
    /// Linear index of its first page (`vm_pgoff`).
    pub pgoff: u64,
    /// Its own memory policy.
    pub policy: Option<Policy>,
    /// The list that new pages belong to.
    pub anon_vma: Option<AnonVmaId>,
    /// All lists it is on, newest first: the last is its oldest ancestor's.
    pub links: SmallVec<[AnonVmaId; 2]>,
}

impl Vma {
    /// An anonymous area that nothing was written to yet.
    pub fn anonymous(mm: MmId, start: u64, end: u64, flags: VmFlags) -> Vma {
        Vma {
            mm,
            start,
            end,
            flags,
            protection: page_protection(flags, false),
            file: None,
            wants_notice: false,
            has_low_pages: false,
            pgoff: start >> PAGE_SHIFT,
            policy: None,
            anon_vma: None,
            links: SmallVec::new(),
        }
    }

    /// An area that maps the pages of `file`, which does things as `kind` says, from `pgoff` on.
    pub fn of_file(
        mm: MmId,
        start: u64,
        end: u64,
        flags: VmFlags,
        (file, kind, pgoff): (MappingId, &FileSystem, u64),
    ) -> Vma {
        // Dirty accounting is only for areas whose entries all come from faults (data-model 6.1).
        let is_by_fault = !flags.intersects(VmFlags::PFNMAP | VmFlags::INSERTPAGE);
        let wants_notice = kind.has_page_mkwrite || (kind.accounts_dirty && is_by_fault);
        Vma {
            protection: page_protection(flags, wants_notice),
            file: Some(file),
            wants_notice,
            has_low_pages: kind.is_below_policy_zone,
            pgoff,
            ..Vma::anonymous(mm, start, end, flags)
        }
    }

    /// Whether it contains `address`.
    #[inline]
    pub fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Its length in pages.
    pub fn pages(&self) -> u64 {
        (self.end - self.start) >> PAGE_SHIFT
    }

    /// `linear_page_index`: the index of the page at `address`, which may lie outside.
    #[inline]
    pub fn linear_index(&self, address: u64) -> u64 {
        let pages = (address >> PAGE_SHIFT).wrapping_sub(self.start >> PAGE_SHIFT);
        self.pgoff.wrapping_add(pages)
    }

    /// `vma_address`: where the page with `index` is mapped, if that is inside.
    #[inline]
    pub fn address_of(&self, index: u64) -> Option<u64> {
        let offset = index.wrapping_sub(self.pgoff) << PAGE_SHIFT;
        let address = self.start.wrapping_add(offset);
        self.contains(address).then_some(address)
    }

    /// Whether stores go to a private copy.
    #[inline]
    pub fn is_copy_on_write(&self) -> bool {
        self.flags & (VmFlags::SHARED | VmFlags::MAYWRITE) == VmFlags::MAYWRITE
    }

    /// Whether stores reach the file.
    #[inline]
    pub fn is_shared_writable(&self) -> bool {
        self.flags.contains(VmFlags::SHARED | VmFlags::WRITE)
    }

    /// Whether its pages may be migrated at all (`vma_migratable`).
    #[inline]
    pub fn is_migratable(&self) -> bool {
        !self.flags.intersects(VmFlags::UNMOVABLE) && !self.has_low_pages
    }

    /// The list that a page restored or swapped in is put on: the oldest (Q14).
    #[inline]
    pub fn oldest_anon_vma(&self) -> Option<AnonVmaId> {
        self.links.last().copied()
    }

    /// Changes the flags and the entry bits that follow from them.
    pub fn set_flags(&mut self, flags: VmFlags) {
        self.flags = flags;
        self.protection = page_protection(flags, self.wants_notice);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::pagetable::Entry;
    use super::*;

    #[test]
    fn an_index_outside_the_area_has_no_address() {
        let vma = Vma::anonymous(MmId(0), 0x5000, 0x8000, VmFlags::READ);
        assert_eq!(vma.linear_index(0x6000), 6);
        assert_eq!(vma.address_of(6), Some(0x6000));
        assert_eq!(vma.address_of(8), None);
        assert_eq!(vma.address_of(0), None, "the arithmetic wraps");
    }

    #[test]
    fn only_a_file_that_accounts_or_has_page_mkwrite_wants_notice_of_stores() {
        let shared = VmFlags::READ | VmFlags::WRITE | VmFlags::SHARED;
        let area = |kind: &FileSystem, flags| {
            Vma::of_file(MmId(0), 0x1000, 0x3000, flags, (MappingId(1), kind, 7))
        };
        let mut kind = FileSystem::tmpfs();
        assert!(area(&kind, shared).protection & Entry::WRITABLE != 0);
        kind.accounts_dirty = true;
        assert!(area(&kind, shared).protection & Entry::WRITABLE == 0);
        assert!(area(&kind, shared | VmFlags::PFNMAP).protection & Entry::WRITABLE != 0);
        kind.has_page_mkwrite = true;
        assert!(area(&kind, shared | VmFlags::PFNMAP).protection & Entry::WRITABLE == 0);
        assert_eq!(area(&kind, shared).address_of(8), Some(0x2000));
        kind.is_below_policy_zone = true;
        assert!(!area(&kind, shared).is_migratable(), "vma_migratable looks at the file, too");
    }
}
