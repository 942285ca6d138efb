//! Which page of which file is where: `page_mapping`, adding and removing (supporting-paths 7).

use crate::base::{Errno, MappingId, Pfn};
use crate::kernel::{ChargeKind, Kernel};
use crate::pagecache::swapcache;
use crate::state::frame::{Owner, PageFlags};
use crate::state::lock::Want;
use crate::state::lru::ListKind;
use crate::state::mapping::FileSystem;
use crate::state::zone::Counter;
use crate::step::{LockId, Me, Mode};

/// A new file. Its number is never used again.
pub fn create(kernel: &mut Kernel, name: String, size: u64, kind: FileSystem) -> MappingId {
    let is_unevictable = kind.is_unevictable;
    let file = kernel.mappings.create(name, size, kind);
    if is_unevictable {
        kernel.lru.note_unevictable(file);
    }
    file
}

/// `page_mapping`: the swap cache for a page in it, else the file; none for anonymous memory.
#[inline]
pub fn page_mapping(kernel: &Kernel, page: Pfn) -> Option<MappingId> {
    let frame = &kernel.frames[page];
    if frame.has(PageFlags::SWAPCACHE) {
        return Some(MappingId::SWAPPER);
    }
    file_of(kernel, page)
}

/// The file that `mapping` names, whether the page is in the swap cache or not.
#[inline]
pub(super) fn file_of(kernel: &Kernel, page: Pfn) -> Option<MappingId> {
    match kernel.frames[page].owner() {
        Owner::File(file) => Some(file),
        Owner::None | Owner::Anon(_) | Owner::Ksm(_) => None,
    }
}

/// `page_index`: the swap entry's value for a page in the swap cache, else `index`.
#[inline]
pub fn page_index(kernel: &Kernel, page: Pfn) -> u64 {
    let frame = &kernel.frames[page];
    if frame.has(PageFlags::SWAPCACHE) {
        return crate::base::SwapEntry(frame.private).neutral();
    }
    frame.index()
}

/// Whether nobody is inside the tree's lock; if somebody is, queues for it. Trees are changed
/// within one step, so their lock need not be kept.
#[inline]
pub fn is_free<M: Mode>(kernel: &mut Kernel, me: Me, mapping: MappingId) -> bool {
    let lock = LockId::Tree(mapping);
    let is_free = kernel.lock::<M>(me, lock, Want::Exclusive);
    if is_free {
        kernel.unlock::<M>(me, lock);
    }
    is_free
}

/// `add_to_page_cache_lru`: a locked new page enters the file's index (reference + 1) and an LRU
/// pagevec; PG_swapbacked, memcg charge and counters with it.
///
/// # Errors
/// `NoMemory` if the charge is refused, `Exists` if the slot is taken; nothing has changed then.
pub fn add(
    kernel: &mut Kernel,
    me: Me,
    file: MappingId,
    index: u64,
    page: Pfn,
) -> Result<(), Errno> {
    insert(kernel, me, file, index, page)?;
    let is_swap_backed = kernel.mappings[file].kind.is_swap_backed;
    let kind = if is_swap_backed { ListKind::ActiveAnon } else { ListKind::InactiveFile };
    let Kernel { frames, zones, lru, .. } = kernel;
    lru.add(frames, zones, me.cpu, page, kind);
    Ok(())
}

/// `add_to_page_cache`: the same without the LRU, for a page that is on it already.
///
/// # Errors
/// As [`add`].
pub fn insert(
    kernel: &mut Kernel,
    me: Me,
    file: MappingId,
    index: u64,
    page: Pfn,
) -> Result<(), Errno> {
    assert!(kernel.frames[page].has(PageFlags::LOCKED), "page {page} cached without its lock");
    let is_swap_backed = kernel.mappings[file].kind.is_swap_backed;
    let group = kernel.try_charge(me)?;
    if !kernel.mappings[file].tree.insert(index, page) {
        kernel.cancel_charge(group);
        return Err(Errno::Exists);
    }
    kernel.shadow.adopt(page);
    let frame = &mut kernel.frames[page];
    frame.get();
    frame.set_owner(Owner::File(file));
    frame.set_index(index);
    let counters = kernel.zones.counters_of(page);
    counters.add(Counter::FilePages, 1);
    if is_swap_backed {
        frame.set(PageFlags::SWAPBACKED);
        counters.add(Counter::Shmem, 1);
    }
    let kind = if is_swap_backed { ChargeKind::Shmem } else { ChargeKind::Cache };
    kernel.commit_charge(group, page, kind);
    Ok(())
}

