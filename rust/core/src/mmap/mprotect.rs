//! `mprotect`: other permissions for a range.

use serde::{Deserialize, Serialize};

use super::area::{self, Merge, Style};
use super::neighbours_are_free;
use crate::base::{Bugs, Errno, MmId, PAGE_SIZE, TableId};
use crate::kernel::Kernel;
use crate::state::lock::{AtPause, Want};
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, LEAF_ENTRIES, leaf_index, leaf_span_end};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// The area at this address is next.
    Restyling(u64),
    /// Entries from `address` to `end` are to be changed.
    Changing {
        address: u64,
        end: u64,
    },
    Done(Result<(), Errno>),
}

/// One `mprotect` of a checked range.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Mprotect {
    mm: MmId,
    start: u64,
    end: u64,
    protection: VmFlags,
    phase: Phase,
}

impl Mprotect {
    /// Will permit what `protection` says in `start..end`.
    pub fn new(mm: MmId, start: u64, end: u64, protection: VmFlags) -> Mprotect {
        let protection = protection & VmFlags::PROTECTION;
        Mprotect { mm, start, end, protection, phase: Phase::Starting }
    }

    /// 0, or why not: `NoMemory` where nothing is mapped. Only once done.
    pub fn result(&self) -> Result<(), Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the call was done"),
        }
    }

    /// The steps that the next advance makes.
    pub const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Starting | Phase::Restyling(_) => &["SP6-mprotect"],
            Phase::Changing { .. } => &["SP6-change"],
            Phase::Done(_) => &[],
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        vec![(LockId::MmapSem(self.mm), Want::Exclusive)]
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let sem = LockId::MmapSem(self.mm);
        loop {
            match self.phase {
                Phase::Starting => {
                    if !kernel.lock::<M>(me, sem, Want::Exclusive) {
                        return Progress::Waiting(sem);
                    }
                    self.phase = Phase::Restyling(self.start);
                    continue;
                }
                Phase::Restyling(address) => {
                    if let Err(lock) = self.restyle::<M>(kernel, me, address) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Changing { address, end } => {
                    let root = kernel.mms[self.mm].root;
                    let stop = leaf_span_end(address).min(end);
                    if let Some(leaf) = kernel.tables.find_leaf(root, address) {
                        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
                            return Progress::Waiting(LockId::Leaf(leaf));
                        }
                        self.change::<M>(kernel, leaf, address, stop);
                        kernel.unlock::<M>(me, LockId::Leaf(leaf));
                    }
                    self.phase = if stop == end {
                        Phase::Restyling(end)
                    } else {
                        Phase::Changing { address: stop, end }
                    };
                }
                Phase::Done(_) => return Progress::Done,
            }
            if let Phase::Done(_) = self.phase {
                kernel.unlock::<M>(me, sem);
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) || kernel.pauses::<M>(LEAF_ENTRIES) {
                return Progress::Ran;
            }
        }
    }

    /// Gives the area at `address` its new flags; nothing at all if they stay the same.
    fn restyle<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        address: u64,
    ) -> Result<(), LockId> {
        if address >= self.end {
            self.phase = Phase::Done(Ok(()));
            return Ok(());
        }
        let Some(id) = kernel.mms[self.mm].area_at(&kernel.vmas, address) else {
            self.phase = Phase::Done(Err(Errno::NoMemory));
            return Ok(());
        };
        let end = kernel.vmas[id].end.min(self.end);
        let style = Style::of(&kernel.vmas[id]);
        let flags = style.flags.difference(VmFlags::PROTECTION) | self.protection;
        self.phase = Phase::Restyling(end);
        if flags != style.flags {
            neighbours_are_free::<M>(kernel, me, id).inspect_err(|_| {
                self.phase = Phase::Restyling(address);
            })?;
            area::restyle(kernel, id, address, end, Style { flags, ..style }, Merge::Both);
            self.phase = Phase::Changing { address, end };
        }
        Ok(())
    }

    /// Present entries get the area's protection; write migration entries are always downgraded (Q27).
    fn change<M: Mode>(&self, kernel: &mut Kernel, leaf: TableId, from: u64, to: u64) {
        let area = kernel.mms[self.mm].area_at(&kernel.vmas, from).expect("just restyled");
        let area = &kernel.vmas[area];
        let protection = area.protection;
        // Who has been told of the first store need not hear of the next one.
        let keeps_writable = area.wants_notice && area.is_shared_writable();
        for address in (from..to).step_by(PAGE_SIZE as usize) {
            let at = leaf_index(address);
            let entry = kernel.tables.get(leaf, at);
            if entry.is_present() {
                let is_writable = keeps_writable && entry.has(Entry::DIRTY);
                let writable = if is_writable { Entry::WRITABLE } else { 0 };
                kernel.tables.set(leaf, at, entry.reprotected(protection).with(writable));
                kernel.cost.flushes += 1;
            } else if let Some((page, true)) =
                entry.as_migration().filter(|_| !kernel.has_bug::<M>(Bugs::MPROTECT_KEEPS_WRITE))
            {
                kernel.tables.set(leaf, at, Entry::migration(page, false));
            }
        }
    }
}
