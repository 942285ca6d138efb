//! Who maps this page: from a frame back to every page-table entry.
//!
//! A page table answers "which frame is at this address?". Migration needs the opposite
//! question, and asks it twice: once to replace each entry, once to put real entries back. An
//! anonymous page names an [`AnonVmas`] list; the areas on it are the only ones that can map the
//! page, each at the one address that the page's `index` gives.
//!
//! A page of a file is found through the list of areas that map the file ([`link_file`]).
//!
//! Start with [`AnonVmas::areas`]. Fork makes a chain: the child's areas join every list of the
//! parent's and get one of their own. What a migration entry stands for once the old page has
//! lost its identity, [`successor`] knows. Below us: [`super::mm`]. Above us: [`crate::unmap`].
//!
//! Data-model 7.1 and 7.2, as of 2.6.34. Left out: non-linear mappings; KSM is in [`super::ksm`].

mod file_areas;

pub use file_areas::{areas_of_page, link_file, link_file_behind, next_area, unlink_file};

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::frame::FrameTable;
use super::lock::Locks;
use super::mapping::{AreaList, Mappings};
use super::mm::{Mm, VmFlags, Vmas};
use crate::base::{AnonVmaId, PAGE_SHIFT, Pfn, VmaId, grow};
use crate::step::LockId;

/// The page whose `mapping` says what a migration entry for `old` stands for.
///
/// That is `old` itself until MC-9 has cleared its `mapping`; then it is the new page, which the
/// migrator keeps locked together with `old` until the entries are ordinary again (MN-4).
pub fn successor(frames: &FrameTable, locks: &Locks, old: Pfn) -> Pfn {
    if !frames[old].is_unowned() {
        return old;
    }
    let migrator = locks.holders(LockId::Page(old)).first();
    let held = migrator.into_iter().flat_map(|&call| locks.held_by(call));
    let mut others = held.filter_map(|lock| match lock {
        LockId::Page(page) if page != old => Some(page),
        _ => None,
    });
    others.next().unwrap_or(old)
}

/// Whether a migration entry for `old` stands for an anonymous page rather than for one of a file.
///
/// An entry that outlived its migration (Q21) does: walks over files cannot miss one (S34).
pub fn entry_is_anonymous(frames: &FrameTable, locks: &Locks, old: Pfn) -> bool {
    let page = &frames[successor(frames, locks, old)];
    page.is_anon() || page.is_unowned()
}

/// All `anon_vma` lists. One that is empty stays for ever, so that a late walk finds nothing (Q26).
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct AnonVmas {
    lists: Vec<AreaList>,
}

impl AnonVmas {
    /// The areas on a list, in the order of a walk.
    #[inline]
    pub fn areas(&self, list: AnonVmaId) -> &AreaList {
        &self.lists[list.index()]
    }

    /// The next area of a list, from place `from` on, in which a page with this index would be mapped, with
    /// the address there; and the place behind it.
    #[inline]
    pub fn next_area(
        &self,
        list: AnonVmaId,
        vmas: &Vmas,
        from: usize,
        index: u64,
    ) -> Option<((VmaId, u64), usize)> {
        self.lists[list.index()].next(from, index, |id| Some((id, vmas[id].address_of(index)?)))
    }

