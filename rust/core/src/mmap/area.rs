//! Areas: split, merged, copied to another place.
//!
//! [`restyle`] is what `mprotect`, `mlock` and a new policy have in common: a part of an area
//! becomes different, and where it then equals a neighbour the two become one.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::neighbours_are_free;
use crate::base::{Errno, MmId, PAGE_SHIFT, VmaId};
use crate::kernel::Kernel;
use crate::state::mm::{VmFlags, Vma};
use crate::state::policy::{Policy, shared};
use crate::state::rmap::{link_file, resize_area, unlink_file};
use crate::step::{LockId, Me, Mode};

/// What two areas must share to be one, besides touching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Style {
    /// Flags.
    pub flags: VmFlags,
    /// Memory policy.
    pub policy: Option<Policy>,
}

impl Style {
    /// The style of an area as it is.
    pub fn of(vma: &Vma) -> Style {
        Style { flags: vma.flags, policy: vma.policy }
    }
}

/// Cuts an area in two at `at`. The part above (`new_is_above`) or below becomes a new area, which
/// joins all lists of the old one at their tails (data-model 7.1), that of its file as well.
pub fn split(kernel: &mut Kernel, id: VmaId, at: u64, new_is_above: bool) -> VmaId {
    let mut part = kernel.vmas[id].clone();
    debug_assert!(part.start < at && at < part.end);
    let (mm, end, pgoff_at) = (part.mm, part.end, part.linear_index(at));
    let old = &mut kernel.vmas[id];
    if new_is_above {
        (part.start, part.pgoff) = (at, pgoff_at);
        old.end = at;
    } else {
        part.end = at;
        (old.start, old.pgoff) = (at, pgoff_at);
    }
    part.links.clear();
    let new = kernel.vmas.insert(part);
    kernel.anon_vmas.clone_links(&mut kernel.vmas, id, new);
    resize_area(&mut kernel.anon_vmas, &mut kernel.mappings, &kernel.vmas, id);
    link_file(&mut kernel.mappings, &kernel.vmas, new);
    let (low, high) = if new_is_above { (id, new) } else { (new, id) };
    kernel.mms[mm].remove(end);
    kernel.mms[mm].insert(at, low);
    kernel.mms[mm].insert(end, high);
    new
}

/// Which neighbours a part may become one with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Merge {
    /// The one below and the one above.
    Both,
    /// The one above only.
    Above,
    /// None.
    Never,
}

/// Gives `start..end`, a part of area `id`, a new style; returns the area that now covers it.
///
/// The part goes to the area below it, to the one above, or to both, if they have that style,
/// follow on in linear index and share a list (or lack one); otherwise it is split off.
pub fn restyle(
    kernel: &mut Kernel,
    id: VmaId,
    start: u64,
    end: u64,
    style: Style,
    merge: Merge,
) -> VmaId {
    let mm = kernel.vmas[id].mm;
    let below = kernel.mms[mm].area_before(start).filter(|&b| kernel.vmas[b].end == start);
    let below = below.filter(|_| merge == Merge::Both);
    let below = below.filter(|&b| joins(kernel, b, id, start, style));
    let above = kernel.mms[mm].find_vma(end).filter(|&a| kernel.vmas[a].start == end);
    let above = above.filter(|_| merge != Merge::Never);
    let above = above.filter(|&a| joins(kernel, a, id, end, style));
    match (below, above) {
        (Some(below), Some(above)) if shares_list(kernel, below, above) => {
            adopt_links(kernel, below, id);
            adopt_links(kernel, below, above);
            let top = kernel.vmas[above].end;
            remove(kernel, id);
            remove(kernel, above);
            move_end(kernel, below, top);
            below
        }
        (Some(below), _) => {
            adopt_links(kernel, below, id);
            if kernel.vmas[id].end == end {
                remove(kernel, id);
            } else {
                move_start(kernel, id, end);
            }
            move_end(kernel, below, end);
            below
        }
        (None, Some(above)) => {
            adopt_links(kernel, above, id);
            if kernel.vmas[id].start == start {
                remove(kernel, id);
            } else {
                move_end(kernel, id, start);
            }
            move_start(kernel, above, start);
            above
        }
        (None, None) => {
            if kernel.vmas[id].start < start {
                split(kernel, id, start, false);
            }
            if end < kernel.vmas[id].end {
                split(kernel, id, end, true);
            }
            kernel.vmas[id].set_flags(style.flags);
            kernel.vmas[id].policy = style.policy;
            id
        }
    }
}

