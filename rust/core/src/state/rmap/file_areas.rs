//! The areas that map a file, in the order of a walk (`i_mmap`, data-model 7.2).
//!
//! A new area goes to the end; a fork's child goes right behind its parent's group, so that a walk
//! meets a parent before its child (W13).

use std::ops::Range;

use super::super::mapping::{AddressSpace, AreaIndex, Mappings};
use super::super::mm::Vmas;
use crate::base::{MappingId, VmaId};

/// A list of so many areas is searched; a longer one has an index.
const SEARCHED: usize = 32;

fn pages_of(vmas: &Vmas, id: VmaId) -> Range<u64> {
    let vma = &vmas[id];
    vma.pgoff..vma.pgoff + vma.pages()
}

/// Puts an area at the end of its file's list; nothing for an area without file.
pub fn link_file(mappings: &mut Mappings, vmas: &Vmas, id: VmaId) {
    if let Some(file) = vmas[id].file {
        let space = &mut mappings[file];
        insert(space, vmas, space.areas.len(), id);
    }
}

/// Puts a child's area right behind the group of its parent's: the run of areas that begins with the
/// parent's and has its offset and length.
pub fn link_file_behind(mappings: &mut Mappings, vmas: &Vmas, parent: VmaId, child: VmaId) {
    let Some(file) = vmas[child].file else { return };
    let wanted = pages_of(vmas, parent);
    let space = &mut mappings[file];
    let first = position(space, parent).expect("a parent's area is listed");
    let run = space.areas[first..].iter().take_while(|&&id| pages_of(vmas, id) == wanted).count();
    insert(space, vmas, first + run, child);
}

/// Takes an area off its file's list, and tells which file that was.
pub fn unlink_file(mappings: &mut Mappings, vmas: &mut Vmas, id: VmaId) -> Option<MappingId> {
    let file = vmas[id].file.take()?;
    let space = &mut mappings[file];
    let at = position(space, id).expect("an area is on the list of its file");
    space.areas.remove(at);
    if let Some(index) = &mut space.area_index {
        index.remove(id);
    }
    Some(file)
}

/// An area of a file has other pages than when it was linked. Where it is on the list stays.
pub fn resize_file(mappings: &mut Mappings, vmas: &Vmas, id: VmaId) {
    let Some(file) = vmas[id].file else { return };
    if let Some(index) = &mut mappings[file].area_index {
        index.resize(id, pages_of(vmas, id));
    }
}

/// The next area, from place `from` of the list on, that maps page `page` of a file, and the place
/// behind it. Takes the logarithm of a long list.
#[inline]
pub fn next_area(
    space: &AddressSpace,
    vmas: &Vmas,
    from: usize,
    page: u64,
) -> Option<(VmaId, usize)> {
    let at = match &space.area_index {
        Some(index) => index.next(from, page)?,
        None => {
            let maps = |&id: &VmaId| vmas[id].address_of(page).is_some();
            from + space.areas.get(from..)?.iter().position(maps)?
        }
    };
    Some((space.areas[at], at + 1))
}

/// All areas that map a page of a file, in the order of a walk.
pub fn areas_of_page<'a>(
    space: &'a AddressSpace,
    vmas: &'a Vmas,
    page: u64,
) -> impl Iterator<Item = VmaId> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let (id, next) = next_area(space, vmas, from, page)?;
        from = next;
        Some(id)
    })
}

/// Whether the index of a file, if it has one, says what the list says.
pub fn index_agrees(space: &AddressSpace, vmas: &Vmas) -> bool {
    let listed = space.areas.iter().map(|&id| (id, pages_of(vmas, id)));
    space.area_index.as_ref().is_none_or(|index| index.agrees(listed))
}

fn position(space: &AddressSpace, id: VmaId) -> Option<usize> {
    match &space.area_index {
        Some(index) => index.position(id),
        None => space.areas.iter().position(|&other| other == id),
    }
}

fn insert(space: &mut AddressSpace, vmas: &Vmas, at: usize, id: VmaId) {
    space.areas.insert(at, id);
    match &mut space.area_index {
        Some(index) => index.insert(at, id, pages_of(vmas, id)),
        None if space.areas.len() > SEARCHED => {
            let listed = space.areas.iter().map(|&id| (id, pages_of(vmas, id)));
            space.area_index = Some(Box::new(AreaIndex::of(listed)));
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::MmId;
    use crate::state::mapping::FileSystem;
    use crate::state::mm::{VmFlags, Vma};

    #[test]
    fn a_child_stands_behind_its_parents_group_and_a_new_area_at_the_end() {
        let (mut mappings, mut vmas) = (Mappings::default(), Vmas::default());
        let file = mappings.create("f".into(), 0x9000, FileSystem::tmpfs());
        let kind = FileSystem::tmpfs();
        let mut area = |pgoff: u64, pages: u64| {
            let end = 0x1000 + pages * 0x1000;
            let flags = VmFlags::READ;
            vmas.insert(Vma::of_file(MmId(0), 0x1000, end, flags, (file, &kind, pgoff)))
        };
        let (a, b, a1, a2, b1) = (area(0, 2), area(1, 2), area(0, 2), area(0, 2), area(1, 2));
        link_file(&mut mappings, &vmas, a);
        link_file(&mut mappings, &vmas, b);
        link_file_behind(&mut mappings, &vmas, a, a1);
        link_file_behind(&mut mappings, &vmas, a, a2);
        link_file_behind(&mut mappings, &vmas, b, b1);
        assert_eq!(mappings[file].areas, [a, a1, a2, b, b1]);
        assert_eq!(unlink_file(&mut mappings, &mut vmas, a1), Some(file));
        assert_eq!(unlink_file(&mut mappings, &mut vmas, a1), None, "it maps no file any more");
        assert_eq!(mappings[file].areas, [a, a2, b, b1]);
    }
}
