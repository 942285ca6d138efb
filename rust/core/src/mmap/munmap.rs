//! `munmap`: a range of addresses maps nothing any more.

use serde::{Deserialize, Serialize};

use super::area;
use super::lists_are_free;
use super::munlock::Munlock;
use super::teardown::Teardown;
use crate::base::{MmId, Pfn, USER_END, VmaId};
use crate::kernel::Kernel;
use crate::state::lock::{AtPause, Want};
use crate::state::mm::VmFlags;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// Munlocking the VM_LOCKED areas from this address on.
    Munlocking(u64),
    MunlockingArea(Munlock, u64),
    TearingDown(Teardown),
    Done,
}

/// One `munmap` of a checked range.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Munmap {
    mm: MmId,
    start: u64,
    end: u64,
    /// Whether somebody above holds `mmap_sem` already, as mremap does.
    is_nested: bool,
    phase: Phase,
}

impl Munmap {
    /// Will unmap `start..end`. Unmapped parts of the range are passed over.
    pub const fn new(mm: MmId, start: u64, end: u64) -> Munmap {
        Munmap { mm, start, end, is_nested: false, phase: Phase::Starting }
    }

    /// The same for a caller that holds `mmap_sem`.
    pub(super) const fn nested(mm: MmId, start: u64, end: u64) -> Munmap {
        Munmap { mm, start, end, is_nested: true, phase: Phase::Starting }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting => &["SP6-munmap"],
            Phase::Munlocking(_) => &["SP6-munlock"],
            Phase::MunlockingArea(munlock, _) => munlock.labels(),
            Phase::TearingDown(teardown) => teardown.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::MunlockingArea(munlock, _) => munlock.held_pages(),
            Phase::TearingDown(teardown) => teardown.held_pages(),
            _ => Vec::new(),
        }
    }

    /// The locks that it has at a pause; those of its caller, if it is nested, are not among them.
    pub fn locks_at_pause(&self) -> AtPause {
        let sem = (LockId::MmapSem(self.mm), Want::Exclusive);
        let mut locks = if self.is_nested { AtPause::new() } else { vec![sem] };
        if let Phase::TearingDown(teardown) = &self.phase {
            locks.extend(teardown.locks_at_pause());
        }
        locks
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let sem = LockId::MmapSem(self.mm);
        loop {
            match &mut self.phase {
                Phase::Starting => {
                    if !self.is_nested && !kernel.lock::<M>(me, sem, Want::Exclusive) {
                        return Progress::Waiting(sem);
                    }
                    if let Err(lock) = self.split_edges::<M>(kernel, me) {
                        return Progress::Waiting(lock);
                    }
                    self.phase = Phase::Munlocking(self.start);
                    continue;
                }
                Phase::Munlocking(from) => {
                    let from = *from;
                    match self.next_area(kernel, from) {
                        Some(vma) => self.phase = self.munlock(kernel, vma),
                        None => {
                            let teardown = self.detach(kernel);
                            if teardown.is_empty() {
                                return self.end::<M>(kernel, me);
                            }
                            self.phase = Phase::TearingDown(teardown);
                        }
                    }
                    continue;
                }
                Phase::MunlockingArea(munlock, next) => {
                    let next = *next;
                    match munlock.advance::<M>(kernel, me) {
                        Progress::Done => self.phase = Phase::Munlocking(next),
                        other => return other,
                    }
                }
                Phase::TearingDown(teardown) => match teardown.advance::<M>(kernel, me) {
                    Progress::Done => return self.end::<M>(kernel, me),
                    other => return other,
                },
                Phase::Done => return Progress::Done,
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    fn end<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        if !self.is_nested {
            kernel.unlock::<M>(me, LockId::MmapSem(self.mm));
        }
        self.phase = Phase::Done;
        Progress::Done
    }

    fn split_edges<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Result<(), LockId> {
        for (edge, is_above_gone) in [(self.start, true), (self.end, false)] {
            let cut = kernel.mms[self.mm].area_at(&kernel.vmas, edge);
            if let Some(vma) = cut.filter(|&vma| kernel.vmas[vma].start < edge) {
                lists_are_free::<M>(kernel, me, vma)?;
                area::split(kernel, vma, edge, is_above_gone);
            }
        }
        Ok(())
    }

    fn next_area(&self, kernel: &Kernel, from: u64) -> Option<VmaId> {
        let vma = kernel.mms[self.mm].find_vma(from)?;
        (kernel.vmas[vma].start < self.end).then_some(vma)
    }

    fn munlock(&self, kernel: &mut Kernel, id: VmaId) -> Phase {
        let vma = &mut kernel.vmas[id];
        let (start, end, flags) = (vma.start, vma.end, vma.flags);
        if !flags.contains(VmFlags::LOCKED) {
            return Phase::Munlocking(end);
        }
        vma.set_flags(flags.difference(VmFlags::LOCKED));
        kernel.mms[self.mm].locked_vm -= kernel.vmas[id].pages();
        Phase::MunlockingArea(Munlock::new(kernel, self.mm, start, end, true), end)
    }

    /// Takes the areas out of the address space; what they map goes next.
    fn detach(&self, kernel: &mut Kernel) -> Teardown {
        let mut areas = Vec::new();
        while let Some(vma) = self.next_area(kernel, self.start) {
            let end = kernel.vmas[vma].end;
            kernel.mms[self.mm].remove(end);
            areas.push(vma);
        }
        let mm = &kernel.mms[self.mm];
        let low = mm.area_before(self.start).map_or(0, |vma| kernel.vmas[vma].end);
        let high = mm.find_vma(self.end).map_or(USER_END + 0x1000, |vma| kernel.vmas[vma].start);
        Teardown::new(self.mm, areas, low..high)
    }
}