    /// All areas of a list in which a page with this index would be mapped, and where, in the order of a walk.
    pub fn areas_of_page<'a>(
        &'a self,
        list: AnonVmaId,
        vmas: &'a Vmas,
        index: u64,
    ) -> impl Iterator<Item = (VmaId, u64)> + 'a {
        in_turn(move |from| self.next_area(list, vmas, from, index))
    }

    /// How many lists were ever made.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    fn create(&mut self) -> AnonVmaId {
        grow(&mut self.lists);
        self.lists.push(AreaList::default());
        AnonVmaId::from(self.lists.len() - 1)
    }

    fn push(&mut self, vmas: &Vmas, list: AnonVmaId, id: VmaId) {
        let areas = &mut self.lists[list.index()];
        areas.insert(areas.len(), id, |id| pages_of(vmas, id));
    }

    /// The list of a neighbour that [`AnonVmas::prepare`] would share.
    pub fn list_to_join(&self, mm: &Mm, vmas: &Vmas, id: VmaId) -> Option<AnonVmaId> {
        reusable_list(mm, vmas, id)
    }

    /// Gives an area its `anon_vma` before the first page is written there (`anon_vma_prepare`).
    ///
    /// A neighbour's list is shared if the two areas could be one; the next area is asked first.
    /// The new link goes to the head of both lists.
    pub fn prepare(&mut self, mm: &Mm, vmas: &mut Vmas, id: VmaId) {
        if vmas[id].anon_vma.is_some() {
            return;
        }
        let list = reusable_list(mm, vmas, id).unwrap_or_else(|| self.create());
        self.lists[list.index()].insert(0, id, |id| pages_of(vmas, id));
        let vma = &mut vmas[id];
        vma.anon_vma = Some(list);
        vma.links.insert(0, list);
    }

    /// Puts area `to` on every list of area `from`, at the tail, in the same order of links.
    pub fn clone_links(&mut self, vmas: &mut Vmas, from: VmaId, to: VmaId) {
        let links = vmas[from].links.clone();
        for &list in &links {
            self.push(vmas, list, to);
        }
        vmas[to].links = links;
    }

    /// Links a child's area: on every list of the parent's, behind it, and on a new one of its
    /// own, which its new pages belong to (`anon_vma_fork`).
    pub fn fork(&mut self, vmas: &mut Vmas, parent: VmaId, child: VmaId) {
        if vmas[parent].anon_vma.is_none() {
            return;
        }
        self.clone_links(vmas, parent, child);
        let own = self.create();
        self.push(vmas, own, child);
        let vma = &mut vmas[child];
        vma.links.insert(0, own);
        vma.anon_vma = Some(own);
    }

    /// Puts an area before all others on its lists: what fork must not do (I-74).
    pub fn put_first(&mut self, vmas: &Vmas, id: VmaId) {
        for list in &vmas[id].links {
            self.lists[list.index()].put_first(id, |id| pages_of(vmas, id));
        }
    }

    /// Takes an area off all its lists.
    pub fn unlink(&mut self, vmas: &mut Vmas, id: VmaId) {
        let links = std::mem::take(&mut vmas[id].links);
        for list in links {
            self.lists[list.index()].remove(id);
        }
        vmas[id].anon_vma = None;
    }
}

/// Area after area, each found from the place behind the one before it.
fn in_turn<R>(next: impl Fn(usize) -> Option<(R, usize)>) -> impl Iterator<Item = R> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let (found, behind) = next(from)?;
        from = behind;
        Some(found)
    })
}

/// An area has other pages than when it was linked: its lists are told, and that of its file.
pub fn resize_area(anon_vmas: &mut AnonVmas, mappings: &mut Mappings, vmas: &Vmas, id: VmaId) {
    let (vma, pages) = (&vmas[id], pages_of(vmas, id));
    for list in &vma.links {
        anon_vmas.lists[list.index()].resize(id, pages.clone());
    }
    if let Some(file) = vma.file {
        mappings[file].areas.resize(id, pages);
    }
}

/// Gives long lists that were read from a snapshot their indexes; false if they contradict the areas.
pub fn complete_lists(anon_vmas: &mut AnonVmas, mappings: &mut Mappings, vmas: &Vmas) -> bool {
    let pages_of = |id: VmaId| {
        let vma = vmas.find(id)?;
        let pages = vma.end.checked_sub(vma.start)? >> PAGE_SHIFT;
        Some(vma.pgoff..vma.pgoff.checked_add(pages)?)
    };
    let files = mappings.iter_mut().map(|space| &mut space.areas);
    anon_vmas.lists.iter_mut().chain(files).all(|list| list.complete(pages_of))
}

