//! Undoing a merge at one address: a write fault, whose copy is private again.

use super::faulting::{Fault, Served};
use super::pin::{Follow, follow_page_locked};
use crate::base::{Errno, MmId, Pfn};
use crate::kernel::Kernel;
use crate::step::{Label, Me, Mode, Point, Progress};

/// How far it has got.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Looking whether a page of KSM is mapped there.
    Following,
    /// One is, referenced: the fault copies it.
    Faulting(Pfn, Fault),
    Done(Result<(), Errno>),
}

/// Write faults at one address until no page of KSM is mapped there. The caller holds `mmap_sem`
/// and a use of the memory all the while.
#[derive(Clone, Copy, Debug)]
pub struct BreakKsm {
    mm: MmId,
    address: u64,
    phase: Phase,
}

impl BreakKsm {
    /// Will give `address` a page of its own, if it has one of KSM's.
    pub const fn new(mm: MmId, address: u64) -> BreakKsm {
        BreakKsm { mm, address, phase: Phase::Following }
    }

    /// 0, or `NoMemory` if there was no frame for the copy. Only once done.
    pub fn result(&self) -> Result<(), Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the copy was made"),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Following => &["SP16-break"],
            Phase::Faulting(_, fault) => fault.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> [Option<Pfn>; 3] {
        match &self.phase {
            Phase::Faulting(page, fault) => {
                let [first, second] = fault.held_pages();
                [Some(*page), first, second]
            }
            _ => [None; 3],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Following => {
                    let how = Follow { get: true, ..Follow::default() };
                    match follow_page_locked::<M>(kernel, me, self.mm, self.address, how) {
                        Err(lock) => return Progress::Waiting(lock),
                        Ok(found) => self.found(kernel, found.ok().flatten()),
                    }
                }
                Phase::Faulting(page, fault) => match fault.advance::<M>(kernel, me) {
                    Progress::Done => {
                        kernel.put_page(*page);
                        // A fault may back out because the entry changed, and say that it copied
                        // all the same (2.4): only another look can tell.
                        self.phase = match fault.served() {
                            Served::OutOfMemory => Phase::Done(Err(Errno::NoMemory)),
                            Served::BusError => Phase::Done(Ok(())),
                            _ => Phase::Following,
                        };
                    }
                    other => return other,
                },
                Phase::Done(_) => return Progress::Done,
            }
            if let Phase::Done(_) = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// A page of KSM is kept and copied; any other, or none, is what was wanted.
    fn found(&mut self, kernel: &mut Kernel, page: Option<Pfn>) {
        let area = kernel.mms[self.mm].area_at(&kernel.vmas, self.address);
        self.phase = match (page, area) {
            (Some(page), Some(vma)) if kernel.frames[page].is_ksm() => {
                Phase::Faulting(page, Fault::new(kernel, vma, self.address, true))
            }
            _ => Phase::Done(Ok(())),
        };
        if let (Some(page), Phase::Done(_)) = (page, self.phase) {
            kernel.put_page(page);
        }
    }
}
