//! One fault, from the unlocked look at the entry to the entry that serves the access.

use serde::{Deserialize, Serialize};

use super::allocate_for;
use super::copy_on_write::CopyOnWrite;
use super::entry_wait::EntryWait;
use super::file::FileFault;
use super::swap_in::SwapIn;
use crate::base::{MmId, Pfn, TableId, VmaId};
use crate::kernel::{ChargeKind, Kernel};
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress, Run};
use crate::unmap::mapcount;

/// How a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Served {
    /// A page or the zero page was mapped.
    Minor,
    /// A page was mapped, and had to be read from disk or swap first.
    Major,
    /// Copy-on-write was broken, by copying or by reuse (result WRITE).
    CopyOnWrite,
    /// The entry was not what it had been: the access tries again.
    Nothing,
    /// The page is frozen, just now: the access tries again, and again (S06).
    Frozen,
    /// No frame was to be had.
    OutOfMemory,
    /// There is no such page: beyond the end of the file, or it cannot be read.
    BusError,
}

/// How far a fault has got.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Dispatch on an unlocked read of the entry.
    Dispatching,
    /// The entry was present: look again under the leaf lock.
    Present(Entry),
    /// Install the zero page.
    MappingZero,
    /// Prepare the area's list and take a frame.
    Allocating,
    /// Install the new page.
    Installing(Pfn),
    /// A page of a file.
    File(FileFault),
    /// A store to a read-only entry.
    Writing(CopyOnWrite),
    /// The page is being moved.
    Waiting(EntryWait),
    /// The page is in swap.
    Swapped(SwapIn),
    Done(Served),
}

/// `handle_mm_fault` for one address of one area. Its caller holds `mmap_sem`.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Fault {
    mm: MmId,
    vma: VmaId,
    address: u64,
    is_write: bool,
    /// Whether the page had to be read from swap before a store could go on.
    was_read: bool,
    phase: Phase,
}

