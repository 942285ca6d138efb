//! Rules about zones: what a frame can be, what is within reach, and which nodes a task may use.

use super::{Report, Row, View};
use crate::base::Pfn;
use crate::state::frame::{Frame, PageFlags};
use crate::state::zone::MigrateType;

/// Every frame is exactly one of free, in use, offline and withheld; the last two are nobody's.
pub(super) fn every_frame_is_one_thing(view: &View<'_>, report: Report<'_>) {
    for (_, zone) in view.kernel.zones.iter() {
        let mut offline = 0;
        for at in view.lookout.watch(0..zone.free.touched()) {
            let page = Pfn::from(zone.first.index() + at);
            let frame = &view.kernel.frames[page];
            let is = [
                zone.free.is_free(at),
                zone.blocks.is_offline(page),
                zone.withheld.contains(&page),
            ];
            offline += u64::from(is[1]);
            if is.iter().filter(|&&is| is).count() > 1 {
                let [free, offline, withheld] = is;
                let what = format!("free {free}, offline {offline}, withheld {withheld}");
                report(Some(page), format!("is more than one thing: {what}"));
            }
            let mark = if is[1] { PageFlags::RESERVED } else { PageFlags::HWPOISON };
            if (is[1] || is[2]) && !is_nobodys(view, page, frame, mark) {
                let holders = view.census.of(page);
                report(Some(page), format!("nobody's, but {frame:?}, held by {holders:?}"));
            }
        }
        if zone.present() + offline != zone.free.len() as u64 {
            let (present, spanned) = (zone.present(), zone.free.len());
            report(None, format!("{present} present, {offline} offline, of {spanned} frames"));
        }
    }
}

/// Whether nothing refers to a frame that is marked as nobody's.
fn is_nobodys(view: &View<'_>, page: Pfn, frame: &Frame, mark: PageFlags) -> bool {
    let is_idle = frame.count() == 0 && !frame.is_mapped() && frame.is_unowned();
    is_idle && frame.has(mark) && view.census.of(page) == Row::default()
}

/// Frames of ISOLATE blocks cannot be allocated; those of all other blocks can, if they are free.
pub(super) fn isolated_blocks_give_nothing_out(view: &View<'_>, report: Report<'_>) {
    for (_, zone) in view.kernel.zones.iter() {
        let has_withdrawn = zone.free.count() != zone.free.in_reach();
        if !has_withdrawn && !zone.blocks.has_isolated() {
            continue;
        }
        let mut withdrawn = 0;
        for at in view.lookout.watch(0..zone.free.len()) {
            let page = Pfn::from(zone.first.index() + at);
            let is_isolated = zone.blocks.kind(page) == MigrateType::Isolate;
            withdrawn += u64::from(zone.free.is_withdrawn(at));
            if is_isolated && zone.free.is_in_reach(at) {
                report(Some(page), "within reach in an ISOLATE block".into());
            } else if !is_isolated && zone.free.is_withdrawn(at) {
                report(Some(page), "out of reach, but in no ISOLATE block".into());
            }
        }
        let counted = zone.free.count() - zone.free.in_reach();
        if withdrawn != counted {
            report(None, format!("{withdrawn} frames are out of reach, counted {counted}"));
        }
    }
}

/// At rest, a task of a cpuset may use the nodes of that cpuset, and those of its cpuset only.
pub(super) fn tasks_follow_their_cpuset(view: &View<'_>, report: Report<'_>) {
    if view.holdings.is_busy {
        return;
    }
    let kernel = view.kernel;
    let with_memory = kernel.zones.nodes_with_memory();
    for (pid, task) in kernel.tasks.iter() {
        let Some(cpuset) = task.cpuset else { continue };
        let mems = kernel.cpusets.mems_allowed(cpuset, with_memory);
        if task.mems_allowed != mems {
            let allowed = task.mems_allowed.0;
            let name = &kernel.cpusets.rows[cpuset.index()].name;
            report(None, format!("task {pid} may use {allowed:#b}, its cpuset {name} {mems:?}"));
        }
    }
}
