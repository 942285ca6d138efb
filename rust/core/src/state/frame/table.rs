//! The frame table and what can be asked of one descriptor.

use std::borrow::Borrow;
use std::hash::Hasher;
use std::ops::{Index, IndexMut, Range};

use bytemuck::{Pod, Zeroable};

use super::{Owner, OwnerWord, PageFlags};
use crate::base::{Lookout, Pfn, sparse};

/// Bits of the flag word that are flags; the other seven are the top of `index`.
const FLAG_BITS: u32 = 25;
pub(super) const FLAG_MASK: u32 = (1 << FLAG_BITS) - 1;

/// One page frame's descriptor. All zeroes: a free frame.
///
/// 32 bytes, two to a cache line. `index` has 39 bits: 32 in a field of its own and seven
/// above the flags, which is enough for every page of the address space and of a 2 PiB file.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Frame {
    pub(super) word: u32,
    pub(super) count: u32,
    pub(super) mapcount: u32,
    pub(super) owner: u32,
    index_low: u32,
    /// With PG_private the number of the ring of buffers, with PG_swapcache the swap entry
    /// ([`crate::base::SwapEntry`]); free for use otherwise.
    pub private: u32,
    /// Its place in a list.
    pub link: Link,
}

/// The neighbours of a page in the one list it may be on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Link {
    /// Towards the tail.
    pub next: u32,
    /// Towards the head.
    pub prev: u32,
}

