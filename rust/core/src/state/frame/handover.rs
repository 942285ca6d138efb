//! A plain anonymous page changes frames: what UM-2 to UM-17 make of the two descriptors, at once.
//!
//! [`crate::migrate::batch`] takes this way where nobody can look in between. Start with
//! [`Frame::is_usual`]: what it lets through is all that [`Frame::hand_over`] and [`Frame::return_from`]
//! need to know about. Each says which steps of the long way it stands for.

use super::owner::TAG_ANON;
use super::table::FLAG_MASK;
use super::{Frame, Owner, PageFlags};

/// Flags that may be set or not.
const OPTIONAL: PageFlags = PageFlags::REFERENCED
    .union(PageFlags::UPTODATE)
    .union(PageFlags::DIRTY)
    .union(PageFlags::ACTIVE);
/// Flags that the new page gets if the old one has them (MC-2, MC-5); PG_active takes another way.
const HANDED_OVER: PageFlags =
    PageFlags::REFERENCED.union(PageFlags::UPTODATE).union(PageFlags::DIRTY);

impl Frame {
    /// Whether this is an isolated page of the most frequent kind: anonymous and nothing else, mapped
    /// once, and with no flag that would need a second look.
    #[inline]
    pub fn is_usual(&self) -> bool {
        let decided = FLAG_MASK & !OPTIONAL.bits();
        self.word & decided == PageFlags::SWAPBACKED.bits()
            && self.owner & 3 == TAG_ANON
            && self.mapcount == 1
            && self.count >= 2
    }

    /// Whether a page that an entry maps can be taken off its list: it is on one, and it is none of those
    /// that are left alone (Q11).
    #[inline]
    pub fn can_be_isolated(&self) -> bool {
        let decided = (PageFlags::LRU | PageFlags::RESERVED).bits();
        self.word & decided == PageFlags::LRU.bits() && self.count > 0 && !self.is_ksm()
    }

    /// Whether an isolated usual page has no user but the one that maps it (MM-1 will say yes).
    #[inline]
    pub fn is_ours_alone(&self) -> bool {
        self.count == 2
    }

    /// The page leaves for another frame, whose descriptor is returned: in use by `owner`, mapped once,
    /// with one more reference. Of this one a shell with one reference is left.
    ///
    /// UM-9, MN-2, MC-2 to MC-9 and RP-4 to RP-9 for a usual page that is ours alone; `is_dirty` is what
    /// its entry says. PG_active is nobody's any more: the caller has seen it.
    #[inline]
    pub fn hand_over(&mut self, is_dirty: bool, owner: Owner) -> Frame {
        let mut new = *self;
        new.word = self.word & !FLAG_MASK | self.word & HANDED_OVER.bits();
        new.set(PageFlags::SWAPBACKED);
        if is_dirty {
            new.set(PageFlags::DIRTY);
        }
        new.owner = owner.pack();
        new.private = 0;
        new.link = super::Link { next: 0, prev: 0 };
        self.word &= !(PageFlags::ACTIVE | PageFlags::DIRTY).bits();
        self.count = 1;
        self.mapcount = 0;
        self.owner = 0;
        self.private = 0;
        new
    }

    /// The page could not leave; the frame that was taken for it is returned: a shell that will be
    /// thrown away, with the index that it was given.
    ///
    /// UM-9, MN-2 and UM-11 for a usual page that others hold references to.
    #[inline]
    pub fn return_from(&mut self, is_dirty: bool, owner: Owner) -> Frame {
        let mut shell = *self;
        shell.word = self.word & !FLAG_MASK | PageFlags::SWAPBACKED.bits();
        shell.count = 1;
        shell.mapcount = 0;
        shell.owner = 0;
        shell.private = 0;
        shell.link = super::Link { next: 0, prev: 0 };
        if is_dirty {
            self.set(PageFlags::DIRTY);
        }
        self.owner = owner.pack();
        shell
    }
}
