//! A page comes back from its swap slot, with its neighbours (`swapin_readahead`).
//!
//! From "not in the swap cache" to a page in it, under a reference: supporting-paths 2.5, point 2.

use serde::{Deserialize, Serialize};

use super::allocate_for;
use crate::base::{MappingId, Pfn, SwapEntry, VmaId};
use crate::filemap::Lookup;
use crate::kernel::Kernel;
use crate::pagecache::{swapcache, transfer};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::unmap::passes;

/// Slots of one block of readahead.
const BLOCK_SLOTS: u32 = 8;

/// How far a read-in has got.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Choose the slots.
    Starting,
    /// Slots from the first to before the second are to be read, one a step.
    Reading(u32, u32),
    /// Is the page wanted there now?
    Looking(Lookup),
    /// It is not: read it alone.
    Alone,
    Done(Option<Pfn>),
}

/// What came of one slot.
enum Slot {
    /// On its way; the page, with the reference of its allocation.
    Read(Pfn),
    /// Nobody uses the slot, or its page is there already.
    Skipped,
    /// No frame.
    NoMemory,
}

/// One read-in of a slot, with its neighbours. All frames come by the policy for the one address.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct SwapRead {
    slot: SwapEntry,
    phase: Phase,
}

impl SwapRead {
    /// Will bring the page of `slot` into the swap cache.
    pub(super) const fn new(slot: SwapEntry) -> SwapRead {
        SwapRead { slot, phase: Phase::Starting }
    }

    /// The page, with a reference for the caller; it may be locked still by the disk. None if there
    /// was no frame, or nobody uses the slot any more. Only once done.
    pub(super) fn page(&self) -> Option<Pfn> {
        match self.phase {
            Phase::Done(page) => page,
            _ => unreachable!("asked before the page was read"),
        }
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting | Phase::Reading(..) | Phase::Alone => &["SP2.5-2-read"],
            Phase::Looking(lookup) => lookup.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// The page that it holds a reference to, while it is not done.
    pub(super) fn held_page(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Looking(lookup) => lookup.held_page(),
            _ => None,
        }
    }

    /// Makes one step, for a fault at `address` of `vma`.
    pub(super) fn advance<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        vma: VmaId,
        address: u64,
    ) -> Progress {
        let mut allocate = |kernel: &mut Kernel| allocate_for(kernel, me, vma, address);
        loop {
            match &mut self.phase {
                Phase::Starting => {
                    let (first, end) = window(kernel, self.slot);
                    self.phase = Phase::Reading(first, end);
                    continue;
                }
                &mut Phase::Reading(next, end) if next < end => {
                    let slot = SwapEntry::new(self.slot.device(), next);
                    match read::<M>(kernel, me, slot, &mut allocate) {
                        Ok(Slot::NoMemory) => self.phase = Phase::Reading(end, end),
                        Ok(Slot::Skipped) => {
                            self.phase = Phase::Reading(next + 1, end);
                            continue;
                        }
                        Ok(Slot::Read(page)) => {
                            kernel.put_page(page);
                            self.phase = Phase::Reading(next + 1, end);
                        }
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::Reading(..) => {
                    kernel.drain(me.cpu);
                    let lookup = Lookup::new(MappingId::SWAPPER, self.slot.neutral());
                    self.phase = Phase::Looking(lookup);
                }
                Phase::Looking(lookup) => match lookup.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let found = lookup.found();
                        self.phase = found.map_or(Phase::Alone, |page| Phase::Done(Some(page)));
                    }
                    other => return other,
                },
                Phase::Alone => match read::<M>(kernel, me, self.slot, &mut allocate) {
                    Ok(Slot::Read(page)) => self.phase = Phase::Done(Some(page)),
                    Ok(Slot::Skipped) if kernel.swaps.slot(self.slot).has_cache => {
                        let lookup = Lookup::new(MappingId::SWAPPER, self.slot.neutral());
                        self.phase = Phase::Looking(lookup);
                    }
                    Ok(Slot::Skipped | Slot::NoMemory) => self.phase = Phase::Done(None),
                    Err(lock) => return Progress::Waiting(lock),
                },
                Phase::Done(_) => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done(_)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }
}

/// The aligned block of `slot`: its first slot, and one past its last. Slot 0 is the header. Slots
/// that nobody uses, and those whose page is there already, are passed over.
fn window(kernel: &Kernel, slot: SwapEntry) -> (u32, u32) {
    let slots = &kernel.swaps.devices[usize::from(slot.device())].slots;
    let target = slot.offset();
    let block = target / BLOCK_SLOTS * BLOCK_SLOTS;
    let end = (block + BLOCK_SLOTS).min(slots.len() as u32);
    (block.max(1), end)
}

/// A new page for one slot, locked by the disk until it is read.
fn read<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    slot: SwapEntry,
    allocate: &mut impl FnMut(&mut Kernel) -> Option<Pfn>,
) -> Result<Slot, LockId> {
    let state = kernel.swaps.slot(slot);
    if state.uses == 0 || state.has_cache {
        return Ok(Slot::Skipped);
    }
    // Nobody else may be inside the index; it is changed within this step.
    passes::<M>(kernel, me, LockId::Tree(MappingId::SWAPPER))?;
    let Some(page) = allocate(kernel) else { return Ok(Slot::NoMemory) };
    assert!(kernel.try_lock_page::<M>(me, page), "a new page is unlocked");
    swapcache::add_for_reading(kernel, me, page, slot);
    transfer::start_read::<M>(kernel, me, page);
    Ok(Slot::Read(page))
}