/// Whether a list says the same as its index.
pub fn list_agrees(list: &AreaList, vmas: &Vmas) -> bool {
    list.agrees(|id| pages_of(vmas, id))
}

/// The pages of an area, as its lists count them.
fn pages_of(vmas: &Vmas, id: VmaId) -> Range<u64> {
    let vma = &vmas[id];
    vma.pgoff..vma.pgoff + vma.pages()
}

/// The list of a neighbour that could be one with this area.
fn reusable_list(mm: &Mm, vmas: &Vmas, id: VmaId) -> Option<AnonVmaId> {
    let vma = &vmas[id];
    let next = mm.find_vma(vma.end).filter(|&next| vmas[next].start == vma.end);
    let previous = mm.area_before(vma.start).filter(|&before| vmas[before].end == vma.start);
    let share = |low: VmaId, high: VmaId, owner: VmaId| {
        let (a, b) = (&vmas[low], &vmas[high]);
        let alike = a.policy == b.policy
            && a.file == b.file
            && (a.flags ^ b.flags).difference(VmFlags::PROTECTION).is_empty()
            && b.pgoff == a.pgoff + a.pages();
        vmas[owner].anon_vma.filter(|_| alike && vmas[owner].links.len() == 1)
    };
    let from_next = next.and_then(|next| share(id, next, next));
    from_next.or_else(|| previous.and_then(|before| share(before, id, before)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MmId, TableId};
    use crate::state::mm::Vma;

    fn areas(spans: &[(u64, u64)]) -> (Mm, Vmas, Vec<VmaId>) {
        let (mut mm, mut vmas) = (Mm::new(TableId(0), 0), Vmas::default());
        let flags = VmFlags::READ | VmFlags::WRITE;
        let ids = spans.iter().map(|&(start, end)| {
            let id = vmas.insert(Vma::anonymous(MmId(0), start, end, flags));
            mm.insert(end, id);
            id
        });
        let ids = ids.collect();
        (mm, vmas, ids)
    }

    #[test]
    fn touching_areas_share_a_list_and_distant_ones_do_not() {
        let (mm, mut vmas, ids) = areas(&[(0x1000, 0x2000), (0x2000, 0x3000), (0x9000, 0xa000)]);
        let mut lists = AnonVmas::default();
        ids.iter().for_each(|&id| lists.prepare(&mm, &mut vmas, id));
        assert_eq!(vmas[ids[0]].anon_vma, vmas[ids[1]].anon_vma);
        assert_ne!(vmas[ids[0]].anon_vma, vmas[ids[2]].anon_vma);
        let shared = vmas[ids[0]].anon_vma.unwrap();
        assert_eq!(lists.areas(shared)[..], [ids[1], ids[0]], "the newcomer is at the head");
    }

    #[test]
    fn a_forked_area_comes_after_its_parent_and_keeps_the_oldest_list_last() {
        let (mm, mut vmas, ids) = areas(&[(0x1000, 0x2000)]);
        let mut lists = AnonVmas::default();
        lists.prepare(&mm, &mut vmas, ids[0]);
        let oldest = vmas[ids[0]].anon_vma.unwrap();
        let clone = |vmas: &mut Vmas, parent: VmaId| {
            let mut child = vmas[parent].clone();
            child.links.clear();
            child.anon_vma = None;
            vmas.insert(child)
        };
        let child = clone(&mut vmas, ids[0]);
        lists.fork(&mut vmas, ids[0], child);
        let grandchild = clone(&mut vmas, child);
        lists.fork(&mut vmas, child, grandchild);
        assert_eq!(lists.areas(oldest)[..], [ids[0], child, grandchild]);
        assert_eq!(vmas[grandchild].oldest_anon_vma(), Some(oldest));
        assert_eq!(vmas[grandchild].links.len(), 3);
        lists.unlink(&mut vmas, child);
        assert_eq!(lists.areas(oldest)[..], [ids[0], grandchild]);
    }
}
