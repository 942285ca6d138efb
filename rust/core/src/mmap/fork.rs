//! `fork`: a child with a copy of the parent's memory (supporting-paths 3).

use serde::{Deserialize, Serialize};

use super::{MmRelease, lists_are_free};
use crate::base::{Bugs, Errno, MmId, PAGE_SIZE, Pfn, Profile, TableId, TaskId, VmaId};
use crate::kernel::Kernel;
use crate::pagecache::swapcache;
use crate::state::lock::{AtPause, Want};
use crate::state::mm::{Mm, VmFlags};
use crate::state::pagetable::{Entry, LEAF_ENTRIES, leaf_index, leaf_span_end};
use crate::state::rmap::{entry_is_anonymous, link_file_behind};
use crate::state::task::Task;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// How far the fork has got. From `Linking` on, the parent's `mmap_sem` is held for writing.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// The parent's area after this address is next.
    Linking {
        child: MmId,
        from: u64,
    },
    /// Entries of a linked pair of areas, from this address on.
    Copying {
        child: MmId,
        area: VmaId,
        address: u64,
    },
    Ending {
        child: MmId,
    },
    /// There was no room for the child's tables: what was made of its memory goes again.
    Failing(MmRelease),
    Done(Result<TaskId, Errno>),
}

/// One fork of the task that makes the call.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Fork {
    name: String,
    mm: MmId,
    phase: Phase,
}

impl Fork {
    /// Will make a child called `name` of the task whose memory is `mm`.
    pub const fn new(name: String, mm: MmId) -> Fork {
        Fork { name, mm, phase: Phase::Starting }
    }

