//! What is special about a clean page of a file on the straight road: its slot, its buffers, its
//! counters. What is dirty, or refuses, goes the long way.

use super::Road;
use crate::base::{NodeId, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::{Owner, PageFlags};
use crate::state::lru::ListKind;
use crate::state::mapping::{BufferState, Migrate};
use crate::state::zone::Counter;

/// Whether nothing can go wrong: a clean page of the most frequent kind, in its slot, whose only users
/// are the isolation, the slot, its buffers, and one entry (MM-3 to MM-6 will say yes), and buffers that
/// nobody has locked (BM-3 will not wait).
#[inline]
pub(super) fn is_usual(kernel: &Kernel, page: Pfn) -> bool {
    let frame = &kernel.frames[page];
    let Owner::File(file) = frame.owner() else { return false };
    if !frame.is_usual_cached() || !kernel.lru.is_evictable(frame) {
        return false;
    }
    let space = &kernel.mappings[file];
    let has_buffers = frame.has(PageFlags::PRIVATE);
    let is_simple = match space.kind.migrate {
        Migrate::Page => !has_buffers,
        Migrate::Buffers => {
            let is_free = |ring: u32| {
                let buffers = &kernel.rings[crate::base::RingId(ring)].buffers;
                !buffers.iter().any(|buffer| buffer.state.contains(BufferState::LOCK))
            };
            !has_buffers || is_free(frame.private)
        }
        _ => false,
    };
    is_simple && space.tree.get(frame.index()) == Some(page)
}

/// The page goes over, with its slot and its buffers, and both frames go where they belong, the old one
/// first; the node it is on now.
#[inline]
pub(super) fn carry(kernel: &mut Kernel, (old, new): (Pfn, Pfn), road: &mut Road) -> NodeId {
    let shell = &mut kernel.frames[old];
    let flags = shell.flags();
    let (owner, index, ring) = (shell.owner(), shell.index(), shell.private);
    let page = shell.hand_over_cached();
    kernel.frames[new] = page;
    if let Owner::File(file) = owner {
        kernel.mappings[file].tree.replace(index, new);
    }
    if flags.contains(PageFlags::PRIVATE) {
        kernel.rings[crate::base::RingId(ring)].page = new;
    }
    road.copy_later(kernel, (old, new));
    let zones = &mut kernel.zones;
    let (from, to) = (zones.zone_of(old), zones.zone_of(new));
    let is_file_family = !flags.contains(PageFlags::SWAPBACKED);
    for (zone, change) in [(from, -1), (to, 1)] {
        let counters = &mut zones[zone].counters;
        counters.add(Counter::FileMapped, change);
        counters.add(Counter::FilePages, change);
        if !is_file_family {
            counters.add(Counter::Shmem, change);
        }
    }
    zones[from].counters.add(Counter::isolated(is_file_family), -1);
    let node = zones[to].node;
    let is_active = flags.contains(PageFlags::ACTIVE);
    let Kernel { frames, zones, lru, .. } = kernel;
    let mut additions = lru.additions(road.me.cpu);
    additions.add(frames, zones, old, ListKind::evictable(is_file_family, false));
    additions.add(frames, zones, new, ListKind::evictable(is_file_family, is_active));
    road.moved += 1;
    node
}
