//! A gather of unmapped pages, whose references are dropped in batches.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::{MappingId, MmId, PAGE_SIZE, Pfn, Profile, TableId, VmaId};
use crate::kernel::Kernel;
use crate::pagecache::{dirty, swapcache};
use crate::state::frame::{Owner, PageFlags};
use crate::state::lru::{self, PAGEVEC_SIZE};
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::rmap::entry_is_anonymous;
use crate::step::{Me, Mode, Point};
use crate::unmap::mapcount;

/// Pages that a batch holds.
const BATCH_PAGES: usize = 506;
/// Work between two forced flushes: 1024 entries, empty ones counting 1/4096.
const WORK: i64 = 1024 * 4096;

/// Whose entries are cleared.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Zapped {
    /// The area.
    pub vma: VmaId,
    /// Only ordinary entries of pages of this file ("same mapping only"): private copies, swap and
    /// migration entries stay.
    pub only: Option<MappingId>,
}

/// Pages unmapped but not yet released (supporting-paths 6, points 3 to 5).
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Gather {
    pages: Vec<Pfn>,
    /// A page of the swap cache whose last swap entry is gone and that somebody has locked. Its
    /// reference is dropped when the zap goes on.
    refused: Option<Pfn>,
    needs_flush: bool,
    work: i64,
}

impl Gather {
    /// Nothing gathered yet.
    pub const fn new() -> Gather {
        Gather { pages: Vec::new(), refused: None, needs_flush: false, work: WORK }
    }

    /// Pages whose references wait to be dropped.
    pub fn held_pages(&self) -> Vec<Pfn> {
        self.pages.iter().copied().chain(self.refused).collect()
    }

    /// Whether [`Gather::zap`] stopped on its way, so that its caller has the table locked still.
    pub const fn is_paused(&self) -> bool {
        self.refused.is_some()
    }

    /// A page table was freed.
    pub fn note_freed_table(&mut self) {
        self.needs_flush = true;
    }

    /// Clears the entries of `range`, which lies within leaf table `leaf`. Fine, it stops beside a
    /// page that it could not lock (S30) and returns where it is to go on, with the table locked.
    #[must_use]
    pub fn zap<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        what: Zapped,
        leaf: TableId,
        range: Range<u64>,
    ) -> Option<u64> {
        let area = &kernel.vmas[what.vma];
        if kernel.shadow.is_on() && what.only.is_none() {
            kernel.shadow.forget_range(area.mm, range.clone());
        }
        let (mm, is_sequential) = (area.mm, area.flags.contains(VmFlags::SEQ_READ));
        let resumes = self.refused.take().map(|page| kernel.put_page(page)).is_some();
        if resumes {
            self.flush_if_worked::<M>(kernel, me);
        }
        for address in range.step_by(PAGE_SIZE as usize).skip(usize::from(resumes)) {
            let entry = kernel.tables.get(leaf, leaf_index(address));
            if entry.is_none() {
                self.work -= 1;
            } else {
                self.work -= 4096;
                if what.only.is_none_or(|file| is_of(kernel, entry, file)) {
                    kernel.cost.zaps += 1;
                    kernel.tables.set(leaf, leaf_index(address), Entry::NONE);
                    self.clear::<M>(kernel, me, (mm, is_sequential), entry);
                }
            }
            if self.is_paused() {
                return Some(address);
            }
            self.flush_if_worked::<M>(kernel, me);
        }
        None
    }

    /// A range without a table was passed over.
    pub fn pass_over<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        self.work -= 1;
        self.flush_if_worked::<M>(kernel, me);
    }

    fn flush_if_worked<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        if self.work <= 0 {
            self.flush::<M>(kernel, me);
            self.work = WORK;
        }
    }

    /// What follows from one entry that is gone.
    #[inline]
    fn clear<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        (mm, is_sequential): (MmId, bool),
        entry: Entry,
    ) {
        if !entry.is_present() {
            self.refused = clear_absent::<M>(kernel, me, mm, entry);
            return;
        }
        self.needs_flush = true;
        let Some(page) = entry.normal_page() else {
            return;
        };
        let resident = &mut kernel.mms[mm].resident;
        if kernel.frames[page].is_anon() {
            resident.anon -= 1;
        } else {
            resident.file -= 1;
            note_use(kernel, page, entry, is_sequential);
        }
        mapcount::remove(kernel, page);
        if kernel.zones.cpus() == 1 {
            free_swap_cache::<M>(kernel, me, page);
            kernel.put_page(page);
            return;
        }
        self.pages.push(page);
        if self.pages.len() == BATCH_PAGES {
            self.flush::<M>(kernel, me);
        }
    }

    /// Drains the CPU and drops the references, if anything was unmapped since the last time, in
    /// groups of 14. With one CPU there are no batches and no draining.
    pub fn flush<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) {
        if std::mem::take(&mut self.needs_flush) && kernel.zones.cpus() > 1 {
            kernel.cost.flushes += 1;
            kernel.drain(me.cpu);
            for group in std::mem::take(&mut self.pages).chunks(PAGEVEC_SIZE) {
                for &page in group {
                    free_swap_cache::<M>(kernel, me, page);
                }
                for &page in group {
                    kernel.put_page(page);
                }
            }
        }
    }
}

