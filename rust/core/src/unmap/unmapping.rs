//! `try_to_unmap` and `try_to_unmap_one`: every entry of a page is taken away.
//!
//! For a migration (TTU_MIGRATION with IGNORE_MLOCK and IGNORE_ACCESS) migration entries take their
//! place; for reclaim (TTU_UNMAP without modifiers) swap entries do, or nothing.

use serde::{Deserialize, Serialize};

use super::walk::{EntryWalk, Place, Visitor};
use super::{Verdict, mapcount};
use crate::base::{Bugs, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::{dirty, swapcache, tree};
use crate::state::frame::PageFlags;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode};
use crate::trace::EventKind;

/// One run over a locked page (UM-9). It ends as soon as the page is unmapped.
pub type Unmapping = EntryWalk<Unmap>;

/// Replaces every ordinary entry of its page.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Unmap {
    page: Pfn,
    /// TTU_MIGRATION: entries are to come back.
    is_migration: bool,
}

impl Unmapping {
    /// Will replace the entries of `page`, which its caller keeps locked, by migration entries.
    #[inline]
    pub const fn new(page: Pfn) -> Unmapping {
        Unmapping::with(Unmap { page, is_migration: true })
    }

    /// Will take the entries of `page`, which its caller keeps locked, away for reclaim. Gives up at
    /// the first entry that was used lately, and at the first VM_LOCKED area.
    pub const fn reclaiming(page: Pfn) -> Unmapping {
        Unmapping::with(Unmap { page, is_migration: false })
    }

    /// What the run came to. Only once done, and in the step that ended it.
    pub fn verdict(&self, kernel: &Kernel) -> Verdict {
        match self.last_verdict() {
            Verdict::Mlocked => Verdict::Mlocked,
            _ if !kernel.frames[self.visitor.page].is_mapped() => Verdict::Success,
            last => last,
        }
    }
}

impl Visitor for Unmap {
    #[inline]
    fn page(&self) -> Pfn {
        self.page
    }

    /// Nobody is asked about a page that nobody maps: an unmapped page of the swap cache may name
    /// a list that is long gone (Q26, supporting-paths 5).
    #[inline]
    fn may_begin(&self, kernel: &Kernel) -> bool {
        kernel.frames[self.page].is_mapped()
    }

    #[inline]
    fn wants(&self, entry: Entry) -> bool {
        entry.is_present() && entry.pfn() == self.page
    }

    /// One visit: entry replaced, then map count lowered, then reference dropped.
    #[inline]
    fn visit<M: Mode>(&self, kernel: &mut Kernel, me: Me, place: Place) -> Result<Verdict, LockId> {
        let page = self.page;
        let at = leaf_index(place.address);
        let mut entry = kernel.tables.get(place.leaf, at);
        if kernel.has_bug::<M>(Bugs::DIRTY_DROPPED) {
            entry = entry.without(Entry::DIRTY);
        }
        debug_assert!(self.wants(entry), "an entry changed under its leaf lock");
        debug_assert!(kernel.frames[page].has(PageFlags::LOCKED), "page {page} is not locked");
        if !self.is_migration {
            if let Some(verdict) = refuse::<M>(kernel, me, page, place, entry) {
                return Ok(verdict);
            }
        }
        let frame = &mut kernel.frames[page];
        let is_write = entry.has(Entry::WRITABLE);
        let (replacement, value) = if frame.is_plain_anon() {
            if entry.has(Entry::DIRTY) {
                frame.set(PageFlags::DIRTY);
            }
            (Entry::migration(page, is_write), i64::from(is_write))
        } else {
            self.replacement::<M>(kernel, me, place, entry)?
        };
        kernel.tables.set(place.leaf, at, replacement);
        kernel.cost.unmaps += 1;
        kernel.cost.flushes += 1;
        kernel.note::<M>(me, EventKind::Unmap, Some(page), place.address, value);
        mapcount::remove(kernel, page);
        kernel.put_page(page);
        Ok(Verdict::Again)
    }

    #[inline]
    fn is_satisfied(&self, kernel: &Kernel) -> bool {
        !kernel.frames[self.page].is_mapped()
    }

    fn labels(&self) -> (&'static [Label], &'static [Label]) {
        if self.is_migration {
            (&["UM-9"], &["UM-9"])
        } else {
            (&["SP5-walk"], &["SP5-1", "SP5-2", "SP5-3", "SP5-4", "SP5-5"])
        }
    }
}

impl Unmap {
    /// Points 3 and 4 of a visit to a page that is more than anonymous: dirtiness goes to the page; what
    /// comes in place of the entry, and the number that a trace gives it.
    ///
    /// A page in the swap cache leaves its *swap* entry, for a migration, too (Q12): nothing maps
    /// it again, and the next touch is a minor fault.
    #[cold]
    fn replacement<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        place: Place,
        entry: Entry,
    ) -> Result<(Entry, i64), LockId> {
        let page = self.page;
        if entry.has(Entry::DIRTY) {
            match tree::page_mapping(kernel, page) {
                Some(mapping) if !tree::is_free::<M>(kernel, me, mapping) => {
                    return Err(LockId::Tree(mapping));
                }
                _ => {}
            }
            dirty::set_page_dirty(kernel, page);
        }
        let mm = kernel.vmas[place.vma].mm;
        let is_anon = kernel.frames[page].is_anon();
        if let Some(slot) = swapcache::slot_of(kernel, page).filter(|_| is_anon) {
            kernel.swaps.duplicate(slot);
            swapcache::note_swapped(kernel, mm);
            kernel.mms[mm].resident.anon -= 1;
            kernel.mms[mm].resident.swap += 1;
            return Ok((Entry::swap(slot), 2));
        }
        if self.is_migration {
            let is_write = entry.has(Entry::WRITABLE);
            return Ok((Entry::migration(page, is_write), i64::from(is_write)));
        }
        kernel.mms[mm].resident.file -= 1;
        Ok((Entry::NONE, 3))
    }
}

/// Points 1 and 2 of a visit for reclaim: what speaks against taking the entry away. An area that is
/// VM_LOCKED but whose `mmap_sem` cannot be had now is passed over.
fn refuse<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    page: Pfn,
    place: Place,
    entry: Entry,
) -> Option<Verdict> {
    let is_plain = kernel.frames[page].is_plain_anon();
    assert!(!is_plain, "anonymous page {page} reclaimed outside the swap cache");
    let area = &kernel.vmas[place.vma];
    if area.flags.contains(VmFlags::LOCKED) {
        if M::STEPS && !kernel.locks.may_share(LockId::MmapSem(area.mm), me.call) {
            return Some(Verdict::Again);
        }
        kernel.set_mlocked(me.cpu, page);
        return Some(Verdict::Mlocked);
    }
    if entry.has(Entry::ACCESSED) {
        let used = entry.without(Entry::ACCESSED);
        kernel.tables.set(place.leaf, leaf_index(place.address), used);
        return Some(Verdict::Fail);
    }
    None
}