impl Frame {
    /// The flags.
    #[inline]
    pub fn flags(&self) -> PageFlags {
        PageFlags::from_bits_retain(self.word & FLAG_MASK)
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub fn has(&self, flags: PageFlags) -> bool {
        self.word & flags.bits() != 0
    }

    /// Sets `flags`.
    #[inline]
    pub fn set(&mut self, flags: PageFlags) {
        self.word |= flags.bits();
    }

    /// Clears `flags`.
    #[inline]
    pub fn clear(&mut self, flags: PageFlags) {
        self.word &= !flags.bits();
    }

    /// Clears `flag` and tells whether it was set.
    #[inline]
    pub fn take(&mut self, flag: PageFlags) -> bool {
        let was_set = self.has(flag);
        self.clear(flag);
        was_set
    }

    /// References (`page_count`).
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Takes a reference. The caller knows that the page is in use.
    ///
    /// # Panics
    /// If it is not: an error of the model, or a bug that was asked for.
    #[inline]
    pub fn get(&mut self) {
        assert!(self.count > 0, "reference taken on a free or frozen page");
        self.count += 1;
    }

    /// Takes a reference unless there is none (increment-unless-zero); tells whether it did.
    #[inline]
    pub fn try_get(&mut self) -> bool {
        if self.count == 0 {
            return false;
        }
        self.count += 1;
        true
    }

    /// Drops a reference and tells how many are left. At 0 the caller must free the page.
    #[inline]
    pub fn drop_reference(&mut self) -> u32 {
        assert!(self.count > 0, "reference dropped that nobody held");
        self.count -= 1;
        self.count
    }

    /// Ordinary entries that map the page (`page_mapcount`; the kernel stores one less).
    #[inline]
    pub fn mapcount(&self) -> u32 {
        self.mapcount
    }

    /// Whether an ordinary entry maps the page.
    #[inline]
    pub fn is_mapped(&self) -> bool {
        self.mapcount > 0
    }

    /// One more entry maps the page; tells whether it is the first.
    #[inline]
    pub fn add_mapping(&mut self) -> bool {
        self.mapcount += 1;
        self.mapcount == 1
    }

    /// One entry less maps the page; tells whether it was the last.
    #[inline]
    pub fn drop_mapping(&mut self) -> bool {
        assert!(self.mapcount > 0, "map count would become negative (I-14)");
        self.mapcount -= 1;
        self.mapcount == 0
    }

    /// What the page belongs to (`mapping`).
    #[inline]
    pub fn owner(&self) -> Owner {
        Owner::unpack(self.owner)
    }

    /// The same, packed.
    #[inline]
    pub fn owner_word(&self) -> OwnerWord {
        OwnerWord(self.owner)
    }

    /// Makes the page belong to `owner`.
    #[inline]
    pub fn set_owner(&mut self, owner: Owner) {
        self.owner = owner.pack();
    }

    /// Whether the page is anonymous (PageAnon).
    #[inline]
    pub fn is_anon(&self) -> bool {
        self.owner & 1 != 0
    }

    /// Whether the page is one of KSM's (PageKsm); it is anonymous, too.
    #[inline]
    pub fn is_ksm(&self) -> bool {
        self.owner & super::owner::TAG_KSM == super::owner::TAG_KSM
    }

    /// Whether the page is anonymous and nothing else: neither KSM's nor in the swap cache. Most are.
    #[inline]
    pub fn is_plain_anon(&self) -> bool {
        self.owner & super::owner::TAG_KSM == super::owner::TAG_ANON
            && !self.has(PageFlags::SWAPCACHE)
    }

    /// Whether the page has buffers or private data (`page_has_private`).
    #[inline]
    pub fn has_private(&self) -> bool {
        self.has(PageFlags::PRIVATE | PageFlags::PRIVATE_2)
    }

    /// Sets the count of a page to 0 if it is `expected`; tells whether it did (freeze).
    #[inline]
    pub fn freeze(&mut self, expected: u32) -> bool {
        let is_expected = self.count == expected;
        if is_expected {
            self.count = 0;
        }
        is_expected
    }

    /// Ends a freeze.
    ///
    /// # Panics
    /// If the count is not 0: an error of the model (invariants 14).
    #[inline]
    pub fn unfreeze(&mut self, count: u32) {
        assert!(self.count == 0, "unfreeze of a page with {} references", self.count);
        self.count = count;
    }

    /// Whether the page belongs to nothing.
    #[inline]
    pub fn is_unowned(&self) -> bool {
        self.owner == 0
    }

    /// Page offset in the file, or linear index of the virtual address.
    #[inline]
    pub fn index(&self) -> u64 {
        u64::from(self.word >> FLAG_BITS) << 32 | u64::from(self.index_low)
    }

    /// Sets `index`, which must fit 39 bits.
    #[inline]
    pub fn set_index(&mut self, index: u64) {
        debug_assert!(index >> 39 == 0, "index {index:#x} does not fit");
        self.index_low = index as u32;
        self.word = self.word & FLAG_MASK | ((index >> 32) as u32) << FLAG_BITS;
    }

    /// Gives a new page the old one's `mapping` and `index` (MN-2).
    #[inline]
    pub fn take_identity_of(&mut self, old: &Frame) {
        self.owner = old.owner;
        self.set_index(old.index());
    }

    /// Whether the descriptor is that of a free frame: all zeroes, but for poison (syscalls 8).
    pub fn is_blank(&self) -> bool {
        let mut rest = *self;
        rest.clear(PageFlags::HWPOISON);
        rest == Frame::zeroed()
    }

    /// Makes page `pfn`, which this is, a free frame again.
    ///
    /// # Panics
    /// If the page fails the freeing check (data-model 2.2): an error of the model.
    #[inline]
    pub fn close(&mut self, pfn: Pfn) {
        let is_owned = !self.is_anon() && !self.is_unowned();
        assert!(
            self.count == 0
                && self.mapcount == 0
                && !is_owned
                && !self.has(PageFlags::CHECKED_AT_FREE),
            "freeing check failed for frame {pfn}: {self:?}"
        );
        *self = Frame::zeroed();
    }

    /// Makes a page with one reference a free frame, if it passes the freeing check and has no flag that
    /// freeing looks at; tells whether it did.
    #[inline]
    pub fn close_last(&mut self) -> bool {
        let looked_at = PageFlags::CHECKED_AT_FREE.union(PageFlags::HWPOISON);
        let is_usual = self.count == 1
            && self.mapcount == 0
            && (self.is_unowned() || self.is_anon())
            && !self.has(looked_at);
        if is_usual {
            *self = Frame::zeroed();
        }
        is_usual
    }

    /// Whether the page is in the file LRU family (`page_is_file_cache`).
    #[inline]
    pub fn is_file_family(&self) -> bool {
        !self.has(PageFlags::SWAPBACKED)
    }
}

/// All descriptors of the machine; the last one is the zero page, which is in no zone.
#[derive(Debug, Default)]
pub struct FrameTable {
    frames: Vec<Frame>,
}

impl FrameTable {
    /// `len` free frames and the zero page; none if the host has no room for the descriptors.
    pub fn new(len: usize) -> Option<FrameTable> {
        let mut table = FrameTable { frames: bytemuck::try_zeroed_vec(len + 1).ok()? };
        let zero = table.zero_page();
        table[zero].count = 1;
        table[zero].set(PageFlags::RESERVED | PageFlags::UPTODATE);
        Some(table)
    }

    /// Frames of all zones together.
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len() - 1
    }

