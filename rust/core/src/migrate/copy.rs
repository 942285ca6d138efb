//! `migrate_page_copy`: bytes and flags (migration 7).

use crate::base::{Pfn, StableNodeId};
use crate::kernel::Kernel;
use crate::pagecache::{dirty, writeback};
use crate::state::frame::{Owner, PageFlags};
use crate::state::zone::Counter;

/// Flags that the new page gets if the old one has them (MC-2, MC-4). The old one keeps them.
const COPIED: PageFlags = PageFlags::ERROR
    .union(PageFlags::REFERENCED)
    .union(PageFlags::UPTODATE)
    .union(PageFlags::CHECKED)
    .union(PageFlags::MAPPEDTODISK);

/// Makes `new` what `old` was, and `old` nothing. Both are locked; if there is an address space,
/// `new` is in its slot already.
///
/// # Panics
/// If `old` is active and unevictable at once (MC-3), or KSM knows it as another frame (MC-7):
/// errors of the model.
#[inline]
pub fn copy_page(kernel: &mut Kernel, new: Pfn, old: Pfn) {
    // MC-1
    kernel.contents.copy(old, new);
    kernel.cost.copies += 1;
    let frame = &mut kernel.frames[old];
    // MC-2, MC-4
    let mut flags = frame.flags() & COPIED;
    // MC-3
    if frame.take(PageFlags::ACTIVE) {
        assert!(!frame.has(PageFlags::UNEVICTABLE), "page {old} is active and unevictable");
        flags |= PageFlags::ACTIVE;
    } else if frame.take(PageFlags::UNEVICTABLE) {
        flags |= PageFlags::UNEVICTABLE;
    }
    // MC-5: without address space, dirtiness is the bare flag.
    if frame.has(PageFlags::DIRTY) {
        if !frame.has(PageFlags::SWAPCACHE) && (frame.is_anon() || frame.is_unowned()) {
            frame.clear(PageFlags::DIRTY | PageFlags::RECLAIM);
            flags |= PageFlags::DIRTY;
        } else {
            move_dirtiness(kernel, new, old);
        }
    }
    let frame = &mut kernel.frames[old];
    // MC-6
    let is_mlocked = frame.take(PageFlags::MLOCKED);
    let node = if frame.is_ksm() { frame.owner() } else { Owner::None };
    // MC-8, MC-9
    frame.clear(PageFlags::SWAPCACHE | PageFlags::PRIVATE);
    frame.private = 0;
    frame.set_owner(Owner::None);
    if is_mlocked {
        flags |= PageFlags::MLOCKED;
        kernel.zones.counters_of(old).add(Counter::Mlock, -1);
        kernel.zones.counters_of(new).add(Counter::Mlock, 1);
    }
    if let Owner::Ksm(Some(node)) = node {
        follow_node(kernel, node, new, old);
    }
    kernel.frames[new].set(flags);
    if kernel.frames[new].has(PageFlags::WRITEBACK) {
        end_late_writeback(kernel, new);
    }
}

/// MC-5 in an address space: accounting moves from zone to zone, and the slot is tagged.
#[cold]
fn move_dirtiness(kernel: &mut Kernel, new: Pfn, old: Pfn) {
    dirty::clear_dirty_for_io(kernel, old);
    dirty::set_page_dirty_nobuffers(kernel, new);
}

/// MC-7: KSM finds the page in its new frame, before or after the old one's owner is cleared: that is
/// one step.
#[cold]
fn follow_node(kernel: &mut Kernel, node: StableNodeId, new: Pfn, old: Pfn) {
    let node = &mut kernel.ksm.nodes[node];
    assert!(node.kpfn == old, "a stable node names frame {}, not {old}", node.kpfn);
    node.kpfn = new;
}

/// MC-10: never so at this version.
#[cold]
fn end_late_writeback(kernel: &mut Kernel, new: Pfn) {
    writeback::end_writeback(kernel, new);
}
