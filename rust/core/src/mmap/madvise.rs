//! `madvise`: pages that are not needed, areas that KSM may merge or fork leaves out (madvise(2)).

use serde::{Deserialize, Serialize};

use super::area::{self, Merge, Style};
use super::{Unmerge, neighbours_are_free};
use crate::base::{Errno, MmId, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::lock::{AtPause, Want};
use crate::state::mm::VmFlags;
use crate::state::pagetable::LEAF_ENTRIES;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::zap::{RangeZap, Zapped};

/// What is advised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Advice {
    /// MADV_DONTNEED: the pages go now.
    DontNeed,
    /// MADV_MERGEABLE: KSM may merge equal pages.
    Mergeable,
    /// MADV_UNMERGEABLE: not any more, and what it merged is broken.
    Unmergeable,
    /// MADV_DONTFORK: fork leaves the area out.
    DontFork,
    /// MADV_DOFORK: not any more.
    DoFork,
}

/// Areas with one of these KSM leaves alone: it merges private anonymous pages only.
const NEVER_MERGED: VmFlags = VmFlags::SHARED
    .union(VmFlags::MAYSHARE)
    .union(VmFlags::UNLOCKABLE)
    .union(VmFlags::HUGETLB)
    .union(VmFlags::INSERTPAGE)
    .union(VmFlags::NONLINEAR)
    .union(VmFlags::MIXEDMAP);
/// Areas with one of these keep their pages whatever is advised.
const NEVER_DROPPED: VmFlags = VmFlags::LOCKED.union(VmFlags::HUGETLB).union(VmFlags::PFNMAP);

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// The area at this address is next.
    Advising(u64),
    /// Dropping an area's pages; then on from this address.
    Zapping(RangeZap, u64),
    /// Breaking the merged pages from the first address to the second.
    Unmerging(Unmerge, u64, u64),
    Done,
}

/// One `madvise` of a checked range.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Madvise {
    mm: MmId,
    start: u64,
    end: u64,
    advice: Advice,
    result: Result<(), Errno>,
    phase: Phase,
}

impl Madvise {
    /// Will advise about `start..end`.
    pub const fn new(mm: MmId, start: u64, end: u64, advice: Advice) -> Madvise {
        Madvise { mm, start, end, advice, result: Ok(()), phase: Phase::Starting }
    }

    /// 0, or why not: `NoMemory` where nothing is mapped (the rest is done all the same), `Invalid`
    /// for advice that an area cannot take. Only once done.
    pub const fn result(&self) -> Result<(), Errno> {
        self.result
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting | Phase::Advising(_) => &["SP6-madvise"],
            Phase::Zapping(..) => &["SP6-zap"],
            Phase::Unmerging(unmerge, ..) => unmerge.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Zapping(zap, _) => zap.held_pages(),
            Phase::Unmerging(unmerge, ..) => unmerge.held_pages().into_iter().flatten().collect(),
            _ => Vec::new(),
        }
    }

    /// How it wants `mmap_sem`.
    fn want(&self) -> Want {
        if self.advice == Advice::DontNeed { Want::Shared } else { Want::Exclusive }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        vec![(LockId::MmapSem(self.mm), self.want())]
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let sem = LockId::MmapSem(self.mm);
        loop {
            match &mut self.phase {
                Phase::Starting => {
                    if !kernel.lock::<M>(me, sem, self.want()) {
                        return Progress::Waiting(sem);
                    }
                    self.phase = Phase::Advising(self.start);
                    continue;
                }
                Phase::Advising(address) => {
                    let address = *address;
                    match self.advise::<M>(kernel, me, address) {
                        Ok(phase) => self.phase = phase,
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::Zapping(zap, next) => match zap.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Advising(*next),
                    Progress::Ran => {}
                    waiting => return waiting,
                },
                Phase::Unmerging(unmerge, from, to) => match unmerge.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let (result, from, to) = (unmerge.result(), *from, *to);
                        match self.unmerged::<M>(kernel, me, result, from, to) {
                            Ok(phase) => self.phase = phase,
                            Err(lock) => return Progress::Waiting(lock),
                        }
                    }
                    other => return other,
                },
                Phase::Done => return Progress::Done,
            }
            if let Phase::Done = self.phase {
                kernel.unlock::<M>(me, sem);
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) || kernel.pauses::<M>(LEAF_ENTRIES) {
                return Progress::Ran;
            }
        }
    }

    /// What is next for the area at `address`, or above the hole there.
    fn advise<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        address: u64,
    ) -> Result<Phase, LockId> {
        if address >= self.end {
            return Ok(Phase::Done);
        }
        let area = kernel.mms[self.mm].find_vma(address);
        let is_hole = area.is_none_or(|id| kernel.vmas[id].start > address);
        if is_hole {
            self.result = Err(Errno::NoMemory);
        }
        let Some(id) = area.filter(|&id| kernel.vmas[id].start < self.end) else {
            return Ok(Phase::Done);
        };
        let vma = &kernel.vmas[id];
        let (from, to) = (vma.start.max(address), vma.end.min(self.end));
        let (flags, is_written) = (vma.flags, vma.anon_vma.is_some());
        let is_io = flags.contains(VmFlags::IO);
        let wanted = match self.advice {
            Advice::DontNeed if flags.intersects(NEVER_DROPPED) => return Ok(self.refuse()),
            Advice::DontNeed => {
                let zap = RangeZap::new(Zapped { vma: id, only: None }, from..to);
                return Ok(Phase::Zapping(zap, to));
            }
            Advice::DoFork if is_io => return Ok(self.refuse()),
            Advice::Mergeable if flags.intersects(NEVER_MERGED) => flags,
            Advice::Mergeable => flags | VmFlags::MERGEABLE,
            Advice::Unmergeable if flags.contains(VmFlags::MERGEABLE) && is_written => {
                return Ok(Phase::Unmerging(Unmerge::new(self.mm, from..to), from, to));
            }
            Advice::Unmergeable => flags.difference(VmFlags::MERGEABLE),
            Advice::DontFork => flags | VmFlags::DONTCOPY,
            Advice::DoFork => flags.difference(VmFlags::DONTCOPY),
        };
        self.restyle::<M>(kernel, me, id, from..to, wanted)
    }

    /// No merged page is left in `from..to`, which KSM leaves alone from now on.
    fn unmerged<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        result: Result<(), Errno>,
        from: u64,
        to: u64,
    ) -> Result<Phase, LockId> {
        if let Err(errno) = result {
            self.result = Err(errno);
            return Ok(Phase::Done);
        }
        let id = kernel.mms[self.mm].area_at(&kernel.vmas, from).expect("mmap_sem is held");
        let flags = kernel.vmas[id].flags.difference(VmFlags::MERGEABLE);
        self.restyle::<M>(kernel, me, id, from..to, flags)
    }

    /// Gives a part of an area other flags; nothing where they are as wanted.
    fn restyle<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        id: VmaId,
        range: std::ops::Range<u64>,
        flags: VmFlags,
    ) -> Result<Phase, LockId> {
        let style = Style::of(&kernel.vmas[id]);
        if flags != style.flags {
            neighbours_are_free::<M>(kernel, me, id)?;
            let style = Style { flags, ..style };
            area::restyle(kernel, id, range.start, range.end, style, Merge::Both);
        }
        Ok(Phase::Advising(range.end))
    }

    fn refuse(&mut self) -> Phase {
        self.result = Err(Errno::Invalid);
        Phase::Done
    }
}
