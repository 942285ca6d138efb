//! Where the pages of one owner are mapped: the reverse map, read once for a run of neighbours.

use crate::base::{PAGE_SHIFT, Pfn, TableId};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, OwnerWord};
use crate::state::pagetable::{Entry, LEAF_ENTRIES, leaf_index};

/// The one place of each of a run of indices.
#[derive(Clone, Copy)]
pub(super) struct Site {
    /// Whose pages.
    owner: OwnerWord,
    /// The first index, how many there are, and the address of the first.
    first: u64,
    pages: u64,
    start: u64,
    /// The page table of the one area that they can be mapped in.
    root: TableId,
    /// The area's protection.
    protection: u64,
    /// The owner once a page is mapped again: for anonymous pages the area's oldest list (Q14).
    pub(super) owner_after: OwnerWord,
    /// The part of the run that one leaf table maps.
    near: Near,
}

/// Indices whose entries are in one leaf table.
#[derive(Clone, Copy)]
struct Near {
    leaf: TableId,
    /// The first index, how many there are, and which entry is that of the first.
    first: u64,
    pages: u64,
    slot: usize,
}

impl Near {
    const NOWHERE: Near = Near { leaf: TableId(0), first: 0, pages: 0, slot: 0 };
}

impl Site {
    /// No index has a place here.
    pub(super) const NOWHERE: Site = Site {
        owner: OwnerWord::NONE,
        first: 0,
        pages: 0,
        start: 0,
        root: TableId(0),
        protection: 0,
        owner_after: OwnerWord::NONE,
        near: Near::NOWHERE,
    };

    /// The leaf table and the entry in it where the page with this owner and index is mapped, if
    /// anywhere. None if it may be mapped in several areas, of which walks would visit each.
    #[inline(always)]
    pub(super) fn place_of(
        &mut self,
        kernel: &Kernel,
        owner: OwnerWord,
        index: u64,
    ) -> Option<(TableId, usize)> {
        let offset = index.wrapping_sub(self.near.first);
        if self.owner != owner || offset >= self.near.pages {
            return self.find_place(kernel, owner, index);
        }
        Some((self.near.leaf, self.near.slot + offset as usize))
    }

    fn find_place(
        &mut self,
        kernel: &Kernel,
        owner: OwnerWord,
        index: u64,
    ) -> Option<(TableId, usize)> {
        let offset = index.wrapping_sub(self.first);
        if self.owner != owner || offset >= self.pages {
            *self = Site::find(kernel, owner, index)?;
        }
        let address = self.start + (index.wrapping_sub(self.first) << PAGE_SHIFT);
        let leaf = kernel.tables.find_leaf(self.root, address)?;
        // From the first entry of the table, or of the run if that begins in it.
        let slot = leaf_index(address);
        let before = (slot as u64).min(index - self.first);
        let pages = (LEAF_ENTRIES - slot) as u64 + before;
        let first = index - before;
        let pages = pages.min(self.first + self.pages - first);
        self.near = Near { leaf, first, pages, slot: slot - before as usize };
        Some((leaf, slot))
    }

    fn find(kernel: &Kernel, owner: OwnerWord, index: u64) -> Option<Site> {
        let vmas = &kernel.vmas;
        let areas = match owner.owner() {
            Owner::Anon(list) => kernel.anon_vmas.areas(list),
            Owner::File(file) => &kernel.mappings[file].areas,
            Owner::None | Owner::Ksm(_) => return None,
        };
        let place = |id| Some((id, vmas[id].address_of(index)?));
        let next = |from| areas.next(from, index, place);
        let ((id, address), behind) = next(0)?;
        if next(behind).is_some() {
            return None;
        }
        let area = &vmas[id];
        let (first, pages, start) = match areas.len() {
            1 => (area.pgoff, area.pages(), area.start),
            // Another index may have places in other areas.
            _ => (index, 1, address),
        };
        let owner_after = match owner.owner() {
            Owner::Anon(_) => OwnerWord::of(Owner::Anon(area.oldest_anon_vma()?)),
            _ => owner,
        };
        let (root, protection) = (kernel.mms[area.mm].root, area.protection);
        let near = Near::NOWHERE;
        Some(Site { owner, first, pages, start, root, protection, owner_after, near })
    }

    /// The entry that comes back for `page` in place of `entry`: clean and unused (Q13), writable if
    /// that was (Q27).
    #[inline]
    pub(super) fn restored(&self, page: Pfn, entry: Entry) -> Entry {
        let writable = entry.0 & Entry::WRITABLE;
        Entry::page(page, self.protection).without(Entry::ACCESSED).with(writable)
    }
}
