//! The straight road of a chunk's look-up: usual pages are found and isolated in one go.
//!
//! DM-2 b to h for one record after the other, as [`MovePages::look_all`] makes them, for as long as
//! nothing is unusual and nobody can look in between (mode `Run`). Each page is looked up, judged, taken
//! off its list and queued with every value written once; the first record that is not for this road
//! stays as it is. What holds it to the long way: `rust/core/tests/straight_road.rs`.
//!
//! In random order, most of the time goes by waiting for memory, one page after the other.
//! [`MovePages::look_ahead`] has the host fetch what a chunk will touch, for all its pages at once.

use super::MovePages;
use crate::base::{NodeId, PAGE_SIZE, Pfn, TableId};
use crate::kernel::Kernel;
use crate::state::frame::{Frame, FrameTable, Link, PageFlags};
use crate::state::lru::ListKind;
use crate::state::pagetable::{Entry, LEAF_ENTRIES, LEAF_SPAN, Tables, leaf_index, leaf_span_end};
use crate::state::zone::{Counter, Extent, Zones};

/// The leaf table that the last look-up went to.
struct Near<'a> {
    /// What it maps of the area: the first address, and how many bytes from there.
    start: u64,
    len: u64,
    entries: &'a [Entry; LEAF_ENTRIES],
}

impl<'a> Near<'a> {
    const NOWHERE: Near<'static> = Near { start: 0, len: 0, entries: &[Entry::NONE; LEAF_ENTRIES] };

    #[inline]
    fn has(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.len
    }

    /// Goes to the table that maps `address`, if that lies in `span`; tells whether there is one.
    fn go_to(
        &mut self,
        tables: &'a Tables,
        root: TableId,
        address: u64,
        span: &std::ops::Range<u64>,
    ) -> bool {
        let leaf = tables.find_leaf(root, address).filter(|_| span.contains(&address));
        if let Some(leaf) = leaf {
            let end = span.end.min(leaf_span_end(address));
            let start = span.start.max(leaf_span_end(address) - LEAF_SPAN);
            *self = Near { start, len: end - start, entries: tables.entries_of(leaf) };
        }
        leaf.is_some()
    }
}

/// A run of pages that leave the same list, which the counters do not know of yet.
#[derive(Default)]
struct Taking {
    from: Extent,
    node: NodeId,
    sort: PageFlags,
    kind: ListKind,
    pages: i64,
    /// Those that they know of.
    settled: u64,
}

impl Taking {
    #[inline]
    fn fits(&self, frame: &Frame, page: Pfn) -> bool {
        self.from.has(page) && frame.flags() & ListKind::DECIDING == self.sort
    }

    /// Off the list of this page from now on.
    fn turn(&mut self, zones: &mut Zones, frame: &Frame, page: Pfn) {
        self.settle(zones);
        self.from = zones.extent_of(page);
        self.node = zones[self.from.zone].node;
        self.sort = frame.flags() & ListKind::DECIDING;
        self.kind = ListKind::of(self.sort);
    }

    /// Counts what was not counted yet; how many pages that makes.
    fn settle(&mut self, zones: &mut Zones) -> u64 {
        let counters = &mut zones[self.from.zone].counters;
        counters.add_lru(self.kind as usize, -self.pages);
        let is_file_family = !self.sort.contains(PageFlags::SWAPBACKED);
        counters.add(Counter::isolated(is_file_family), self.pages);
        self.settled += self.pages as u64;
        self.pages = 0;
        self.settled
    }
}

/// Neighbouring pages share cache lines; beyond this many bytes from first to last page, a chunk of
/// records is taken for one in random order.
const NEIGHBOURS: u64 = 4096 * PAGE_SIZE;

impl MovePages {
    /// Looks up the records from `record` on whose addresses lie in `span`, an area that can be migrated,
    /// up to the first that is not for the straight road; returns that one.
    pub(super) fn look_straight(
        &mut self,
        kernel: &mut Kernel,
        mut record: usize,
        span: &std::ops::Range<u64>,
    ) -> usize {
        let (start, from) = (self.start, record);
        let root = kernel.mms[self.mm].root;
        let Kernel { frames, zones, lru, tables, cost, .. } = kernel;
        let frames = frames.as_mut_slice();
        let addresses = &self.request.addresses[start + record..start + self.len];
        let nodes = &self.request.nodes[start + record..start + self.len];
        let mut near = Near::NOWHERE;
        let mut taking = Taking::default();
        for (&address, &wanted) in addresses.iter().zip(nodes) {
            if !near.has(address) && !near.go_to(tables, root, address, span) {
                break;
            }
            let entry = near.entries[leaf_index(address)];
            if !entry.is_present() || entry.has(Entry::SPECIAL) {
                break;
            }
            let page = entry.pfn();
            let frame = &mut frames[page.index()];
            if !frame.can_be_isolated() {
                break;
            }
            if !taking.fits(frame, page) {
                taking.turn(zones, frame, page);
            }
            if taking.node == wanted {
                self.pointers.settle(record, page);
                self.chunk_statuses.push(i32::from(wanted.0));
                record += 1;
                continue;
            }
            if frame.mapcount() > 1 && !self.request.is_shared_too {
                break;
            }
            // DM-2 e, f: the isolation keeps the reference, the look-up's own comes and goes.
            frame.get();
            frame.clear(PageFlags::LRU);
            lru.take_off(frames, taking.from.zone, taking.kind, page);
            taking.pages += 1;
            let first = self.pointers.settle(record, page);
            self.batch.push(page, first);
            self.chunk_statuses.push(0);
            record += 1;
        }
        cost.walks += (record - from) as u64;
        cost.isolations += taking.settle(zones);
        record
    }

    /// Reads what the look-up of this chunk will touch, page by page in three rounds, each of which
    /// waits for all its pages together: entries, descriptors, neighbours on the list. Changes nothing,
    /// and nothing depends on what it finds.
    pub(super) fn look_ahead(&self, kernel: &Kernel) {
        let addresses = &self.request.addresses[self.start..self.start + self.len];
        let (low, high) = addresses
            .iter()
            .fold((u64::MAX, 0), |(low, high), &address| (low.min(address), high.max(address)));
        if high.saturating_sub(low) < NEIGHBOURS {
            return;
        }
        let root = kernel.mms[self.mm].root;
        let mut pages = [0_usize; super::CHUNK];
        let mut leaf: Option<(u64, TableId)> = None;
        for (page, &address) in pages.iter_mut().zip(addresses) {
            let range = address >> 21;
            if leaf.is_none_or(|(last, _)| last != range) {
                leaf = kernel.tables.find_leaf(root, address).map(|leaf| (range, leaf));
            }
            let entry =
                leaf.map_or(Entry::NONE, |(_, leaf)| kernel.tables.get(leaf, leaf_index(address)));
            *page = if entry.is_present() { entry.pfn().index() } else { 0 };
        }
        fetch(&kernel.frames, &pages[..self.len]);
    }
}

/// Descriptors, and then those of their neighbours.
fn fetch(frames: &FrameTable, pages: &[usize]) {
    let frame = |at: usize| -> Option<&Frame> { frames.get(at) };
    let mut neighbours = [Link { next: 0, prev: 0 }; super::CHUNK];
    for (link, &page) in neighbours.iter_mut().zip(pages) {
        *link = frame(page).map_or(*link, |frame| frame.link);
    }
    let mut touched = 0;
    for link in &neighbours[..pages.len()] {
        for neighbour in [link.next, link.prev] {
            touched ^= frame(neighbour as usize).map_or(0, Frame::count);
        }
    }
    std::hint::black_box(touched);
}