impl Fault {
    /// A fault at `address` of `vma`, which contains it and permits the access.
    #[inline]
    pub fn new(kernel: &Kernel, vma: VmaId, address: u64, is_write: bool) -> Fault {
        let mm = kernel.vmas[vma].mm;
        Fault { mm, vma, address, is_write, was_read: false, phase: Phase::Dispatching }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Dispatching => &["SP2-fault"],
            Phase::Present(_) => &["SP2.4-1", "SP2.4-2"],
            Phase::MappingZero => &["SP2.2-read"],
            Phase::Allocating => &["SP2.2-write"],
            Phase::Installing(_) => &["SP2.2-install"],
            Phase::File(file) => file.labels(),
            Phase::Writing(cow) => cow.labels(),
            Phase::Waiting(wait) => wait.labels(),
            Phase::Swapped(swap_in) => swap_in.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> [Option<Pfn>; 2] {
        match &self.phase {
            Phase::Installing(page) => [Some(*page), None],
            Phase::File(file) => file.held_pages(),
            Phase::Writing(cow) => cow.held_pages(),
            Phase::Waiting(wait) => [wait.held_page(), None],
            Phase::Swapped(swap_in) => swap_in.held_pages(),
            _ => [None, None],
        }
    }

    /// How it ended, once done.
    #[inline]
    pub fn served(&self) -> Served {
        match self.phase {
            Phase::Done(Served::CopyOnWrite | Served::Nothing) if self.was_read => Served::Major,
            Phase::Done(served) => served,
            _ => unreachable!("asked before the fault was done"),
        }
    }

    /// Serves the most frequent fault without going through the phases: a store to anonymous memory
    /// where nothing is, with nobody else on the machine. None for any other, which has not begun.
    #[inline]
    pub fn serve_alone(&self, kernel: &mut Kernel, me: Me) -> Option<Served> {
        if !self.is_write || kernel.vmas[self.vma].file.is_some() {
            return None;
        }
        let leaf = kernel.tables.leaf_of(kernel.mms[self.mm].root, self.address)?;
        if !kernel.tables.get(leaf, leaf_index(self.address)).is_none() {
            return None;
        }
        kernel.cost.faults += 1;
        kernel.cost.walks += 1;
        let alone = "nobody holds a lock";
        let Some(page) = self.new_page::<Run>(kernel, me).expect(alone) else {
            return Some(Served::OutOfMemory);
        };
        Some(self.install::<Run>(kernel, me, page).expect(alone))
    }

    /// Makes one step.
    #[inline]
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Dispatching => self.phase = self.dispatch(kernel),
                Phase::Present(entry) => {
                    let entry = *entry;
                    match self.present::<M>(kernel, me, entry) {
                        Ok(next) => self.phase = next,
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::MappingZero => match self.map_zero::<M>(kernel, me) {
                    Ok(served) => self.phase = Phase::Done(served),
                    Err(lock) => return Progress::Waiting(lock),
                },
                Phase::Allocating => match self.new_page::<M>(kernel, me) {
                    Ok(Some(page)) => self.phase = Phase::Installing(page),
                    Ok(None) => self.phase = Phase::Done(Served::OutOfMemory),
                    Err(lock) => return Progress::Waiting(lock),
                },
                Phase::Installing(page) => {
                    let page = *page;
                    match self.install::<M>(kernel, me, page) {
                        Ok(served) => self.phase = Phase::Done(served),
                        Err(lock) => return Progress::Waiting(lock),
                    }
                }
                Phase::File(file) => match file.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Done(file.served()),
                    other => return other,
                },
                Phase::Writing(cow) => match cow.advance::<M>(kernel, me) {
                    Progress::Done => {
                        self.phase = Phase::Done(cow.ended().expect("it is done"));
                    }
                    other => return other,
                },
                Phase::Waiting(wait) => match wait.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let is_frozen = wait.was_turned_away();
                        let served = if is_frozen { Served::Frozen } else { Served::Nothing };
                        self.phase = Phase::Done(served);
                    }
                    other => return other,
                },
                Phase::Swapped(swap_in) => match swap_in.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let (served, store) = swap_in.ended();
                        self.was_read = served == Served::Major;
                        self.phase = store.map_or(Phase::Done(served), |store| {
                            store.ended().map_or(Phase::Writing(store), Phase::Done)
                        });
                    }
                    other => return other,
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

    /// Missing tables are made here; then what is at the address decides.
    #[inline]
    fn dispatch(&self, kernel: &mut Kernel) -> Phase {
        kernel.cost.faults += 1;
        kernel.cost.walks += 1;
        let root = kernel.mms[self.mm].root;
        let found = kernel.tables.leaf_of(root, self.address);
        let Some(leaf) = found.or_else(|| kernel.tables.make_leaf(root, self.address)) else {
            return Phase::Done(Served::OutOfMemory);
        };
        let entry = kernel.tables.get(leaf, leaf_index(self.address));
        if entry.is_none() {
            let of_file = FileFault::new(kernel, self.vma, self.address, leaf, self.is_write);
            match of_file {
                Some(fault) => Phase::File(fault),
                None if self.is_write => Phase::Allocating,
                None => Phase::MappingZero,
            }
        } else if entry.is_present() {
            Phase::Present(entry)
        } else if let Some(slot) = entry.as_swap() {
            Phase::Swapped(SwapIn::new(self.mm, self.vma, self.address, slot, self.is_write))
        } else {
            Phase::Waiting(EntryWait::new(self.mm, self.address))
        }
    }

    /// The leaf table of the address, which the dispatch made.
    #[inline]
    fn leaf(&self, kernel: &mut Kernel) -> TableId {
        let root = kernel.mms[self.mm].root;
        kernel.tables.leaf_of(root, self.address).expect("tables of a used area stay")
    }

    /// A present entry, looked at again under its lock.
    fn present<M: Mode>(&self, kernel: &mut Kernel, me: Me, seen: Entry) -> Result<Phase, LockId> {
        let leaf = self.leaf(kernel);
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        let at = leaf_index(self.address);
        let entry = kernel.tables.get(leaf, at);
        if entry == seen && self.is_write && !entry.has(Entry::WRITABLE) {
            let mut cow = CopyOnWrite::new(self.vma, self.address, leaf, entry);
            cow.begin::<M>(kernel, me);
            return Ok(cow.ended().map_or(Phase::Writing(cow), Phase::Done));
        }
        if entry == seen && self.is_write {
            kernel.tables.set(leaf, at, entry.with(Entry::DIRTY | Entry::ACCESSED));
        }
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        Ok(Phase::Done(Served::Nothing))
    }

    /// Read access to nothing: the zero page, which is neither counted nor referenced.
    fn map_zero<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Result<Served, LockId> {
        let leaf = self.leaf(kernel);
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        let at = leaf_index(self.address);
        let is_none = kernel.tables.get(leaf, at).is_none();
        if is_none {
            let protection = kernel.vmas[self.vma].protection;
            let entry = Entry::page(kernel.frames.zero_page(), protection | Entry::SPECIAL);
            kernel.tables.set(leaf, at, entry);
        }
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        Ok(if is_none { Served::Minor } else { Served::Nothing })
    }

    /// Write access to nothing: a zeroed frame by policy, charged; none if there is none to be had.
    #[inline]
    fn new_page<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Result<Option<Pfn>, LockId> {
        prepare_list::<M>(kernel, me, self.vma)?;
        let Some(page) = allocate_for(kernel, me, self.vma, self.address) else {
            return Ok(None);
        };
        kernel.contents.clear(page);
        kernel.frames[page].set(PageFlags::UPTODATE);
        if kernel.memcgs.are_on() && kernel.charge(me, page, ChargeKind::Mapped).is_err() {
            kernel.put_page(page);
            return Ok(None);
        }
        Ok(Some(page))
    }

    /// The new page goes in, unless somebody else was faster.
    #[inline]
    fn install<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Served, LockId> {
        let leaf = self.leaf(kernel);
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        let at = leaf_index(self.address);
        let served = if kernel.tables.get(leaf, at).is_none() {
            let area = &kernel.vmas[self.vma];
            let may_write = area.flags.contains(VmFlags::WRITE);
            let bits = if may_write { Entry::WRITABLE | Entry::DIRTY } else { 0 };
            let entry = Entry::page(page, area.protection | bits);
            kernel.mms[self.mm].resident.anon += 1;
            mapcount::add_new_anon(kernel, me.cpu, page, self.vma, self.address);
            kernel.tables.set(leaf, at, entry);
            Served::Minor
        } else {
            kernel.uncharge_unmapped(page);
            kernel.put_page(page);
            Served::Nothing
        };
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        Ok(served)
    }
}

/// `anon_vma_prepare`, with the lock of the list that the area joins.
#[inline]
pub(super) fn prepare_list<M: Mode>(kernel: &mut Kernel, me: Me, vma: VmaId) -> Result<(), LockId> {
    if kernel.vmas[vma].anon_vma.is_some() {
        return Ok(());
    }
    let Kernel { anon_vmas, mms, vmas, .. } = kernel;
    let mm = &mms[vmas[vma].mm];
    let shared = anon_vmas.list_to_join(mm, vmas, vma);
    if let Some(list) = shared {
        if !kernel.lock::<M>(me, LockId::AnonVma(list), Want::Exclusive) {
            return Err(LockId::AnonVma(list));
        }
    }
    let Kernel { anon_vmas, mms, vmas, .. } = kernel;
    let mm = &mms[vmas[vma].mm];
    anon_vmas.prepare(mm, vmas, vma);
    if let Some(list) = shared {
        kernel.unlock::<M>(me, LockId::AnonVma(list));
    }
    Ok(())
}