    /// The child, or `NoMemory`. Only once done.
    pub fn result(&self) -> Result<TaskId, Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the fork was done"),
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Failing(release) => release.held_pages(),
            _ => Vec::new(),
        }
    }

    /// The memory of a child that is no task yet.
    pub const fn unborn(&self) -> Option<MmId> {
        match &self.phase {
            Phase::Linking { child, .. }
            | Phase::Copying { child, .. }
            | Phase::Ending { child } => Some(*child),
            Phase::Failing(release) => release.mm_in_use(),
            Phase::Starting | Phase::Done(_) => None,
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Failing(release) => release.labels(),
            Phase::Starting => &["SP3-start"],
            Phase::Linking { .. } => &["SP3-link"],
            Phase::Copying { .. } => &["SP3-copy"],
            Phase::Ending { .. } => &["SP3-end"],
            Phase::Done(_) => &[],
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        let mut locks = vec![(LockId::MmapSem(self.mm), Want::Exclusive)];
        if let Phase::Failing(release) = &self.phase {
            locks.extend(release.locks_at_pause());
        }
        locks
    }

    /// Makes one step: an area linked, or at most one leaf table's entries copied.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let sem = LockId::MmapSem(self.mm);
        loop {
            match &mut self.phase {
                Phase::Starting => {
                    if !kernel.lock::<M>(me, sem, Want::Exclusive) {
                        return Progress::Waiting(sem);
                    }
                    let root = kernel.tables.create();
                    let born = kernel.tasks.made();
                    let child = kernel.mms.insert(Mm::new(root, born));
                    self.phase = Phase::Linking { child, from: 0 };
                }
                Phase::Linking { child, from } => {
                    let (child, from) = (*child, *from);
                    match self.link::<M>(kernel, me, child, from) {
                        Ok(next) => self.phase = next,
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::Copying { child, area, address } => {
                    let (child, area, address) = (*child, *area, *address);
                    match self.copy::<M>(kernel, me, child, area, address) {
                        Ok(next) => self.phase = next,
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::Ending { child } => {
                    let mm = Some(*child);
                    let name = std::mem::take(&mut self.name);
                    // A signal that is pending is the parent's.
                    let (swap_writers, has_signal) = (0, false);
                    let parent = kernel.tasks[me.task].clone();
                    let task = Task { name, mm, swap_writers, has_signal, ..parent };
                    let pid = kernel.tasks.insert(task);
                    settle_in_cpuset(kernel, me, pid);
                    kernel.unlock::<M>(me, sem);
                    self.phase = Phase::Done(Ok(pid));
                    return Progress::Done;
                }
                Phase::Failing(release) => match release.advance::<M>(kernel, me) {
                    Progress::Done => {
                        kernel.unlock::<M>(me, sem);
                        self.phase = Phase::Done(Err(Errno::NoMemory));
                        return Progress::Done;
                    }
                    other => return other,
                },
                Phase::Done(_) => return Progress::Done,
            }
            if Point::Open.stops::<M>(me) || kernel.pauses::<M>(LEAF_ENTRIES) {
                return Progress::Ran;
            }
        }
    }

    /// Copies the next area and links it into the reverse map, behind its parent; its entries
    /// follow, unless no page of it was ever written.
    fn link<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        child: MmId,
        from: u64,
    ) -> Result<Phase, LockId> {
        let Some(parent) = kernel.mms[self.mm].find_vma(from) else {
            return Ok(Phase::Ending { child });
        };
        lists_are_free::<M>(kernel, me, parent)?;
        let original = &kernel.vmas[parent];
        let (start, end, flags) = (original.start, original.end, original.flags);
        if flags.contains(VmFlags::DONTCOPY) {
            return Ok(Phase::Linking { child, from: end });
        }
        let mut copy = original.clone();
        copy.mm = child;
        copy.set_flags(flags.difference(VmFlags::LOCKED));
        copy.links.clear();
        copy.anon_vma = None;
        let id = kernel.vmas.insert(copy);
        kernel.anon_vmas.fork(&mut kernel.vmas, parent, id);
        if kernel.has_bug::<M>(Bugs::CHILD_FIRST) {
            kernel.anon_vmas.put_first(&kernel.vmas, id);
        }
        link_file_behind(&mut kernel.mappings, &kernel.vmas, parent, id);
        kernel.mms[child].insert(end, id);
        let has_pages = kernel.vmas[parent].anon_vma.is_some();
        Ok(if has_pages || flags.intersects(VmFlags::ALWAYS_COPIED) {
            Phase::Copying { child, area: id, address: start }
        } else {
            Phase::Linking { child, from: end }
        })
    }

    /// Copies the entries of one leaf table, with both leaf locks held, the child's first.
    fn copy<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        child: MmId,
        area: VmaId,
        address: u64,
    ) -> Result<Phase, LockId> {
        let end = kernel.vmas[area].end;
        let stop = leaf_span_end(address).min(end);
        if let Some(from) = kernel.tables.find_leaf(kernel.mms[self.mm].root, address) {
            let root = kernel.mms[child].root;
            let Some(to) = kernel.tables.make_leaf(root, address) else {
                return Ok(Phase::Failing(MmRelease::new(child)));
            };
            if !kernel.lock::<M>(me, LockId::Leaf(to), Want::Exclusive) {
                return Err(LockId::Leaf(to));
            }
            if !kernel.lock::<M>(me, LockId::Leaf(from), Want::Exclusive) {
                kernel.unlock::<M>(me, LockId::Leaf(to));
                return Err(LockId::Leaf(from));
            }
            let is_private = kernel.vmas[area].is_copy_on_write();
            for page in (address..stop).step_by(PAGE_SIZE as usize) {
                copy_entry::<M>(kernel, child, (from, to), leaf_index(page), is_private);
            }
            if kernel.shadow.is_on() {
                kernel.shadow.fork(self.mm, child, address..stop);
            }
            kernel.unlock::<M>(me, LockId::Leaf(from));
            kernel.unlock::<M>(me, LockId::Leaf(to));
        }
        Ok(if stop == end {
            Phase::Linking { child, from: end }
        } else {
            Phase::Copying { child, area, address: stop }
        })
    }
}

/// One entry of the parent's, and what the child gets. `is_private`: copy-on-write.
#[inline]
fn copy_entry<M: Mode>(
    kernel: &mut Kernel,
    child: MmId,
    (from, to): (TableId, TableId),
    at: usize,
    is_private: bool,
) {
    let mut entry = kernel.tables.get(from, at);
    if entry.is_none() {
        return;
    }
    kernel.cost.forked_entries += 1;
    if entry.is_swap_type() {
        swapcache::note_swapped(kernel, child);
    }
    if let Some(slot) = entry.as_swap() {
        kernel.swaps.duplicate(slot);
        kernel.mms[child].resident.swap += 1;
    } else if let Some((page, is_write)) = entry.as_migration() {
        if is_write && is_private && !kernel.has_bug::<M>(Bugs::FORK_KEEPS_WRITE) {
            entry = Entry::migration(page, false);
            kernel.tables.set(from, at, entry);
        }
        // The child's counter misses the page that the entry stands for (Q16).
        let is_anon = entry_is_anonymous(&kernel.frames, &kernel.locks, page);
        let mm = &mut kernel.mms[child];
        match (kernel.profile, is_anon) {
            (Profile::Exact, true) => mm.anon_drift -= 1,
            (Profile::Exact, false) => mm.file_drift -= 1,
            (Profile::Repaired, true) => mm.resident.anon += 1,
            (Profile::Repaired, false) => mm.resident.file += 1,
        }
    } else if entry.is_present() {
        if is_private && entry.has(Entry::WRITABLE) {
            entry = entry.without(Entry::WRITABLE);
            kernel.tables.set(from, at, entry);
        }
        if !is_private {
            entry = entry.without(Entry::DIRTY);
        }
        entry = entry.without(Entry::ACCESSED);
        if let Some(page) = entry.normal_page() {
            kernel.frames[page].get();
            kernel.frames[page].add_mapping();
            let resident = &mut kernel.mms[child].resident;
            if kernel.frames[page].is_anon() {
                resident.anon += 1;
            } else {
                resident.file += 1;
            }
        }
    }
    kernel.tables.set(to, at, entry);
}

/// A child that is born while its parent's nodes change, or are lent to it for a move, has those of the
/// cpuset that it is in, as if it had been attached (supporting-paths 18).
#[inline(never)]
fn settle_in_cpuset(kernel: &mut Kernel, me: Me, child: TaskId) {
    let task = &kernel.tasks[child];
    let Some(cpuset) = task.cpuset else { return };
    if kernel.cpusets.rows[cpuset.index()].mems == task.mems_allowed {
        return;
    }
    let mems = kernel.mems_of(child);
    let local = kernel.zones.node_of_cpu(me.cpu);
    let Kernel { tasks, mms, vmas, .. } = kernel;
    let task = &mut tasks[child];
    if task.mems_allowed == mems {
        return;
    }
    task.mems_allowed = mems;
    if let Some(policy) = task.policy.rebound(mems) {
        task.policy = policy;
        task.next_interleave = policy.resumed(task.next_interleave, local);
    }
    let areas: Vec<VmaId> = task.mm.map(|mm| mms[mm].areas().collect()).unwrap_or_default();
    for area in areas {
        if let Some(policy) = vmas[area].policy.and_then(|policy| policy.rebound(mems)) {
            vmas[area].policy = Some(policy);
        }
    }
}