/// Gives a range a memory policy, area by area (syscalls 6.2, step 14); all in one step.
///
/// # Errors
/// Outside: the lock to wait for; nothing has changed then. Inside: `Fault` if nothing is mapped at
/// its start. Other holes are passed over: the scan before saw to them.
pub fn apply_policy<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    mm: MmId,
    range: Range<u64>,
    policy: Option<Policy>,
) -> Result<Result<(), Errno>, LockId> {
    let Range { start, end } = range;
    let areas: Vec<VmaId> = kernel.mms[mm].areas_from(start).collect();
    for id in areas.into_iter().take_while(|&id| kernel.vmas[id].start < end).collect::<Vec<_>>() {
        neighbours_are_free::<M>(kernel, me, id)?;
    }
    if kernel.mms[mm].area_at(&kernel.vmas, start).is_none() {
        return Ok(Err(Errno::Fault));
    }
    let mut address = start;
    while let Some(id) = kernel.mms[mm].find_vma(address) {
        let vma = &kernel.vmas[id];
        let (from, to) = (vma.start.max(address), vma.end.min(end));
        if from >= end {
            break;
        }
        let style = Style { policy, ..Style::of(vma) };
        // The file offset offered to a merge is right for the first piece only; and one that
        // begins inside an area is split off before it is offered.
        let merge = if from > start {
            Merge::Never
        } else if from > vma.start {
            split(kernel, id, from, false);
            Merge::Above
        } else {
            Merge::Both
        };
        let covers = restyle(kernel, id, from, to, style, merge);
        let vma = &kernel.vmas[covers];
        address = vma.end;
        // A piece that was merged is done; the method of shmem is called for the others.
        if (vma.start, vma.end) == (from, to) {
            share_policy(kernel, covers, policy);
        }
    }
    Ok(Ok(()))
}

/// The set-policy method of an area that maps shmem: the file has the policy from now on, for
/// everybody who maps that part.
fn share_policy(kernel: &mut Kernel, id: VmaId, policy: Option<Policy>) {
    let vma = &kernel.vmas[id];
    let pages = vma.pgoff..vma.pgoff + vma.pages();
    let Some(file) = vma.file.filter(|&file| kernel.mappings[file].kind.is_shmem()) else { return };
    if let Some(host) = kernel.mappings[file].host.as_mut() {
        shared::set(&mut host.policies, pages, policy);
    }
}

/// What an area that moves to another place takes along.
///
/// The range from `start` of `len` bytes becomes one with the area below or above, or with both,
/// if these could be one with it; else it is a new area, a copy of `source`, whose links go to the
/// tails of all lists of the source's (supporting-paths 6, `mremap`). `pgoff` is its first index.
pub(super) fn copy(kernel: &mut Kernel, source: VmaId, start: u64, len: u64, pgoff: u64) -> VmaId {
    let end = start + len;
    let (mm, style) = (kernel.vmas[source].mm, Style::of(&kernel.vmas[source]));
    let below = kernel.mms[mm].area_before(start).filter(|&b| kernel.vmas[b].end == start);
    let below = below.filter(|&b| takes(kernel, b, source, start, pgoff, style));
    let above = kernel.mms[mm].find_vma(end).filter(|&a| kernel.vmas[a].start == end);
    let end_pgoff = pgoff + (len >> PAGE_SHIFT);
    let above = above.filter(|&a| takes(kernel, a, source, end, end_pgoff, style));
    match (below, above) {
        (Some(below), Some(above)) if shares_list(kernel, below, above) => {
            adopt_links(kernel, below, above);
            adopt_links(kernel, below, source);
            let top = kernel.vmas[above].end;
            remove(kernel, above);
            move_end(kernel, below, top);
            below
        }
        (Some(below), _) => {
            adopt_links(kernel, below, source);
            move_end(kernel, below, end);
            below
        }
        (None, Some(above)) => {
            adopt_links(kernel, above, source);
            move_start(kernel, above, start);
            above
        }
        (None, None) => {
            let mut vma = kernel.vmas[source].clone();
            (vma.start, vma.end, vma.pgoff) = (start, end, pgoff);
            vma.links.clear();
            let id = kernel.vmas.insert(vma);
            kernel.anon_vmas.clone_links(&mut kernel.vmas, source, id);
            link_file(&mut kernel.mappings, &kernel.vmas, id);
            kernel.mms[mm].insert(end, id);
            id
        }
    }
}

/// Makes an area longer at its end, where nothing is mapped (`mremap` in place). It never merges.
pub(super) fn grow(kernel: &mut Kernel, id: VmaId, end: u64) {
    move_end(kernel, id, end);
}