/// `remove_from_page_cache`: a locked, unmapped page leaves its file's index. The caller drops the
/// index's reference.
///
/// # Panics
/// If the page is mapped, or in no file: errors of the model.
pub fn remove(kernel: &mut Kernel, page: Pfn) {
    let frame = &kernel.frames[page];
    assert!(frame.has(PageFlags::LOCKED), "page {page} uncached without its lock");
    assert!(!frame.is_mapped(), "page {page} removed from the cache while mapped");
    let file = file_of(kernel, page).expect("a page of a file");
    let frame = &mut kernel.frames[page];
    let (index, flags) = (frame.index(), frame.flags());
    frame.set_owner(Owner::None);
    let mapping = &mut kernel.mappings[file];
    assert_eq!(mapping.tree.delete(index), Some(page), "the slot of page {page}");
    let counters = kernel.zones.counters_of(page);
    counters.add(Counter::FilePages, -1);
    if flags.contains(PageFlags::SWAPBACKED) {
        counters.add(Counter::Shmem, -1);
    }
    if flags.contains(PageFlags::DIRTY) && mapping.kind.accounts_dirty {
        counters.add(Counter::FileDirty, -1);
    }
    kernel.uncharge(page, ChargeKind::Cache);
}

/// `remove_mapping`: a locked, clean page whose only references are the caller's and the index's
/// leaves its file, or the swap cache; tells whether it did. The caller keeps his reference.
pub fn remove_mapping(kernel: &mut Kernel, page: Pfn) -> bool {
    let frame = &mut kernel.frames[page];
    if !frame.freeze(2) {
        return false;
    }
    frame.unfreeze(2);
    if frame.has(PageFlags::DIRTY) {
        return false;
    }
    if frame.has(PageFlags::SWAPCACHE) {
        swapcache::delete(kernel, page);
    } else {
        remove(kernel, page);
        kernel.put_page(page);
    }
    true
}

/// `invalidate_inode_page`: a locked page leaves its file if nobody needs it there; tells whether it
/// did. The caller keeps his reference.
pub fn invalidate(kernel: &mut Kernel, me: Me, page: Pfn) -> bool {
    let frame = &kernel.frames[page];
    let is_needed = frame.has(PageFlags::DIRTY | PageFlags::WRITEBACK) || frame.is_mapped();
    // A page in the swap cache has an address space that its `mapping` is not.
    if is_needed || frame.has(PageFlags::SWAPCACHE) || file_of(kernel, page).is_none() {
        return false;
    }
    if frame.has_private() && !super::buffers::try_to_release_page(kernel, page) {
        return false;
    }
    kernel.clear_mlocked(me.cpu, page);
    remove_mapping(kernel, page)
}

/// `truncate_complete_page`: a locked, unmapped page leaves its file whatever it holds, unless it has
/// left already. If its buffers are in use it keeps them: an orphan.
pub fn truncate_page(kernel: &mut Kernel, me: Me, file: MappingId, page: Pfn) {
    if file_of(kernel, page) != Some(file) {
        return;
    }
    if kernel.frames[page].has(PageFlags::PRIVATE) {
        super::buffers::discard(kernel, page, 0);
        super::buffers::try_to_release_page(kernel, page);
    }
    super::dirty::cancel_dirty(kernel, page);
    kernel.clear_mlocked(me.cpu, page);
    remove(kernel, page);
    kernel.frames[page].clear(PageFlags::MAPPEDTODISK);
    kernel.put_page(page);
}
