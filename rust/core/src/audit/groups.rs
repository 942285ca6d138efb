//! Rules about memory cgroups. At rest only: a charge under way is nobody's yet.

use super::{Report, View};
use crate::base::Pfn;
use crate::state::memcg::{Memcg, Record, RecordFlags};

/// Records that say that a frame is charged.
fn used<'a>(view: &'a View<'_>) -> impl Iterator<Item = (Pfn, Record)> + 'a {
    let kernel = view.kernel;
    let frames = (0..kernel.frames.len()).take_while(|_| kernel.memcgs.are_on());
    let records =
        view.lookout.watch(frames).map(Pfn::from).map(|page| (page, kernel.memcgs.record(page)));
    records.filter(|(_, record)| record.flags.contains(RecordFlags::USED))
}

/// The usage of a group is the number of frames charged to it and to those below it, and within its
/// limit; pages of page cache and others are told apart.
pub(super) fn charges_add_up(view: &View<'_>, report: Report<'_>) {
    let memcgs = &view.kernel.memcgs;
    let mut found = vec![Memcg::default(); memcgs.iter().count()];
    for (_, record) in used(view) {
        *found[record.owner.index()].sort(record.flags.contains(RecordFlags::CACHE)) += 1;
        memcgs.payers(record.owner).for_each(|payer| found[payer.index()].usage += 1);
    }
    for (_, group) in memcgs.swapped() {
        found[group.index()].swapout += 1;
    }
    for (id, group) in memcgs.iter() {
        let Memcg { usage, cache, rss, swapout, .. } = found[id.index()];
        let counted = (group.usage, group.cache, group.rss, group.swapout);
        let is_settled = !view.holdings.is_busy;
        if is_settled && counted != (usage, cache, rss, swapout) {
            let found = (usage, cache, rss, swapout);
            report(
                None,
                format!(
                    "group {id} counts {counted:?} (usage, cache, rss, swapout), not {found:?}"
                ),
            );
        }
        if group.limit.is_some_and(|limit| group.usage > limit) {
            let (usage, limit) = (group.usage, group.limit.unwrap_or(0));
            report(None, format!("group {id} uses {usage} pages, and its limit is {limit}"));
        }
    }
}

/// A free frame is charged to nobody, but for those that Q18 left charged; there are as many of
/// them as the groups count.
pub(super) fn free_frames_are_not_charged(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut leaked = vec![0; kernel.memcgs.iter().count()];
    for page in kernel.memcgs.leaks() {
        let record = kernel.memcgs.record(page);
        if !record.flags.contains(RecordFlags::USED) {
            report(Some(page), "a charge was left on it, but it is charged to nobody".into());
        }
        leaked[record.owner.index()] += 1;
    }
    for (page, record) in used(view) {
        let zone = &kernel.zones[kernel.zones.zone_of(page)];
        let is_free = zone.free.is_free(page.index() - zone.first.index());
        if is_free && !kernel.memcgs.leaks().any(|leak| leak == page) {
            report(Some(page), format!("free, but charged to group {}", record.owner));
        }
    }
    for (id, group) in kernel.memcgs.iter() {
        let found = leaked[id.index()];
        if group.leaked != found {
            report(None, format!("group {id} counts {} lost charges, not {found}", group.leaked));
        }
    }
}

/// A group counts its mapped pages of page cache, less those that a migration mapped before they
/// were charged (Q17).
pub(super) fn mapped_files_are_counted(view: &View<'_>, report: Report<'_>) {
    if view.holdings.is_busy {
        return;
    }
    let kernel = view.kernel;
    let mut found = vec![0; kernel.memcgs.iter().count()];
    for (page, record) in used(view) {
        let frame = &kernel.frames[page];
        found[record.owner.index()] += i64::from(frame.is_mapped() && !frame.is_anon());
    }
    for (id, group) in kernel.memcgs.iter() {
        let expected = found[id.index()] - group.mapped_file_drift;
        if group.mapped_file != expected {
            let counted = group.mapped_file;
            report(None, format!("group {id} counts {counted} mapped file pages, not {expected}"));
        }
    }
}
