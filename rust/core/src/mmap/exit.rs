//! The end of a task, and of its memory when nobody uses that any more.

use serde::{Deserialize, Serialize};

use super::munlock::Munlock;
use super::teardown::Teardown;
use crate::base::{MmId, Pfn};
use crate::kernel::Kernel;
use crate::state::lock::AtPause;
use crate::state::mm::VmFlags;
use crate::step::{Label, Me, Mode, Point, Progress};

/// Past the last address that a table can cover.
const TOP: u64 = 1 << 47;

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum ReleasePhase {
    Starting,
    /// Munlocking the area after this address.
    Munlocking(u64, Option<Munlock>),
    TearingDown(Teardown),
    Done,
}

/// One user less of an address space; the last one tears it down (`exit_mmap`, without
/// `mmap_sem`).
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct MmRelease {
    mm: MmId,
    phase: ReleasePhase,
}

impl MmRelease {
    /// Will drop one use of `mm`.
    pub const fn new(mm: MmId) -> MmRelease {
        MmRelease { mm, phase: ReleasePhase::Starting }
    }

    /// The memory, while its use has not been dropped.
    pub const fn mm_in_use(&self) -> Option<MmId> {
        match self.phase {
            ReleasePhase::Starting => Some(self.mm),
            _ => None,
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            ReleasePhase::Starting => &["MV-8", "SP6-exit-mmap"],
            ReleasePhase::Munlocking(..) => &["SP6-munlock"],
            ReleasePhase::TearingDown(teardown) => teardown.labels(),
            ReleasePhase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            ReleasePhase::Munlocking(_, Some(munlock)) => munlock.held_pages(),
            ReleasePhase::TearingDown(teardown) => teardown.held_pages(),
            _ => Vec::new(),
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        match &self.phase {
            ReleasePhase::TearingDown(teardown) => teardown.locks_at_pause(),
            _ => AtPause::new(),
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                ReleasePhase::Starting => {
                    let mm = &mut kernel.mms[self.mm];
                    mm.users -= 1;
                    if mm.users > 0 {
                        self.phase = ReleasePhase::Done;
                        return Progress::Done;
                    }
                    self.phase = ReleasePhase::Munlocking(0, None);
                }
                ReleasePhase::Munlocking(_, Some(munlock)) => {
                    match munlock.advance::<M>(kernel, me) {
                        Progress::Done => {
                            let ReleasePhase::Munlocking(from, _) = self.phase else {
                                unreachable!()
                            };
                            self.phase = ReleasePhase::Munlocking(from, None);
                        }
                        other => return other,
                    }
                }
                ReleasePhase::Munlocking(from, None) => {
                    let from = *from;
                    self.phase = self.next_locked(kernel, from);
                    continue;
                }
                ReleasePhase::TearingDown(teardown) => match teardown.advance::<M>(kernel, me) {
                    Progress::Done => {
                        kernel.ksm.note_exit(self.mm);
                        let mm = kernel.mms.remove(self.mm);
                        kernel.tables.free_root(mm.root);
                        kernel.swaps.mms.remove(&self.mm);
                        self.phase = ReleasePhase::Done;
                        return Progress::Done;
                    }
                    other => return other,
                },
                ReleasePhase::Done => return Progress::Done,
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// The next VM_LOCKED area, or the teardown of all of them.
    fn next_locked(&self, kernel: &mut Kernel, from: u64) -> ReleasePhase {
        let mut from = from;
        while let Some(id) = kernel.mms[self.mm].find_vma(from) {
            let vma = &mut kernel.vmas[id];
            let (start, end, flags) = (vma.start, vma.end, vma.flags);
            if flags.contains(VmFlags::LOCKED) {
                vma.set_flags(flags.difference(VmFlags::LOCKED));
                return ReleasePhase::Munlocking(
                    end,
                    Some(Munlock::new(kernel, self.mm, start, end, false)),
                );
            }
            from = end;
        }
        let areas = kernel.mms[self.mm].areas().collect();
        ReleasePhase::TearingDown(Teardown::new(self.mm, areas, 0..TOP))
    }
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Leaving,
    Releasing(MmRelease),
    Going,
    Done,
}

/// One exit: the task loses its memory first, and is found no more at the end.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Exit {
    phase: Phase,
}

impl Exit {
    /// Will end the task that makes the call.
    pub const fn new() -> Exit {
        Exit { phase: Phase::Leaving }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Leaving => &["SP6-exit"],
            Phase::Releasing(release) => release.labels(),
            Phase::Going => &["SP6-gone"],
            Phase::Done => &[],
        }
    }

    /// The memory, while its use has not been dropped.
    pub const fn mm_in_use(&self) -> Option<MmId> {
        match &self.phase {
            Phase::Releasing(release) => release.mm_in_use(),
            _ => None,
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Releasing(release) => release.held_pages(),
            _ => Vec::new(),
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        match &self.phase {
            Phase::Releasing(release) => release.locks_at_pause(),
            _ => AtPause::new(),
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Leaving => {
                    kernel.tasks[me.task].is_exiting = true;
                    self.phase = match kernel.tasks[me.task].mm.take() {
                        Some(mm) => Phase::Releasing(MmRelease::new(mm)),
                        None => Phase::Going,
                    };
                }
                Phase::Releasing(release) => match release.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Going,
                    other => return other,
                },
                Phase::Going => {
                    kernel.tasks.remove(me.task);
                    self.phase = Phase::Done;
                    return Progress::Done;
                }
                Phase::Done => return Progress::Done,
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }
}

impl Default for Exit {
    fn default() -> Self {
        Exit::new()
    }
}
