//! Where the bytes of a page of memory are just now, without any I/O.

use super::Kernel;
use crate::base::{MappingId, PAGE_SIZE, Pfn, SwapEntry};
use crate::state::frame::PageFlags;
use crate::state::pagetable::Entry;
use crate::state::rmap::successor;

/// What is where nothing was ever written.
static ZEROES: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];

/// The bytes of one page of memory, and the frame that holds them; none, if they are on disk.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The bytes, all of them.
    pub bytes: &'a [u8],
    /// The frame that they are in.
    pub page: Option<Pfn>,
}

impl<'a> Found<'a> {
    fn on_disk(bytes: Option<&'a [u8]>) -> Found<'a> {
        Found { bytes: bytes.unwrap_or(&ZEROES), page: None }
    }
}

impl Kernel {
    /// What a load through an entry of private memory would find; no entry at all is zeroes. `moves`:
    /// pages on their way, with their new frames.
    ///
    /// A migration entry stands for its old page until MC-9 and for the new one from then on: in
    /// between, at every yield point, exactly one of the two has the bytes.
    pub fn bytes_of_entry(&self, entry: Entry, moves: &[(Pfn, Pfn)]) -> Found<'_> {
        if let Some(slot) = entry.as_swap() {
            return self.bytes_in_swap(slot, moves);
        }
        let page = match entry.as_migration() {
            Some((old, _)) => successor(&self.frames, &self.locks, old),
            None if entry.is_present() => entry.pfn(),
            None => return Found::on_disk(None),
        };
        Found { bytes: self.contents.page(page), page: Some(page) }
    }

    /// What a load would find that brings a page back from its slot.
    pub fn bytes_in_swap(&self, slot: SwapEntry, moves: &[(Pfn, Pfn)]) -> Found<'_> {
        self.bytes_of_cached(MappingId::SWAPPER, slot.neutral(), moves)
            .unwrap_or_else(|| Found::on_disk(self.kept_in_swap(slot)))
    }

    /// What a read of a page of a file would find.
    pub fn bytes_of_file(
        &self,
        file: MappingId,
        index: u64,
        moves: &[(Pfn, Pfn)],
    ) -> Option<Found<'_>> {
        let host = self.mappings.find(file)?.host.as_ref()?;
        Some(match (self.bytes_of_cached(file, index, moves), host.swapped.get(&index)) {
            (Some(found), _) => found,
            (None, Some(&slot)) => self.bytes_in_swap(slot, moves),
            (None, None) => Found::on_disk(host.disk.page(index)),
        })
    }

    /// What a swap device has for a slot.
    pub fn kept_in_swap(&self, slot: SwapEntry) -> Option<&[u8]> {
        self.swaps.devices.get(usize::from(slot.device()))?.disk.page(slot.offset().into())
    }

    /// What a valid page is to be filled with if it were dropped and read again; none for a page that
    /// comes from nowhere.
    pub fn bytes_behind(&self, page: Pfn) -> Option<&[u8]> {
        let frame = &self.frames[page];
        let kept = if frame.has(PageFlags::SWAPCACHE) {
            self.kept_in_swap(SwapEntry(frame.private))
        } else if let crate::state::frame::Owner::File(file) = frame.owner() {
            self.mappings[file].host.as_ref()?.disk.page(frame.index())
        } else {
            return None;
        };
        Some(kept.unwrap_or(&ZEROES))
    }

    /// The bytes of the page at an index of the page cache, if there is a valid one. Between MM-9 and
    /// MC-2 the new page is in the slot while the old one has the bytes (W7).
    fn bytes_of_cached(
        &self,
        mapping: MappingId,
        index: u64,
        moves: &[(Pfn, Pfn)],
    ) -> Option<Found<'_>> {
        let mut page = self.mappings[mapping].tree.get(index)?;
        if !self.frames[page].has(PageFlags::UPTODATE) {
            page = moves.iter().find(|&&(_, new)| new == page)?.0;
        }
        let is_valid = self.frames[page].has(PageFlags::UPTODATE);
        is_valid.then(|| Found { bytes: self.contents.page(page), page: Some(page) })
    }
}
