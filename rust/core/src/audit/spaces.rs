//! Rules about address spaces, their areas and their tables.

use std::collections::BTreeMap;

use super::{Report, View};
use crate::base::MmId;
use crate::state::mm::{Resident, VmFlags};
use crate::state::rmap::entry_is_anonymous;

/// The areas of an address space lie in order and apart, each under its own end; locked pages are
/// counted; and there are as many users as tasks and calls that use it.
pub(super) fn address_spaces_are_in_order(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    for (id, mm) in kernel.mms.iter() {
        let (mut last, mut locked) = (0, 0);
        for area in mm.areas() {
            let vma = &kernel.vmas[area];
            if vma.mm != id || vma.start < last || vma.start >= vma.end {
                report(None, format!("mm {id}: area {area} at {:#x} is out of order", vma.start));
            }
            if mm.find_vma(vma.end - 1) != Some(area) {
                report(None, format!("mm {id}: area {area} is not found under its end"));
            }
            last = vma.end;
            locked += if vma.flags.contains(VmFlags::LOCKED) { vma.pages() } else { 0 };
        }
        let tasks = kernel.tasks.iter().filter(|(_, task)| task.mm == Some(id)).count();
        let calls = view.holdings.uses.iter().filter(|&&used| used == id).count();
        if mm.users as usize != tasks + calls && (mm.users > 0 || tasks + calls > 0) {
            let users = mm.users;
            report(None, format!("mm {id} has {users} users, not {tasks} tasks and {calls} calls"));
        }
        if !view.holdings.is_busy && mm.locked_vm != locked {
            let counted = mm.locked_vm;
            report(None, format!("mm {id} counts {counted} locked pages, not {locked}"));
        }
    }
    let mapped: usize = kernel.mms.iter().map(|(_, mm)| mm.len()).sum();
    if !view.holdings.is_busy && mapped != kernel.vmas.len() {
        report(None, format!("{} areas, of which {mapped} are mapped", kernel.vmas.len()));
    }
}

/// Every table in use hangs under the root of an address space.
pub(super) fn tables_hang_together(view: &View<'_>, report: Report<'_>) {
    let tables = &view.kernel.tables;
    let reachable: usize = view.kernel.mms.iter().map(|(_, mm)| tables.reachable(mm.root)).sum();
    if reachable != tables.in_use() {
        report(None, format!("{} tables in use, {reachable} of them reachable", tables.in_use()));
    }
}

/// PF_SWAPWRITE is set only while a batch runs.
pub(super) fn swap_writers_have_a_batch(view: &View<'_>, report: Report<'_>) {
    for (pid, task) in view.kernel.tasks.iter().filter(|_| !view.holdings.is_busy) {
        if task.swap_writers > 0 {
            report(None, format!("task {pid} may write to congested devices, at rest"));
        }
    }
}

/// An address space counts its present pages and its swap entries, and pages under migration like
/// present ones, but for the documented drift (Q16).
pub(super) fn resident_counters_count(view: &View<'_>, report: Report<'_>) {
    let kernel = view.kernel;
    let mut found: BTreeMap<MmId, Resident> = BTreeMap::new();
    for leaf in view.leaves() {
        let counters = found.entry(leaf.mm).or_default();
        let is_anon = match (leaf.entry.as_migration(), leaf.entry.as_swap()) {
            (Some((page, _)), _) => entry_is_anonymous(&kernel.frames, &kernel.locks, page),
            (_, Some(_)) => {
                counters.swap += 1;
                continue;
            }
            _ => match leaf.entry.normal_page() {
                Some(page) => kernel.frames[page].is_anon(),
                None => continue,
            },
        };
        counters.anon += i64::from(is_anon);
        counters.file += i64::from(!is_anon);
    }
    for (id, mm) in kernel.mms.iter() {
        let mut expected = found.remove(&id).unwrap_or_default();
        expected.anon += mm.anon_drift;
        expected.file += mm.file_drift;
        if mm.resident != expected {
            report(None, format!("mm {id} counts {:?}, not {expected:?}", mm.resident));
        }
    }
}
