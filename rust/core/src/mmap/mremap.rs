//! `mremap`: a range becomes shorter, longer, or goes elsewhere (supporting-paths 6, mremap(2)).

use serde::{Deserialize, Serialize};

use super::mlock::Mlock;
use super::move_entries::MoveEntries;
use super::munmap::Munmap;
use super::{Unmerge, area, lists_are_free};
use crate::base::{Errno, MmId, PAGE_SHIFT, PAGE_SIZE, Pfn, USER_END, VmaId};
use crate::kernel::Kernel;
use crate::state::lock::{AtPause, Want};
use crate::state::mm::VmFlags;
use crate::state::pagetable::Entry;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// How far the call has got. From `Sizing` on, `mmap_sem` is held for writing.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// What was mapped at a given destination goes.
    Clearing(Munmap),
    /// What is beyond the new length goes.
    Shrinking(Munmap),
    /// The area is looked at: it grows where it is, or the range needs another place.
    Sizing,
    Unmerging(Unmerge, u64),
    /// The area at the destination is made.
    Copying(u64),
    Moving(MoveEntries),
    MovingBack(MoveEntries),
    /// The place that the entries left goes.
    Leaving(Munmap, Result<u64, Errno>),
    /// Pages that a VM_LOCKED area has more than before.
    Populating(Mlock, u64),
    Done(Result<u64, Errno>),
}

/// One `mremap` of a checked range.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Mremap {
    mm: MmId,
    start: u64,
    len: u64,
    new_len: u64,
    /// MREMAP_FIXED: exactly there.
    to: Option<u64>,
    phase: Phase,
}

impl Mremap {
    /// Will make `len` bytes from `start` on `new_len` bytes: at `to`, or wherever there is room.
    /// The new length is rounded up to whole pages.
    pub const fn new(mm: MmId, start: u64, len: u64, new_len: u64, to: Option<u64>) -> Mremap {
        // A length that runs over is no length.
        let new_len = match new_len.checked_next_multiple_of(PAGE_SIZE) {
            Some(new_len) => new_len,
            None => 0,
        };
        Mremap { mm, start, len, new_len, to, phase: Phase::Starting }
    }

