//! Address spaces: the areas of one process's memory, and what they permit.
//!
//! An [`Mm`] is an ordered map of [`Vma`]s over a tree of page tables. Start with
//! [`Mm::find_vma`] and mind its quirk (Q10). Areas are split, merged and removed upstairs in
//! [`crate::mmap`], because that concerns the reverse map too.
//!
//! Data-model 6.1 and 6.5. Left out: growing stacks, huge pages, non-linear mappings.

mod protection;
mod vma;

use std::collections::BTreeMap;
use std::ops::Range;

pub use protection::page_protection;
pub use vma::{VmFlags, Vma};

use serde::{Deserialize, Serialize};

use crate::base::{Arena, Misuse, MmId, PAGE_SIZE, TableId, USER_END, VmaId};

/// All areas of all address spaces.
pub type Vmas = Arena<VmaId, Vma>;
/// All address spaces.
pub type Mms = Arena<MmId, Mm>;

/// Where areas without a wanted address go first.
const MMAP_BASE: u64 = 0x2aaa_aaaa_b000;

/// Present pages of one address space, by sort (data-model 3.2). Stored as they are: a quirk
/// (Q16) may take one below zero; what is shown is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resident {
    /// Entries of pages that are not anonymous.
    pub file: i64,
    /// Entries of anonymous pages.
    pub anon: i64,
    /// Genuine swap entries.
    pub swap: i64,
}

/// One process's memory.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Mm {
    /// The top page table.
    pub root: TableId,
    /// How many tasks there had been when it was made: the older of two has the lower number.
    pub born: u32,
    /// Present pages.
    pub resident: Resident,
    /// How far `resident.anon` has drifted from what is mapped, through Q16: migration entries
    /// cleared but still counted, less entries that fork copied without counting them.
    pub anon_drift: i64,
    /// The same for `resident.file`.
    pub file_drift: i64,
    /// Tasks, and calls on behalf of others, that use this memory. At 0 it is torn down.
    pub users: u32,
    /// Pages in VM_LOCKED areas.
    pub locked_vm: u64,
    /// Area by its end: the next end above an address is what `find_vma` wants.
    by_end: BTreeMap<u64, VmaId>,
    /// The next address to try for an area that may go anywhere.
    next_free: u64,
}

impl Mm {
    /// An empty address space with one user, made when there had been `born` tasks.
    pub fn new(root: TableId, born: u32) -> Mm {
        Mm {
            root,
            born,
            resident: Resident::default(),
            anon_drift: 0,
            file_drift: 0,
            users: 1,
            locked_vm: 0,
            by_end: BTreeMap::new(),
            next_free: MMAP_BASE,
        }
    }

    /// The area with the lowest end above `address`: its start may be above `address`, too (Q10).
    #[inline]
    pub fn find_vma(&self, address: u64) -> Option<VmaId> {
        self.by_end.range(address.saturating_add(1)..).next().map(|(_, &id)| id)
    }

    /// What `find_vma` answers for `address`, and around it all addresses with the same answer: a
    /// hole belongs to the area above it (Q10).
    pub fn find_span(&self, vmas: &Vmas, address: u64) -> (Range<u64>, Option<VmaId>) {
        let low = self.area_before(address).map_or(0, |vma| vmas[vma].end);
        let found = self.find_vma(address);
        (low..found.map_or(u64::MAX, |vma| vmas[vma].end), found)
    }

    /// The area that contains `address`.
    pub fn area_at(&self, vmas: &Vmas, address: u64) -> Option<VmaId> {
        self.find_vma(address).filter(|&id| vmas[id].start <= address)
    }

    /// The area that ends highest at or below `address`.
    pub fn area_before(&self, address: u64) -> Option<VmaId> {
        self.by_end.range(..=address).next_back().map(|(_, &id)| id)
    }

    /// All areas in address order.
    pub fn areas(&self) -> impl DoubleEndedIterator<Item = VmaId> {
        self.by_end.values().copied()
    }

