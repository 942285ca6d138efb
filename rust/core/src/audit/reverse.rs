//! Rules about the reverse map.

use super::{Report, View};
use crate::state::frame::Owner;

/// Every ordinary entry of an anonymous page is found by walking from the page.
pub(super) fn entries_are_found_from_their_page(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for leaf in view.census.leaves.iter().filter(|leaf| leaf.entry.is_present()) {
        let (Some(page), Some(area)) = (leaf.entry.normal_page(), leaf.vma) else {
            continue;
        };
        let frame = &kernel.frames[page];
        if frame.is_ksm() {
            continue;
        }
        let Owner::Anon(list) = frame.owner() else {
            report(Some(page), format!("mapped at {:#x}, but it belongs to nothing", leaf.address));
            continue;
        };
        let is_listed = kernel.anon_vmas.areas(list).contains(&area);
        let leads_here = kernel.vmas[area].address_of(frame.index()) == Some(leaf.address);
        if !is_listed || !leads_here {
            let at = leaf.address;
            report(Some(page), format!("its list {list} does not lead to its entry at {at:#x}"));
        }
    }
}

/// An area is on exactly the lists that it names, once each, and its oldest list is its last.
pub(super) fn lists_and_areas_agree(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut named = 0;
    for (id, vma) in kernel.vmas.iter() {
        named += vma.links.len();
        for &list in &vma.links {
            let times = kernel.anon_vmas.areas(list).iter().filter(|&&area| area == id).count();
            if times != 1 {
                report(None, format!("area {id} is {times} times on list {list}, which it names"));
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
    let ids = (0..kernel.anon_vmas.len()).map(crate::base::AnonVmaId::from);
    let listed: usize = ids.map(|list| kernel.anon_vmas.areas(list).len()).sum();
    if listed != named {
        report(None, format!("{listed} areas on lists, but areas name {named} lists"));
    }
}
