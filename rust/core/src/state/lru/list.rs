//! One LRU list: linked through the descriptors of its pages.

use serde::{Deserialize, Serialize};

use super::super::frame::{Frame, FrameTable, Link, PageFlags};
use crate::base::Pfn;

/// The five lists of a zone, under their numbers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[allow(missing_docs, reason = "named as in the kernel")]
pub enum ListKind {
    #[default]
    InactiveAnon,
    ActiveAnon,
    InactiveFile,
    ActiveFile,
    Unevictable,
}

impl ListKind {
    /// All lists, by number.
    pub const ALL: [ListKind; 5] = [
        ListKind::InactiveAnon,
        ListKind::ActiveAnon,
        ListKind::InactiveFile,
        ListKind::ActiveFile,
        ListKind::Unevictable,
    ];

    /// The flags of a page that name its list.
    pub const DECIDING: PageFlags =
        PageFlags::UNEVICTABLE.union(PageFlags::SWAPBACKED).union(PageFlags::ACTIVE);

    /// The list that the flags of a page name (`page_lru`).
    #[inline]
    pub fn of(flags: PageFlags) -> ListKind {
        if flags.contains(PageFlags::UNEVICTABLE) {
            return ListKind::Unevictable;
        }
        let is_file_family = !flags.contains(PageFlags::SWAPBACKED);
        ListKind::evictable(is_file_family, flags.contains(PageFlags::ACTIVE))
    }

    /// The list of a family and an age.
    #[inline]
    pub const fn evictable(is_file_family: bool, is_active: bool) -> ListKind {
        match (is_file_family, is_active) {
            (false, false) => ListKind::InactiveAnon,
            (false, true) => ListKind::ActiveAnon,
            (true, false) => ListKind::InactiveFile,
            (true, true) => ListKind::ActiveFile,
        }
    }

    /// The flags of a page that has just come onto this list from a pagevec.
    #[inline]
    pub(super) const fn flags_on_list(self) -> PageFlags {
        match self {
            ListKind::ActiveAnon | ListKind::ActiveFile => PageFlags::LRU.union(PageFlags::ACTIVE),
            _ => PageFlags::LRU,
        }
    }
}

/// Marks the end of a list in a link.
const END: u32 = u32::MAX;

/// Head and tail of one list.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        List { head: END, tail: END }
    }
}

impl List {
    /// Adds a page at the head.
    #[inline]
    pub(super) fn push_head(&mut self, frames: &mut [Frame], pfn: Pfn) {
        frames[pfn.index()].link = Link { next: self.head, prev: END };
        match self.head {
            END => self.tail = pfn.0,
            head => frames[head as usize].link.prev = pfn.0,
        }
        self.head = pfn.0;
    }

    /// Adds a page at the tail.
    #[inline]
    pub(super) fn push_tail(&mut self, frames: &mut [Frame], pfn: Pfn) {
        frames[pfn.index()].link = Link { next: END, prev: self.tail };
        match self.tail {
            END => self.head = pfn.0,
            tail => frames[tail as usize].link.next = pfn.0,
        }
        self.tail = pfn.0;
    }

    /// Takes a page out.
    #[inline]
    pub(super) fn remove(&mut self, frames: &mut [Frame], pfn: Pfn) {
        let Link { next, prev } = frames[pfn.index()].link;
        match prev {
            END => self.head = next,
            prev => frames[prev as usize].link.next = next,
        }
        match next {
            END => self.tail = prev,
            next => frames[next as usize].link.prev = prev,
        }
    }

    /// The pages, head first.
    pub fn pages<'a>(&self, frames: &'a FrameTable) -> impl Iterator<Item = Pfn> + use<'a> {
        let some = |at: u32| (at != END).then_some(Pfn(at));
        std::iter::successors(some(self.head), move |&pfn| some(frames[pfn].link.next))
    }

    /// The pages, tail first: as reclaim takes them.
    pub fn pages_from_tail<'a>(
        &self,
        frames: &'a FrameTable,
    ) -> impl Iterator<Item = Pfn> + use<'a> {
        let some = |at: u32| (at != END).then_some(Pfn(at));
        std::iter::successors(some(self.tail), move |&pfn| some(frames[pfn].link.prev))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_when_pages_leave_anywhere() {
        let mut frames = FrameTable::new(8).unwrap();
        let mut list = List::default();
        (0..4).for_each(|n| list.push_head(frames.as_mut_slice(), Pfn(n)));
        list.push_tail(frames.as_mut_slice(), Pfn(7));
        let order = |list: &List, frames: &FrameTable| {
            list.pages(frames).map(|pfn| pfn.0).collect::<Vec<_>>()
        };
        assert_eq!(order(&list, &frames), [3, 2, 1, 0, 7]);
        for (gone, rest) in [(1, vec![3, 2, 0, 7]), (3, vec![2, 0, 7]), (7, vec![2, 0])] {
            list.remove(frames.as_mut_slice(), Pfn(gone));
            assert_eq!(order(&list, &frames), rest);
            let backwards = list.pages_from_tail(&frames).map(|pfn| pfn.0);
            assert_eq!(backwards.collect::<Vec<_>>(), rest.into_iter().rev().collect::<Vec<_>>());
        }
    }
}
