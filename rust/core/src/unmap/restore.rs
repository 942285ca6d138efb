//! `remove_migration_ptes` and `remove_migration_pte`: every migration entry of a page becomes an
//! ordinary entry again.

use serde::{Deserialize, Serialize};

use super::walk::{EntryWalk, Place, Visitor};
use super::{Verdict, mapcount};
use crate::base::Pfn;
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode};
use crate::trace::EventKind;

/// One walk over all candidates. They are those of the owner that the new page has at the start,
/// even if the first restored entry re-points the page (Q14); the walk never stops early.
pub type Restoring = EntryWalk<Restore>;

/// Maps `new` wherever a migration entry names `old`.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Restore {
    old: Pfn,
    new: Pfn,
    /// Whether entries come back read-only, whatever they were.
    is_read_only: bool,
}

impl Restoring {
    /// Will map `new` wherever a migration entry names `old`; they may be the same page.
    #[inline]
    pub const fn new(old: Pfn, new: Pfn) -> Restoring {
        Restoring::with(Restore { old, new, is_read_only: false })
    }

    /// Will map `page` again, read-only: the next store is noticed (Q29 repaired).
    pub const fn read_only(page: Pfn) -> Restoring {
        Restoring::with(Restore { old: page, new: page, is_read_only: true })
    }
}

impl Visitor for Restore {
    #[inline]
    fn page(&self) -> Pfn {
        self.new
    }

    #[inline]
    fn may_begin(&self, kernel: &Kernel) -> bool {
        let is_locked = kernel.frames[self.new].has(PageFlags::LOCKED);
        assert!(is_locked, "entries restored to unlocked page {}", self.new);
        true
    }

    /// RP-2: an unlocked peek.
    #[inline]
    fn wants(&self, entry: Entry) -> bool {
        entry.is_swap_type()
    }

    /// RP-4 to RP-9. The entry comes back clean and unused (Q13); its write bit is that of the
    /// migration entry, whatever the area permits now (Q27), or that of the area's protection.
    #[inline]
    fn visit<M: Mode>(&self, kernel: &mut Kernel, me: Me, place: Place) -> Result<Verdict, LockId> {
        let Place { vma, leaf, address } = place;
        let at = leaf_index(address);
        let Some((named, is_write)) = kernel.tables.get(leaf, at).as_migration() else {
            return Ok(Verdict::Again);
        };
        assert!(kernel.frames[named].has(PageFlags::LOCKED), "entry names unlocked page {named}");
        if named != self.old {
            return Ok(Verdict::Again);
        }
        kernel.frames[self.new].get();
        let writable = if is_write { Entry::WRITABLE } else { 0 };
        let protection = kernel.vmas[vma].protection;
        let mut entry = Entry::page(self.new, protection).without(Entry::ACCESSED).with(writable);
        if self.is_read_only {
            entry = entry.without(Entry::WRITABLE);
        }
        kernel.tables.set(leaf, at, entry);
        if kernel.frames[self.new].is_anon() {
            mapcount::add_anon(kernel, self.new, vma, address);
        } else {
            mapcount::add_file(kernel, self.new);
        }
        kernel.cost.restores += 1;
        let value = i64::from(entry.has(Entry::WRITABLE));
        kernel.note::<M>(me, EventKind::Restore, Some(self.new), address, value);
        Ok(Verdict::Again)
    }

    #[inline]
    fn is_satisfied(&self, _: &Kernel) -> bool {
        false
    }

    fn labels(&self) -> (&'static [Label], &'static [Label]) {
        (&["RP-1", "RP-2", "RP-3"], &["RP-4", "RP-5", "RP-6", "RP-7", "RP-8", "RP-9", "RP-10"])
    }
}
