//! The areas that map a file, in the order of a walk (`i_mmap`, data-model 7.2).
//!
//! A new area goes to the end; a fork's child goes right behind its parent's group, so that a walk
//! meets a parent before its child (W13).

use super::super::mapping::{AddressSpace, Mappings};
use super::super::mm::Vmas;
use super::{in_turn, pages_of};
use crate::base::{MappingId, VmaId};

/// Puts an area at the end of its file's list; nothing for an area without file.
pub fn link_file(mappings: &mut Mappings, vmas: &Vmas, id: VmaId) {
    if let Some(file) = vmas[id].file {
        let areas = &mut mappings[file].areas;
        areas.insert(areas.len(), id, |id| pages_of(vmas, id));
    }
}

/// Puts a child's area right behind the group of its parent's: the run of areas that begins with the
/// parent's and has its offset and length.
pub fn link_file_behind(mappings: &mut Mappings, vmas: &Vmas, parent: VmaId, child: VmaId) {
    let Some(file) = vmas[child].file else { return };
    let wanted = pages_of(vmas, parent);
    let areas = &mut mappings[file].areas;
    let first = areas.position(parent).expect("a parent's area is listed");
    let run = areas[first..].iter().take_while(|&&id| pages_of(vmas, id) == wanted).count();
    areas.insert(first + run, child, |id| pages_of(vmas, id));
}

/// Takes an area off its file's list, and tells which file that was.
pub fn unlink_file(mappings: &mut Mappings, vmas: &mut Vmas, id: VmaId) -> Option<MappingId> {
    let file = vmas[id].file.take()?;
    mappings[file].areas.remove(id);
    Some(file)
}

/// The next area, from place `from` of the list on, that maps page `page` of a file, and the place
/// behind it. Takes the logarithm of a long list.
#[inline]
pub fn next_area(
    space: &AddressSpace,
    vmas: &Vmas,
    from: usize,
    page: u64,
) -> Option<((VmaId, u64), usize)> {
    space.areas.next(from, page, |id| Some((id, vmas[id].address_of(page)?)))
}

/// All areas that map a page of a file, in the order of a walk.
pub fn areas_of_page<'a>(
    space: &'a AddressSpace,
    vmas: &'a Vmas,
    page: u64,
) -> impl Iterator<Item = (VmaId, u64)> + 'a {
    in_turn(move |from| next_area(space, vmas, from, page))
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
        assert_eq!(mappings[file].areas[..], [a, a1, a2, b, b1]);
        assert_eq!(unlink_file(&mut mappings, &mut vmas, a1), Some(file));
        assert_eq!(unlink_file(&mut mappings, &mut vmas, a1), None, "it maps no file any more");
        assert_eq!(mappings[file].areas[..], [a, a2, b, b1]);
    }
}
