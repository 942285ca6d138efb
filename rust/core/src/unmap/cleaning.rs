//! `page_mkclean`: the entries of a page that is about to be written back become read-only and
//! clean, so that the next store to it is noticed (supporting-paths 10, `clear_page_dirty_for_io`).

use super::passes;
use super::walk::Place;
use crate::base::{MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::dirty;
use crate::state::frame::Owner;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::rmap::areas_of_page;
use crate::step::{LockId, Me, Mode};

/// Write-protects and cleans all entries of a locked page in shared areas, if its file accounts
/// dirty pages; tells whether there was one to change. The page is dirty then (`set_page_dirty`).
/// All in one step.
///
/// # Errors
/// The spinlock to wait for, if somebody is inside; nothing has changed then.
pub fn clean_entries<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<bool, LockId> {
    let Owner::File(file) = kernel.frames[page].owner() else { return Ok(false) };
    if !kernel.mappings[file].kind.accounts_dirty || !kernel.frames[page].is_mapped() {
        return Ok(false);
    }
    passes::<M>(kernel, me, LockId::FileMap(file))?;
    let places = shared_entries(kernel, file, page);
    for place in &places {
        passes::<M>(kernel, me, LockId::Leaf(place.leaf))?;
    }
    if places.is_empty() {
        return Ok(false);
    }
    passes::<M>(kernel, me, LockId::Tree(file))?;
    for Place { leaf, address, .. } in places {
        let entry = kernel.tables.get(leaf, leaf_index(address));
        let clean = entry.without(Entry::WRITABLE | Entry::DIRTY);
        kernel.tables.set(leaf, leaf_index(address), clean);
        kernel.cost.flushes += 1;
    }
    dirty::set_page_dirty(kernel, page);
    Ok(true)
}

/// The entries of the page in shared areas that are writable or dirty, in the order of `i_mmap`.
fn shared_entries(kernel: &mut Kernel, file: MappingId, page: Pfn) -> Vec<Place> {
    let index = kernel.frames[page].index();
    let Kernel { mappings, vmas, mms, tables, .. } = kernel;
    let shared = areas_of_page(&mappings[file], vmas, index).filter_map(|(vma, address)| {
        let area = &vmas[vma];
        if !area.flags.contains(VmFlags::SHARED) {
            return None;
        }
        let leaf = tables.find_leaf(mms[area.mm].root, address)?;
        let entry = tables.get(leaf, leaf_index(address));
        let is_ours = entry.is_present() && entry.pfn() == page;
        let is_changed = entry.has(Entry::WRITABLE) || entry.has(Entry::DIRTY);
        (is_ours && is_changed).then_some(Place { vma, leaf, address })
    });
    shared.collect()
}