/// Whether area `other`, which touches area `id` or a part of it at `edge`, could take it over.
fn joins(kernel: &Kernel, other: VmaId, id: VmaId, edge: u64, style: Style) -> bool {
    other != id && takes(kernel, other, id, edge, kernel.vmas[id].linear_index(edge), style)
}

/// Whether area `other` could go on at `edge` with pages of area `id`, the first of which has
/// index `pgoff`, in this style.
fn takes(kernel: &Kernel, other: VmaId, id: VmaId, edge: u64, pgoff: u64, style: Style) -> bool {
    let (a, b) = (&kernel.vmas[other], &kernel.vmas[id]);
    Style::of(a) == style
        && a.file == b.file
        && a.linear_index(edge) == pgoff
        && shares_list(kernel, other, id)
}

/// Whether two areas belong to the same list, or one of them to none.
fn shares_list(kernel: &Kernel, a: VmaId, b: VmaId) -> bool {
    let (a, b) = (kernel.vmas[a].anon_vma, kernel.vmas[b].anon_vma);
    a.is_none() || b.is_none() || a == b
}

/// A growing area that was never written to takes over the lists of what it swallows.
fn adopt_links(kernel: &mut Kernel, growing: VmaId, swallowed: VmaId) {
    if kernel.vmas[growing].anon_vma.is_none() && kernel.vmas[swallowed].anon_vma.is_some() {
        kernel.anon_vmas.clone_links(&mut kernel.vmas, swallowed, growing);
        kernel.vmas[growing].anon_vma = kernel.vmas[swallowed].anon_vma;
    }
}

/// Takes an area out of its address space and off its lists.
fn remove(kernel: &mut Kernel, id: VmaId) {
    kernel.anon_vmas.unlink(&mut kernel.vmas, id);
    unlink_file(&mut kernel.mappings, &mut kernel.vmas, id);
    let vma = kernel.vmas.remove(id);
    kernel.mms[vma.mm].remove(vma.end);
}

fn move_end(kernel: &mut Kernel, id: VmaId, end: u64) {
    let vma = &mut kernel.vmas[id];
    let before = std::mem::replace(&mut vma.end, end);
    let mm = &mut kernel.mms[vma.mm];
    mm.remove(before);
    mm.insert(end, id);
    resize_area(&mut kernel.anon_vmas, &mut kernel.mappings, &kernel.vmas, id);
}

fn move_start(kernel: &mut Kernel, id: VmaId, start: u64) {
    let vma = &mut kernel.vmas[id];
    vma.pgoff = vma.linear_index(start);
    vma.start = start;
    resize_area(&mut kernel.anon_vmas, &mut kernel.mappings, &kernel.vmas, id);
}

#[cfg(test)]
mod tests {
    use super::super::map::{Backing, map};
    use super::*;
    use crate::base::{MachineSpec, MappingId, Misuse};
    use crate::state::mapping::FileSystem;
    use crate::state::mm::Mm;

    const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

    fn space() -> (Kernel, MmId) {
        let mut kernel = Kernel::new(&MachineSpec::simple(&[8], 1, false)).unwrap();
        let root = kernel.tables.create();
        let mm = kernel.mms.insert(Mm::new(root, 0));
        (kernel, mm)
    }

    fn spans(kernel: &Kernel, mm: MmId) -> Vec<(u64, u64)> {
        let span = |id: VmaId| (kernel.vmas[id].start, kernel.vmas[id].end);
        kernel.mms[mm].areas().map(span).collect()
    }

    #[test]
    fn a_part_is_split_off_and_merges_again_when_it_is_alike_again() {
        let (mut kernel, mm) = space();
        map(&mut kernel, mm, 0x6000, Some(0x10000), RW, Backing::Anonymous).unwrap();
        let id = kernel.mms[mm].find_vma(0x10000).unwrap();
        let style = Style::of(&kernel.vmas[id]);
        let read = Style { flags: style.flags.difference(VmFlags::WRITE), ..style };
        let part = restyle(&mut kernel, id, 0x12000, 0x14000, read, Merge::Both);
        assert_eq!(
            spans(&kernel, mm),
            [(0x10000, 0x12000), (0x12000, 0x14000), (0x14000, 0x16000)]
        );
        let whole = restyle(&mut kernel, part, 0x12000, 0x14000, style, Merge::Both);
        assert_eq!(spans(&kernel, mm), [(0x10000, 0x16000)]);
        assert_eq!(kernel.vmas[whole].pgoff, 0x10);
        assert_eq!(kernel.vmas.len(), 1);
    }

