//! `migrate_page_copy`: bytes and flags (migration 7).

use crate::base::Pfn;
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
    if !frame.is_plain_anon() {
        hand_over(kernel, new, old);
    } else if frame.take(PageFlags::DIRTY) {
        frame.clear(PageFlags::RECLAIM);
        flags |= PageFlags::DIRTY;
    }
    let frame = &mut kernel.frames[old];
    // MC-6
    let is_mlocked = frame.take(PageFlags::MLOCKED);
    // MC-8, MC-9
    frame.clear(PageFlags::SWAPCACHE | PageFlags::PRIVATE);
    frame.private = 0;
    frame.set_owner(Owner::None);
    if is_mlocked {
        flags |= PageFlags::MLOCKED;
        kernel.zones.counters_of(old).add(Counter::Mlock, -1);
        kernel.zones.counters_of(new).add(Counter::Mlock, 1);
    }
    kernel.frames[new].set(flags);
}

/// MC-5, MC-7 and MC-10 for a page that is more than anonymous: dirtiness goes over with its
/// accounting and the tag of its slot; KSM finds the page in its new frame.
#[cold]
fn hand_over(kernel: &mut Kernel, new: Pfn, old: Pfn) {
    if kernel.frames[old].has(PageFlags::DIRTY) {
        dirty::clear_dirty_for_io(kernel, old);
        dirty::set_page_dirty_nobuffers(kernel, new);
    }
    // MC-9, which follows, is the same step to everybody who looks for the page of the node.
    if let Owner::Ksm(Some(node)) = kernel.frames[new].owner() {
        let node = &mut kernel.ksm.nodes[node];
        assert!(node.kpfn == old, "a stable node names frame {}, not {old}", node.kpfn);
        node.kpfn = new;
    }
    // Never so at this version.
    if kernel.frames[new].has(PageFlags::WRITEBACK) {
        writeback::end_writeback(kernel, new);
    }
}
