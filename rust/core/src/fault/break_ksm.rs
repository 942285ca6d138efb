//! Undoing a merge at one address: a write fault, whose copy is private again.

use serde::{Deserialize, Serialize};

use super::faulting::{Fault, Served};
use crate::base::{Errno, MappingId, MmId, Pfn, SwapEntry};
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// How far it has got.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Looking whether a page of KSM is there.
    Looking,
    /// One is, or may be; referenced, if it is mapped. The fault copies it.
    Faulting(Option<Pfn>, Fault),
    Done(Result<(), Errno>),
}

/// Write faults at one address until no page of KSM is mapped there. The caller holds `mmap_sem`
/// and a use of the memory all the while.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct BreakKsm {
    mm: MmId,
    address: u64,
    phase: Phase,
}

impl BreakKsm {
    /// Will give `address` a page of its own, if it has one of KSM's.
    pub const fn new(mm: MmId, address: u64) -> BreakKsm {
        BreakKsm { mm, address, phase: Phase::Looking }
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
            Phase::Looking => &["SP16-break"],
            Phase::Faulting(_, fault) => fault.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> [Option<Pfn>; 3] {
        match &self.phase {
            Phase::Faulting(page, fault) => {
                let [first, second] = fault.held_pages();
                [*page, first, second]
            }
            _ => [None; 3],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Looking => match self.look::<M>(kernel, me) {
                    Ok(phase) => self.phase = phase,
                    Err(lock) => return Progress::Waiting(lock),
                },
                Phase::Faulting(page, fault) => match fault.advance::<M>(kernel, me) {
                    Progress::Done => {
                        if let Some(page) = *page {
                            kernel.put_page(page);
                        }
                        // A fault may back out because the entry changed, and say that it copied
                        // all the same (2.4): only another look can tell.
                        self.phase = match fault.served() {
                            Served::OutOfMemory => Phase::Done(Err(Errno::NoMemory)),
                            Served::BusError => Phase::Done(Ok(())),
                            _ => Phase::Looking,
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

    /// What is at the address: nothing to be done, or a write fault, which copies a page that is there,
    /// brings back one of the swap cache, and waits for one that is being moved. If it were not waited
    /// for, `mremap` could carry it where no item leads.
    fn look<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        let done = Ok(Phase::Done(Ok(())));
        let root = kernel.mms[self.mm].root;
        let Some(leaf) = kernel.tables.find_leaf(root, self.address) else { return done };
        let Some(vma) = kernel.mms[self.mm].area_at(&kernel.vmas, self.address) else {
            return done;
        };
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        let entry = kernel.tables.get(leaf, leaf_index(self.address));
        let page = entry.normal_page().filter(|_| entry.is_present());
        let page = page.filter(|&page| kernel.frames[page].is_ksm());
        if let Some(page) = page {
            kernel.frames[page].get();
        }
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        if page.is_none() && !may_come_back_merged(kernel, entry) {
            return done;
        }
        Ok(Phase::Faulting(page, Fault::new(kernel, vma, self.address, true)))
    }
}

/// Whether a page of KSM may come back where this entry is: one that is being moved (whose old frame
/// belongs to nothing once it was copied), or one in the swap cache.
fn may_come_back_merged(kernel: &Kernel, entry: Entry) -> bool {
    if let Some((old, _)) = entry.as_migration() {
        return kernel.frames[old].is_ksm() || kernel.frames[old].is_unowned();
    }
    let slot = entry.as_swap().map(SwapEntry::neutral);
    let cached = slot.and_then(|slot| kernel.mappings[MappingId::SWAPPER].tree.get(slot));
    cached.is_some_and(|page| kernel.frames[page].is_ksm())
}
