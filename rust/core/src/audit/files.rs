//! Rules about the page cache: slots, tags, buffers, transfers.

use std::collections::BTreeMap;

use super::{Report, View};
use crate::base::{MappingId, Pfn, RingId, SwapEntry};
use crate::state::frame::{Owner, PageFlags};
use crate::state::io::Direction;
use crate::state::mapping::{BufferState, Dirtying, Tag, buffer_lock};

/// Whether a page is the old or the new one of a move: both look alike for a while (I-60).
fn is_moving(view: &View<'_>, page: Pfn) -> bool {
    view.holdings.moves.iter().any(|&(old, new)| old == page || new == page)
}

/// A slot holds a page that says so, and a page that says so is in that slot; none is in two. The
/// tree that the slots are in is one, and counts them.
pub(super) fn cached_pages_know_their_place(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for (id, space) in kernel.mappings.iter() {
        if let Err(wrong) = space.tree.check() {
            report(None, format!("mapping {id}: {wrong}"));
        }
        for (index, page) in
            view.lookout.watch(space.tree.iter()).filter(|&(_, page)| !is_moving(view, page))
        {
            let frame = &kernel.frames[page];
            let is_swap = frame.has(PageFlags::SWAPCACHE);
            let is_right = if id == MappingId::SWAPPER {
                is_swap && SwapEntry(frame.private).neutral() == index
            } else {
                !is_swap && frame.owner() == Owner::File(id) && frame.index() == index
            };
            if !is_right {
                report(Some(page), format!("in slot {index:#x} of mapping {id}, but {frame:?}"));
            }
        }
    }
    for page in view.touched().filter(|&page| !is_moving(view, page)) {
        let frame = &kernel.frames[page];
        let place = match frame.owner() {
            _ if frame.has(PageFlags::SWAPCACHE) => {
                Some((MappingId::SWAPPER, SwapEntry(frame.private).neutral()))
            }
            Owner::File(file) => Some((file, frame.index())),
            Owner::None | Owner::Anon(_) | Owner::Ksm(_) => None,
        };
        let slots = view.census.of(page).slots;
        if let Some((mapping, index)) = place {
            if kernel.mappings[mapping].tree.get(index) != Some(page) {
                report(Some(page), format!("not in slot {index:#x} of mapping {mapping}"));
            }
        }
        if slots > 1 {
            report(Some(page), format!("in {slots} slots"));
        }
    }
}

/// A page in a slot is under writeback exactly if the slot says so; a dirty page of a file that is
/// written back has its slot say that, too.
pub(super) fn tags_follow_flags(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for (id, space) in kernel.mappings.iter() {
        let is_told = id != MappingId::SWAPPER && space.kind.dirtying != Dirtying::NoWriteback;
        for (index, page) in view.lookout.watch(space.tree.iter()) {
            let frame = &kernel.frames[page];
            if frame.has(PageFlags::WRITEBACK) != space.tree.has_tag(index, Tag::Writeback) {
                report(Some(page), format!("its WRITEBACK tag is not its flag: {frame:?}"));
            }
            let is_dirty = frame.has(PageFlags::DIRTY) && !is_moving(view, page);
            if is_told && is_dirty && !space.tree.has_tag(index, Tag::Dirty) {
                report(Some(page), "dirty, but its slot has no DIRTY tag".into());
            }
        }
    }
}

/// A page with PG_private has one ring of buffers, and a ring has such a page. A buffer is locked by
/// a call, a person, or a transfer of its page.
pub(super) fn buffers_belong_to_pages(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut rings: BTreeMap<RingId, Pfn> = BTreeMap::new();
    for (id, ring) in view.lookout.watch(kernel.rings.iter()) {
        rings.insert(id, ring.page);
        let has_transfer = kernel.io.of_page(ring.page).is_some();
        for (at, buffer) in ring.buffers.iter().enumerate() {
            let is_locked = buffer.state.contains(BufferState::LOCK);
            let holders = kernel.locks.holders(buffer_lock(id, at)).len();
            if !has_transfer && is_locked != (holders == 1) {
                report(
                    Some(ring.page),
                    format!("buffer {at}: locked is {is_locked}, with {holders} owners"),
                );
            }
            if buffer.count < buffer.by_hand {
                report(Some(ring.page), format!("buffer {at} is used {} times", buffer.count));
            }
        }
    }
    for page in view.touched().filter(|&page| !is_moving(view, page)) {
        let frame = &kernel.frames[page];
        let ring = frame.has(PageFlags::PRIVATE).then_some(RingId(frame.private));
        let owner = ring.and_then(|ring| rings.remove(&ring));
        if ring.is_some() && owner != Some(page) {
            report(Some(page), format!("its ring {ring:?} belongs to {owner:?}"));
        }
    }
    let left = view.lookout.watch(rings).filter(|&(_, page)| !is_moving(view, page));
    for (ring, page) in left {
        report(Some(page), format!("ring {ring} is of a page that does not know it"));
    }
}

/// A transfer is of a page that is locked for it, or under writeback; one a page.
pub(super) fn transfers_have_pages(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut writes: BTreeMap<Pfn, u32> = BTreeMap::new();
    for transfer in kernel.io.iter() {
        let page = transfer.page;
        let needed = match transfer.direction {
            Direction::Read => PageFlags::LOCKED,
            Direction::Write => PageFlags::WRITEBACK,
        };
        if !kernel.frames[page].has(needed) {
            report(Some(page), format!("transfer {transfer:?} of a page without {needed:?}"));
        }
        *writes.entry(page).or_default() += 1;
    }
    for page in view.touched() {
        let transfers = writes.get(&page).copied().unwrap_or(0);
        let is_written = kernel.frames[page].has(PageFlags::WRITEBACK);
        if transfers > 1 || (is_written && transfers == 0) {
            report(Some(page), format!("{transfers} transfers, writeback is {is_written}"));
        }
    }
}
