//! A usual page changes frames: what UM-2 to UM-17 make of the two descriptors, at once.
//!
//! [`crate::migrate::batch`] takes this way where nobody can look in between. Start with
//! [`Frame::is_usual`] and [`Frame::is_usual_cached`]: what they let through is all that
//! [`Frame::hand_over`] and its neighbours need to know about. Each says which steps of the long way it
//! stands for.

use bytemuck::Zeroable;

use super::owner::TAG_ANON;
use super::table::FLAG_MASK;
use super::{Frame, OwnerWord, PageFlags};

/// Flags that the new page gets if the old one has them (MC-2, MC-4); the old one keeps them.
const COPIED: PageFlags = PageFlags::ERROR
    .union(PageFlags::REFERENCED)
    .union(PageFlags::UPTODATE)
    .union(PageFlags::CHECKED)
    .union(PageFlags::MAPPEDTODISK);
/// Flags that may be set or not on an anonymous page, and on one of a file.
const OPTIONAL: PageFlags = COPIED.union(PageFlags::DIRTY).union(PageFlags::ACTIVE);
const OPTIONAL_CACHED: PageFlags =
    COPIED.union(PageFlags::ACTIVE).union(PageFlags::SWAPBACKED).union(PageFlags::PRIVATE);
/// Flags that go over to the new page, PG_active excepted, which goes by its list.
const HANDED_OVER: PageFlags = COPIED.union(PageFlags::DIRTY).union(PageFlags::SWAPBACKED);
/// Flags that the old page loses.
const LOST: PageFlags = PageFlags::ACTIVE.union(PageFlags::DIRTY).union(PageFlags::PRIVATE);

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

    /// A new anonymous page with its first entry: one reference is the entry's, one whoever's puts it on
    /// its way to a list (SP2.2-write, SP2.2-install).
    #[inline]
    pub fn fresh(owner: OwnerWord, index: u64) -> Frame {
        let flags = PageFlags::UPTODATE | PageFlags::SWAPBACKED;
        let mut frame = Frame::zeroed();
        (frame.word, frame.count, frame.mapcount) = (flags.bits(), 2, 1);
        frame.owner = owner.0;
        frame.set_index(index);
        frame
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

    /// Whether this is an isolated, clean page of a file, mapped once, whose only other users are its
    /// slot and its buffers, and with no flag that would need a second look.
    #[inline]
    pub fn is_usual_cached(&self) -> bool {
        let decided = FLAG_MASK & !OPTIONAL_CACHED.bits();
        self.word & decided == 0
            && self.owner & 3 == 0
            && self.mapcount == 1
            && self.count == 3 + u32::from(self.has(PageFlags::PRIVATE))
    }

    /// The page leaves for another frame, whose descriptor is returned: in use by `owner`, mapped once,
    /// with one more reference. Of this one a shell with one reference is left.
    ///
    /// UM-9, MN-2, MC-2 to MC-9 and RP-4 to RP-9 for a usual page that is ours alone; `is_dirty` is what
    /// its entry says. PG_active is nobody's any more: the caller has seen it.
    #[inline]
    pub fn hand_over(&mut self, is_dirty: bool, owner: OwnerWord) -> Frame {
        let mut new = self.leave();
        if is_dirty {
            new.set(PageFlags::DIRTY);
        }
        new.owner = owner.0;
        new.private = 0;
        new
    }

    /// The same for a usual page of a file, with its slot's reference and its buffers (MM-7 to MM-10,
    /// BM-4 to BM-8).
    #[inline]
    pub fn hand_over_cached(&mut self) -> Frame {
        let (buffers, ring) = (self.flags() & PageFlags::PRIVATE, self.private);
        let mut new = self.leave();
        new.set(buffers);
        new.private = if buffers.is_empty() { 0 } else { ring };
        new
    }

    /// What both have in common. The new page has as many users as the old one had: who isolated the
    /// old one holds the new one.
    #[inline]
    fn leave(&mut self) -> Frame {
        let mut new = *self;
        new.word = self.word & !FLAG_MASK | self.word & HANDED_OVER.bits();
        new.link = super::Link { next: 0, prev: 0 };
        self.word &= !LOST.bits();
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
    pub fn return_from(&mut self, is_dirty: bool, owner: OwnerWord) -> Frame {
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
        self.owner = owner.0;
        shell
    }
}
