//! `try_to_unmap` for migration: every entry of a page becomes a migration entry.

use super::mapcount;
use super::walk::{EntryWalk, Place, Visitor};
use crate::base::Pfn;
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, Me, Mode};
use crate::trace::EventKind;

/// One run of UM-9 over a locked page. It ends as soon as the page is unmapped.
pub type Unmapping = EntryWalk<Unmap>;

/// Replaces every ordinary entry of its page.
#[derive(Clone, Copy, Debug)]
pub struct Unmap(Pfn);

impl Unmapping {
    /// Will replace the entries of `page`, which its caller keeps locked.
    #[inline]
    pub const fn new(page: Pfn) -> Unmapping {
        Unmapping::with(Unmap(page))
    }

    /// Will take the entries of `page` away for reclaim (TTU_UNMAP, no modifiers).
    pub fn reclaiming(page: Pfn) -> Unmapping {
        let _ = page;
        todo!("engine owner")
    }

    /// What the run came to. Only once done.
    pub fn verdict(&self, kernel: &Kernel) -> super::Verdict {
        let _ = kernel;
        todo!("engine owner")
    }
}

impl Visitor for Unmap {
    #[inline]
    fn page(&self) -> Pfn {
        self.0
    }

    /// The list is asked for only if the page is mapped (supporting-paths 5).
    #[inline]
    fn may_begin(&self, kernel: &Kernel) -> bool {
        kernel.frames[self.0].is_mapped()
    }

    #[inline]
    fn wants(&self, entry: Entry) -> bool {
        entry.is_present() && entry.pfn() == self.0
    }

    /// One visit: entry replaced, then map count lowered, then reference dropped.
    ///
    /// Neither VM_LOCKED nor the accessed bit is looked at (TTU_IGNORE_MLOCK, TTU_IGNORE_ACCESS).
    #[inline]
    fn visit<M: Mode>(&self, kernel: &mut Kernel, me: Me, place: Place) {
        let page = self.0;
        let at = leaf_index(place.address);
        let entry = kernel.tables.get(place.leaf, at);
        debug_assert!(self.wants(entry), "an entry changed under its leaf lock");
        debug_assert!(kernel.frames[page].has(PageFlags::LOCKED), "page {page} is not locked");
        if entry.has(Entry::DIRTY) {
            kernel.frames[page].set(PageFlags::DIRTY);
        }
        let is_write = entry.has(Entry::WRITABLE);
        kernel.tables.set(place.leaf, at, Entry::migration(page, is_write));
        kernel.cost.unmaps += 1;
        kernel.cost.flushes += 1;
        kernel.note::<M>(me, EventKind::Unmap, Some(page), place.address, i64::from(is_write));
        mapcount::remove(kernel, page);
        kernel.put_page(page);
    }

    #[inline]
    fn is_satisfied(&self, kernel: &Kernel) -> bool {
        !kernel.frames[self.0].is_mapped()
    }

    fn labels(&self) -> (&'static [Label], &'static [Label]) {
        (&["UM-9"], &["UM-9"])
    }
}