    #[test]
    fn a_boundary_moves_when_the_part_equals_one_neighbour() {
        let (mut kernel, mm) = space();
        map(&mut kernel, mm, 0x2000, Some(0x10000), RW, Backing::Anonymous).unwrap();
        map(&mut kernel, mm, 0x4000, Some(0x12000), VmFlags::READ, Backing::Anonymous).unwrap();
        assert_eq!(kernel.mms[mm].len(), 2, "mapping never merges");
        let style = Style::of(&kernel.vmas[kernel.mms[mm].find_vma(0x10000).unwrap()]);
        let high = kernel.mms[mm].find_vma(0x12000).unwrap();
        restyle(&mut kernel, high, 0x12000, 0x13000, style, Merge::Both);
        assert_eq!(spans(&kernel, mm), [(0x10000, 0x13000), (0x13000, 0x16000)]);
        assert_eq!(kernel.vmas[high].pgoff, 0x13);
    }

    #[test]
    fn an_overlapping_area_is_refused() {
        let (mut kernel, mm) = space();
        map(&mut kernel, mm, 0x2000, Some(0x10000), RW, Backing::Anonymous).unwrap();
        for (at, len) in [(0x11000, 0x1000), (0xf000, 0x2000), (0xf000, 0x9000)] {
            let refused = map(&mut kernel, mm, len, Some(at), RW, Backing::Anonymous);
            assert!(matches!(refused, Err(Misuse::Overlap { other: 0x10000, .. })));
        }
    }

    #[test]
    fn an_area_that_grows_downwards_counts_its_index_down() {
        let (mut kernel, mm) = space();
        map(&mut kernel, mm, 0x6000, Some(0x10000), RW, Backing::Anonymous).unwrap();
        let id = kernel.mms[mm].find_vma(0x10000).unwrap();
        let style = Style::of(&kernel.vmas[id]);
        let locked = Style { flags: style.flags | VmFlags::LOCKED, ..style };
        let part = restyle(&mut kernel, id, 0x10000, 0x12000, locked, Merge::Both);
        let whole = restyle(&mut kernel, part, 0x10000, 0x12000, style, Merge::Both);
        assert_eq!(spans(&kernel, mm), [(0x10000, 0x16000)]);
        assert_eq!(kernel.vmas[whole].pgoff, 0x10);
    }

    /// A file of eight pages.
    fn file(kernel: &mut Kernel) -> MappingId {
        kernel.mappings.create("f".into(), 0x8000, FileSystem::tmpfs())
    }

    #[test]
    fn parts_of_a_file_merge_only_where_the_file_goes_on() {
        let (mut kernel, mm) = space();
        let (f, g) = (file(&mut kernel), file(&mut kernel));
        let offsets = [(f, 0x0), (f, 0x1000), (f, 0x3000), (g, 0x4000)];
        for (at, (file, offset)) in offsets.into_iter().enumerate() {
            let start = 0x10000 + 0x1000 * at as u64;
            let backing = Backing::File(file, offset);
            map(&mut kernel, mm, 0x1000, Some(start), VmFlags::READ, backing).unwrap();
        }
        let style = Style { flags: RW | VmFlags::MAY_ALL, policy: None };
        for start in (0x10000..0x14000).step_by(0x1000) {
            let id = kernel.mms[mm].find_vma(start).unwrap();
            restyle(&mut kernel, id, start, start + 0x1000, style, Merge::Both);
        }
        assert_eq!(
            spans(&kernel, mm),
            [(0x10000, 0x12000), (0x12000, 0x13000), (0x13000, 0x14000)]
        );
        assert_eq!(kernel.mappings[f].areas.len(), 2, "what was swallowed is listed no more");
        assert_eq!(kernel.mappings[g].areas.len(), 1);
    }

    #[test]
    fn a_file_that_is_not_there_or_ends_before_is_refused() {
        let (mut kernel, mm) = space();
        let f = file(&mut kernel);
        for (file, offset) in
            [(MappingId(0), 0), (MappingId(9), 0), (f, 0x800), (f, u64::MAX - 0xfff), (f, 1 << 51)]
        {
            let backing = Backing::File(file, offset);
            assert!(map(&mut kernel, mm, 0x1000, None, RW, backing).is_err(), "{backing:?}");
        }
        assert!(kernel.mms[mm].is_empty() && kernel.mappings[f].areas.is_empty());
    }
}