    /// Whether there is no frame; never true of a machine.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory behind it.
    pub fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.frames)
    }

    /// A descriptor, if there is one of this number.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&Frame> {
        self.frames.get(at)
    }

    /// All descriptors by number, to be changed: for loops that touch many.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [Frame] {
        &mut self.frames
    }

    /// The zero page: reserved, outside all zones (data-model 1.4).
    #[inline]
    pub fn zero_page(&self) -> Pfn {
        Pfn::from(self.len())
    }

    /// Makes a free frame a page with one reference (data-model 1.4).
    #[inline]
    pub fn open(&mut self, pfn: Pfn) {
        let frame = &mut self[pfn];
        debug_assert!(*frame == Frame::zeroed(), "a free frame is all zeroes (I-03)");
        frame.count = 1;
    }

    /// A poisoned frame is nobody's any more: no check, and nothing cleared but an anonymous owner
    /// (data-model 2.2).
    pub fn withhold(&mut self, pfn: Pfn) {
        if self[pfn].is_anon() {
            self[pfn].set_owner(Owner::None);
        }
    }

    /// Feeds what is in the given spans and the zero page to `state`.
    pub fn hash_spans<H: Hasher>(&self, spans: impl Iterator<Item = Range<usize>>, state: &mut H) {
        let zero = self.zero_page().index();
        for span in spans.chain(std::iter::once(zero..zero + 1)) {
            sparse::hash(&self.frames[span], state);
        }
    }

    /// What a snapshot keeps of the given spans and the zero page.
    pub fn lines(&self, spans: impl Iterator<Item = Range<usize>>) -> sparse::Lines<'_> {
        let zero = self.zero_page().index();
        sparse::lines(&self.frames, spans.chain(std::iter::once(zero..zero + 1)))
    }

    /// `len` frames and the zero page, as a snapshot has them; none if they do not fit, or the host
    /// has no room.
    pub fn from_lines(
        len: usize,
        lines: impl IntoIterator<Item: Borrow<sparse::Line>>,
    ) -> Option<FrameTable> {
        let mut table = FrameTable { frames: bytemuck::try_zeroed_vec(len + 1).ok()? };
        sparse::fill(&mut table.frames, lines).then_some(table)
    }

    /// A copy that reads only the given spans and the zero page; everything else is free. None if
    /// the host has no room for it. Not whole, if that was over early.
    pub fn clone_spans(
        &self,
        spans: impl Iterator<Item = Range<usize>>,
        lookout: &Lookout<'_>,
    ) -> Option<FrameTable> {
        let mut copy = FrameTable { frames: bytemuck::try_zeroed_vec(self.frames.len()).ok()? };
        let zero = self.zero_page().index();
        for span in spans.chain(std::iter::once(zero..zero + 1)) {
            lookout.copy(&self.frames[span.clone()], &mut copy.frames[span]);
        }
        Some(copy)
    }

    /// Becomes equal to `other`, a machine's of the same shape, whose touched spans and its own are
    /// those given.
    pub fn copy_spans(&mut self, other: &FrameTable, spans: impl Iterator<Item = Range<usize>>) {
        let zero = self.zero_page().index();
        for span in spans.chain(std::iter::once(zero..zero + 1)) {
            self.frames[span.clone()].copy_from_slice(&other.frames[span]);
        }
    }
}

impl Index<Pfn> for FrameTable {
    type Output = Frame;

    #[inline]
    fn index(&self, pfn: Pfn) -> &Frame {
        &self.frames[pfn.index()]
    }
}

impl IndexMut<Pfn> for FrameTable {
    #[inline]
    fn index_mut(&mut self, pfn: Pfn) -> &mut Frame {
        &mut self.frames[pfn.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::AnonVmaId;

    #[test]
    fn a_descriptor_is_32_bytes_and_free_when_zero() {
        assert_eq!(size_of::<Frame>(), 32);
        let mut table = FrameTable::new(4).unwrap();
        table.open(Pfn(2));
        table[Pfn(2)].set_index(0x7f_ffff_ffff);
        table[Pfn(2)].set(PageFlags::HWPOISON | PageFlags::DIRTY);
        assert_eq!(table[Pfn(2)].index(), 0x7f_ffff_ffff);
        table[Pfn(2)].set_owner(Owner::Anon(AnonVmaId(3)));
        assert!(table[Pfn(2)].is_anon());
        assert_eq!(table[Pfn(2)].drop_reference(), 0);
        table[Pfn(2)].close(Pfn(2));
        assert_eq!(table[Pfn(2)], Frame::zeroed());
    }

    #[test]
    #[should_panic(expected = "freeing check")]
    fn a_locked_page_cannot_be_freed() {
        let mut table = FrameTable::new(4).unwrap();
        table.open(Pfn(0));
        table[Pfn(0)].set(PageFlags::LOCKED);
        table[Pfn(0)].drop_reference();
        table[Pfn(0)].close(Pfn(0));
    }
}