impl Default for Gather {
    fn default() -> Self {
        Gather::new()
    }
}

/// Whether an entry is an ordinary one of a page of `file`, or names no page at all.
fn is_of(kernel: &Kernel, entry: Entry, file: MappingId) -> bool {
    let is_of_file = |page: Pfn| kernel.frames[page].owner() == Owner::File(file);
    entry.is_present() && entry.normal_page().is_none_or(is_of_file)
}

/// What a cleared entry knew of the use of a file's page.
fn note_use(kernel: &mut Kernel, page: Pfn, entry: Entry, is_sequential: bool) {
    if entry.has(Entry::DIRTY) {
        dirty::set_page_dirty(kernel, page);
    }
    if entry.has(Entry::ACCESSED) && !is_sequential {
        let Kernel { frames, zones, lru, .. } = kernel;
        lru::mark_accessed(frames, zones, lru, page);
    }
}

/// A swap entry is given back; a migration entry changes no counter (Q16). Fine, a page that could
/// not be locked is returned, with its reference.
fn clear_absent<M: Mode>(kernel: &mut Kernel, me: Me, mm: MmId, entry: Entry) -> Option<Pfn> {
    if let Some(slot) = entry.as_swap() {
        kernel.mms[mm].resident.swap -= 1;
        if Point::Held.stops::<M>(me) {
            return swapcache::free_swap_or_hold::<M>(kernel, me, slot);
        }
        swapcache::free_swap_and_cache::<M>(kernel, me, slot);
    } else if let Some((page, _)) = entry.as_migration() {
        let is_anon = entry_is_anonymous(&kernel.frames, &kernel.locks, page);
        let mm = &mut kernel.mms[mm];
        match (kernel.profile, is_anon) {
            (Profile::Exact, true) => mm.anon_drift += 1,
            (Profile::Exact, false) => mm.file_drift += 1,
            (Profile::Repaired, true) => mm.resident.anon -= 1,
            (Profile::Repaired, false) => mm.resident.file -= 1,
        }
    }
    None
}

/// Before its reference goes: a page in the swap cache that nobody maps any more gives its slot
/// back, if it can be locked at once and nobody else has it swapped out.
#[inline]
fn free_swap_cache<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) {
    let frame = &kernel.frames[page];
    if frame.has(PageFlags::SWAPCACHE) && !frame.is_mapped() && kernel.try_lock_page::<M>(me, page)
    {
        swapcache::try_to_free_swap(kernel, page);
        kernel.unlock_page::<M>(me, page);
    }
}
