//! Rules about the reverse map.

use super::{Report, View};
use crate::base::AnonVmaId;
use crate::state::frame::Owner;
use crate::state::rmap::list_agrees;

/// Every ordinary entry of an anonymous page, and of a page of a file, is found by walking from the
/// page. (For pages that KSM merged, another rule says so.)
pub(super) fn entries_are_found_from_their_page(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for leaf in view.leaves().filter(|leaf| leaf.entry.is_present()) {
        let (Some(page), Some(area)) = (leaf.entry.normal_page(), leaf.vma) else {
            continue;
        };
        let frame = &kernel.frames[page];
        let (areas, list) = match frame.owner() {
            Owner::Anon(list) => (kernel.anon_vmas.areas(list), format!("list {list}")),
            Owner::File(file) => (&kernel.mappings[file].areas, format!("file {file}")),
            Owner::Ksm(_) => continue,
            Owner::None => {
                let at = leaf.address;
                report(Some(page), format!("mapped at {at:#x}, but it belongs to nothing"));
                continue;
            }
        };
        let leads_here = kernel.vmas[area].address_of(frame.index()) == Some(leaf.address);
        if areas.position(area).is_none() || !leads_here {
            let at = leaf.address;
            report(Some(page), format!("its {list} does not lead to its entry at {at:#x}"));
        }
    }
}

/// An area is on exactly the lists that it names, once each, that of its file among them, and its
/// oldest list is its last.
pub(super) fn lists_and_areas_agree(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let (mut named, mut with_file) = (0, 0);
    for (id, vma) in view.lookout.watch(kernel.vmas.iter()) {
        named += vma.links.len();
        if let Some(file) = vma.file {
            with_file += 1;
            if kernel.mappings[file].areas.position(id).is_none() {
                report(None, format!("area {id} is not on the list of its file {file}"));
            }
        }
        for &list in &vma.links {
            if kernel.anon_vmas.areas(list).position(id).is_none() {
                report(None, format!("area {id} is not on list {list}, which it names"));
            }
        }
        // Lists are numbered as they are made, so the oldest has the lowest number.
        if vma.links.last() != vma.links.iter().min() {
            report(None, format!("the last link of area {id} is not its oldest: {:?}", vma.links));
        }
        if vma.anon_vma.is_some_and(|own| !vma.links.contains(&own)) {
            report(None, format!("area {id} is not on its own list"));
        }
    }
    let mut listed = 0;
    for list in (0..kernel.anon_vmas.len()).map(AnonVmaId::from) {
        let areas = kernel.anon_vmas.areas(list);
        listed += areas.len();
        if !list_agrees(areas, &kernel.vmas) {
            report(None, format!("list {list} names an area twice, or its index says otherwise"));
        }
    }
    if listed != named {
        report(None, format!("{listed} areas on lists, but areas name {named} lists"));
    }
    for (id, file) in kernel.mappings.iter() {
        if !list_agrees(&file.areas, &kernel.vmas) {
            report(
                None,
                format!("the list of file {id} names an area twice, or its index says otherwise"),
            );
        }
    }
    let listed: usize = kernel.mappings.iter().map(|(_, file)| file.areas.len()).sum();
    if listed != with_file {
        report(None, format!("{listed} areas on lists of files, but {with_file} map one"));
    }
}