    /// The areas that end above `address`, in address order.
    pub fn areas_from(&self, address: u64) -> impl Iterator<Item = VmaId> {
        self.by_end.range(address.saturating_add(1)..).map(|(_, &id)| id)
    }

    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.by_end.len()
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.by_end.is_empty()
    }

    /// Enters an area that ends at `end`.
    pub fn insert(&mut self, end: u64, id: VmaId) {
        let before = self.by_end.insert(end, id);
        debug_assert!(before.is_none(), "two areas end at {end:#x}");
    }

    /// Forgets the area that ends at `end`.
    pub fn remove(&mut self, end: u64) {
        let gone = self.by_end.remove(&end);
        debug_assert!(gone.is_some(), "no area ends at {end:#x}");
    }

    /// Checks that nothing is mapped in `start..end`.
    pub fn check_free(&self, vmas: &Vmas, start: u64, end: u64) -> Result<(), Misuse> {
        match self.find_vma(start) {
            Some(id) if vmas[id].start < end => {
                Err(Misuse::Overlap { start, end, other: vmas[id].start })
            }
            _ => Ok(()),
        }
    }

    /// A place for an area of `len` bytes: upwards from the last one placed, with an unmapped
    /// page between, so that areas are neighbours only where that was asked for.
    pub fn place(&mut self, vmas: &Vmas, len: u64) -> Result<u64, Misuse> {
        let mut start = self.next_free;
        for pass in 0..2 {
            while start.checked_add(len).is_some_and(|end| end <= USER_END) {
                match self.find_vma(start.saturating_sub(PAGE_SIZE)) {
                    Some(id) if vmas[id].start < start + len + PAGE_SIZE => {
                        start = vmas[id].end + PAGE_SIZE;
                    }
                    _ => {
                        self.next_free = start + len + PAGE_SIZE;
                        return Ok(start);
                    }
                }
            }
            if pass == 0 {
                start = PAGE_SIZE * 16;
            }
        }
        Err(Misuse::NoRoom(len))
    }
}

/// Checks that `start` and `len` make a page-aligned, non-empty range of user space; its end.
pub fn check_range(start: u64, len: u64) -> Result<u64, Misuse> {
    let end = check_span(start, len)?;
    if end <= USER_END { Ok(end) } else { Err(Misuse::BadRange { start, len, end: USER_END }) }
}

/// Checks that `start` and `len` make a page-aligned, non-empty range, which may leave user space;
/// its end.
pub fn check_span(start: u64, len: u64) -> Result<u64, Misuse> {
    if start % PAGE_SIZE != 0 {
        return Err(Misuse::Unaligned(start, start - start % PAGE_SIZE));
    }
    let end = len
        .checked_next_multiple_of(PAGE_SIZE)
        .and_then(|len| start.checked_add(len))
        .filter(|&end| end > start);
    end.ok_or(Misuse::BadRange { start, len, end: USER_END })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(start: u64, end: u64) -> Vma {
        Vma::anonymous(MmId(0), start, end, VmFlags::READ)
    }

    #[test]
    fn find_vma_ignores_where_the_area_starts() {
        let mut vmas = Vmas::default();
        let mut mm = Mm::new(TableId(0), 0);
        let id = vmas.insert(area(0x5000, 0x7000));
        mm.insert(0x7000, id);
        assert_eq!(mm.find_vma(0x1000), Some(id), "Q10");
        assert_eq!(mm.find_vma(0x6fff), Some(id));
        assert_eq!(mm.find_vma(0x7000), None);
        assert_eq!(mm.find_vma(u64::MAX), None);
        assert_eq!(mm.area_at(&vmas, 0x1000), None);
        assert_eq!(mm.area_before(0x7000), Some(id));
        assert_eq!(mm.find_span(&vmas, 0x1000), (0..0x7000, Some(id)));
        assert_eq!(mm.find_span(&vmas, 0x7000), (0x7000..u64::MAX, None));
    }

    #[test]
    fn an_area_is_placed_past_the_last_one_with_a_page_between() {
        let vmas = Vmas::default();
        let mut mm = Mm::new(TableId(0), 0);
        let first = mm.place(&vmas, 0x3000).unwrap();
        assert_eq!(mm.place(&vmas, 0x1000).unwrap(), first + 0x4000);
        assert_eq!(mm.place(&vmas, 1 << 60), Err(Misuse::NoRoom(1 << 60)));
    }

    #[test]
    fn a_range_must_be_aligned_and_inside_user_space() {
        assert_eq!(check_range(0x1000, 1), Ok(0x2000));
        assert!(check_range(0x1001, 1).is_err());
        assert!(check_range(0x1000, 0).is_err());
        assert!(check_range(USER_END - 0x1000, 0x1001).is_err());
        assert!(check_range(0x1000, u64::MAX).is_err());
    }
}