    /// Where the range is now, or why not: `Fault` where it is not all in one area or that cannot
    /// grow, `Invalid` for no length, for huge pages and for a destination that overlaps or is no
    /// page of user space, `NoMemory` without room. Only once done.
    pub fn result(&self) -> Result<u64, Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before mremap was done"),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting | Phase::Sizing | Phase::Copying(_) => &["SP6-mremap"],
            Phase::Clearing(munmap) | Phase::Shrinking(munmap) | Phase::Leaving(munmap, _) => {
                munmap.labels()
            }
            Phase::Unmerging(unmerge, _) => unmerge.labels(),
            Phase::Moving(entries) | Phase::MovingBack(entries) => entries.labels(),
            Phase::Populating(mlock, _) => mlock.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Clearing(munmap) | Phase::Shrinking(munmap) | Phase::Leaving(munmap, _) => {
                munmap.held_pages()
            }
            Phase::Unmerging(unmerge, _) => unmerge.held_pages().into_iter().flatten().collect(),
            Phase::Populating(mlock, _) => mlock.held_pages(),
            _ => Vec::new(),
        }
    }

    /// The entry that is in neither table at the moment, with the address where it will be.
    pub fn carried(&self) -> Option<(MmId, u64, Entry)> {
        match &self.phase {
            Phase::Moving(entries) | Phase::MovingBack(entries) => entries.carried(),
            _ => None,
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        let mut locks = vec![(LockId::MmapSem(self.mm), Want::Exclusive)];
        if let Phase::Clearing(munmap) | Phase::Shrinking(munmap) | Phase::Leaving(munmap, _) =
            &self.phase
        {
            locks.extend(munmap.locks_at_pause());
        }
        locks
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            if let Err(unfinished) = self.advance_once::<M>(kernel, me) {
                return unfinished;
            }
            if let Phase::Done(_) = self.phase {
                kernel.unlock::<M>(me, LockId::MmapSem(self.mm));
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// One phase to its end; or how far it has got instead.
    fn advance_once<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<(), Progress> {
        match &mut self.phase {
            Phase::Starting => {
                let sem = LockId::MmapSem(self.mm);
                if !kernel.lock::<M>(me, sem, Want::Exclusive) {
                    return Err(Progress::Waiting(sem));
                }
                self.phase = self.begin();
            }
            Phase::Clearing(munmap) => {
                ended(munmap.advance::<M>(kernel, me))?;
                self.phase = self.shrink();
            }
            Phase::Shrinking(munmap) => {
                ended(munmap.advance::<M>(kernel, me))?;
                self.phase = self.shrunk();
            }
            Phase::Sizing => {
                self.phase = self.resize::<M>(kernel, me).map_err(Progress::Waiting)?;
            }
            Phase::Unmerging(unmerge, to) => {
                ended(unmerge.advance::<M>(kernel, me))?;
                let (result, copying) = (unmerge.result(), Phase::Copying(*to));
                self.phase = result.map_or_else(|errno| Phase::Done(Err(errno)), |()| copying);
            }
            Phase::Copying(to) => {
                let to = *to;
                self.phase = self.copy::<M>(kernel, me, to).map_err(Progress::Waiting)?;
            }
            Phase::Moving(entries) => {
                ended(entries.advance::<M>(kernel, me))?;
                let entries = *entries;
                self.phase = self.moved(entries);
            }
            Phase::MovingBack(entries) => {
                ended(entries.advance::<M>(kernel, me))?;
                let to = entries.source();
                let munmap = Munmap::nested(self.mm, to, to + self.new_len);
                self.phase = Phase::Leaving(munmap, Err(Errno::NoMemory));
            }
            Phase::Leaving(munmap, result) => {
                ended(munmap.advance::<M>(kernel, me))?;
                let result = *result;
                self.phase = self.arrive(kernel, result);
            }
            Phase::Populating(mlock, to) => {
                ended(mlock.advance::<M>(kernel, me))?;
                self.phase = Phase::Done(Ok(*to));
            }
            Phase::Done(_) => return Err(Progress::Done),
        }
        Ok(())
    }

    /// A given destination must not overlap the range, and is cleared; else the range may shrink.
    fn begin(&self) -> Phase {
        if self.new_len == 0 {
            return Phase::Done(Err(Errno::Invalid));
        }
        let Some(to) = self.to else {
            let is_too_long = self.new_len > USER_END;
            return if is_too_long { Phase::Done(Err(Errno::NoMemory)) } else { self.shrink() };
        };
        let end = to.checked_add(self.new_len).filter(|&end| end <= USER_END);
        let is_clear = |end: u64| to >= self.start + self.len || self.start >= end;
        if to % PAGE_SIZE != 0 || !end.is_some_and(is_clear) {
            return Phase::Done(Err(Errno::Invalid));
        }
        Phase::Clearing(Munmap::nested(self.mm, to, to + self.new_len))
    }

    /// The tail goes, if the range becomes shorter.
    fn shrink(&self) -> Phase {
        if self.new_len >= self.len {
            return self.shrunk();
        }
        let (from, to) = (self.start + self.new_len, self.start + self.len);
        Phase::Shrinking(Munmap::nested(self.mm, from, to))
    }

    /// Who stays and needs no more room is done, whatever is mapped there.
    fn shrunk(&self) -> Phase {
        if self.to.is_none() && self.new_len <= self.len {
            Phase::Done(Ok(self.start))
        } else {
            Phase::Sizing
        }
    }

    /// Bytes that have to move.
    fn kept(&self) -> u64 {
        self.len.min(self.new_len)
    }

    /// Looks whether the area can do it, and how (`vma_to_resize`).
    fn resize<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        let refused = |errno| Ok(Phase::Done(Err(errno)));
        let Some(id) = kernel.mms[self.mm].area_at(&kernel.vmas, self.start) else {
            return refused(Errno::Fault);
        };
        let vma = &kernel.vmas[id];
        if vma.flags.contains(VmFlags::HUGETLB) {
            return refused(Errno::Invalid);
        }
        let cannot_grow = vma.flags.intersects(VmFlags::DONTEXPAND | VmFlags::PFNMAP);
        if self.start + self.kept() > vma.end || (self.new_len > self.len && cannot_grow) {
            return refused(Errno::Fault);
        }
        let (old_end, new_end) = (self.start + self.len, self.start + self.new_len);
        let has_room = || {
            let is_free = kernel.mms[self.mm].check_free(&kernel.vmas, old_end, new_end).is_ok();
            vma.end == old_end && new_end <= USER_END && is_free
        };
        if self.to.is_none() && has_room() {
            lists_are_free::<M>(kernel, me, id)?;
            area::grow(kernel, id, new_end);
            return Ok(self.grown(kernel, id, old_end));
        }
        // An area that is not VM_MERGEABLE itself may share merged pages with its ancestor's.
        let must_unmerge = vma.anon_vma.is_some() && kernel.ksm.has_looked();
        let to = match self.to {
            Some(to) => to,
            None => {
                let Kernel { mms, vmas, .. } = kernel;
                match mms[self.mm].place(vmas, self.new_len) {
                    Ok(to) => to,
                    Err(_) => return refused(Errno::NoMemory),
                }
            }
        };
        Ok(if must_unmerge {
            Phase::Unmerging(Unmerge::new(self.mm, self.start..self.start + self.kept()), to)
        } else {
            Phase::Copying(to)
        })
    }

    /// In place; a VM_LOCKED area faults the new part in.
    fn grown(&self, kernel: &mut Kernel, id: VmaId, old_end: u64) -> Phase {
        if !kernel.vmas[id].flags.contains(VmFlags::LOCKED) {
            return Phase::Done(Ok(self.start));
        }
        kernel.mms[self.mm].locked_vm += (self.new_len - self.len) >> PAGE_SHIFT;
        let mlock = Mlock::populating(kernel, self.mm, old_end, self.start + self.new_len);
        Phase::Populating(mlock, self.start)
    }

    /// Makes the area at the destination, or enlarges a neighbour of it (`copy_vma`).
    fn copy<M: Mode>(&self, kernel: &mut Kernel, me: Me, to: u64) -> Result<Phase, LockId> {
        let space = &kernel.mms[self.mm];
        let source = space.area_at(&kernel.vmas, self.start).expect("looked at before");
        let end = to + self.new_len;
        let below = space.area_before(to).filter(|&below| kernel.vmas[below].end == to);
        let above = space.find_vma(end).filter(|&above| kernel.vmas[above].start == end);
        for id in [Some(source), below, above].into_iter().flatten() {
            lists_are_free::<M>(kernel, me, id)?;
        }
        let vma = &kernel.vmas[source];
        // Anonymous memory that nobody wrote to yet is indexed as if it had been made there.
        let is_untouched = vma.file.is_none() && vma.anon_vma.is_none();
        let pgoff = if is_untouched { to >> PAGE_SHIFT } else { vma.linear_index(self.start) };
        let is_locked = vma.flags.contains(VmFlags::LOCKED);
        let area = area::copy(kernel, source, to, self.new_len, pgoff);
        if is_locked {
            kernel.mms[self.mm].locked_vm += self.new_len >> PAGE_SHIFT;
        }
        Ok(Phase::Moving(MoveEntries::new(self.mm, area, self.start, to, self.kept())))
    }

    /// All entries are there, and the source goes; or there was no table, and they go back.
    fn moved(&self, entries: MoveEntries) -> Phase {
        if entries.has_failed() {
            return Phase::MovingBack(entries.back());
        }
        let munmap = Munmap::nested(self.mm, self.start, self.start + self.kept());
        Phase::Leaving(munmap, Ok(entries.target()))
    }

    /// The range is at its new place; a VM_LOCKED area faults in what it has more.
    fn arrive(&self, kernel: &mut Kernel, result: Result<u64, Errno>) -> Phase {
        let Ok(to) = result else { return Phase::Done(result) };
        let area = kernel.mms[self.mm].area_at(&kernel.vmas, to).expect("it was made");
        let is_locked = kernel.vmas[area].flags.contains(VmFlags::LOCKED);
        if is_locked && self.new_len > self.len {
            let (from, end) = (to + self.len, to + self.new_len);
            Phase::Populating(Mlock::populating(kernel, self.mm, from, end), to)
        } else {
            Phase::Done(Ok(to))
        }
    }
}

/// Whether a nested operation has ended; its progress, if not.
fn ended(progress: Progress) -> Result<(), Progress> {
    if progress == Progress::Done { Ok(()) } else { Err(progress) }
}
