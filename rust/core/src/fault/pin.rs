//! `follow_page` and `get_user_pages`: references to pages found through a page table.

use serde::{Deserialize, Serialize};

use super::faulting::{Fault, Served};
use crate::base::{Errno, MmId, PAGE_SIZE, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::pagecache::dirty;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::lru;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// What `follow_page` shall do besides finding the page (supporting-paths 1).
#[derive(Clone, Copy, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Follow {
    /// FOLL_WRITE: only through a writable entry.
    pub write: bool,
    /// FOLL_TOUCH: note the use, and for a write the dirtying.
    pub touch: bool,
    /// FOLL_GET: take a reference.
    pub get: bool,
    /// FOLL_DUMP: the zero page is an error, and so are holes of an area without fault method.
    pub dump: bool,
    /// Whether the area has a fault method, as those that map a file have: its holes are no errors.
    pub has_fault_method: bool,
}

/// The page at `address`, if it is present; its caller sees to the leaf lock.
///
/// # Errors
/// `Fault` for an entry that is no ordinary page, unless it is the zero page and no dump.
#[inline]
pub fn follow_page(
    kernel: &mut Kernel,
    mm: MmId,
    address: u64,
    follow: Follow,
) -> Result<Option<Pfn>, Errno> {
    kernel.cost.walks += 1;
    let root = kernel.mms[mm].root;
    let leaf = kernel.tables.leaf_of(root, address);
    let entry = leaf.map_or(Entry::NONE, |leaf| kernel.tables.get(leaf, leaf_index(address)));
    if entry.is_none() && follow.dump && !follow.has_fault_method {
        return Err(Errno::Fault);
    }
    if !entry.is_present() || (follow.write && !entry.has(Entry::WRITABLE)) {
        return Ok(None);
    }
    let page = match entry.normal_page() {
        Some(page) => page,
        None if follow.dump || entry.pfn() != kernel.frames.zero_page() => {
            return Err(Errno::Fault);
        }
        None => kernel.frames.zero_page(),
    };
    if follow.get {
        kernel.frames[page].get();
    }
    if follow.touch {
        let is_dirty = entry.has(Entry::DIRTY) || kernel.frames[page].has(PageFlags::DIRTY);
        if follow.write && !is_dirty {
            dirty::set_page_dirty(kernel, page);
        }
        let Kernel { frames, zones, lru, .. } = kernel;
        lru::mark_accessed(frames, zones, lru, page);
    }
    Ok(Some(page))
}

/// [`follow_page`] under the leaf lock.
///
/// # Errors
/// The lock to wait for, if somebody else holds it.
#[inline]
pub fn follow_page_locked<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    mm: MmId,
    address: u64,
    follow: Follow,
) -> Result<Result<Option<Pfn>, Errno>, LockId> {
    if !M::STEPS {
        return Ok(follow_page(kernel, mm, address, follow));
    }
    let leaf = kernel.tables.find_leaf(kernel.mms[mm].root, address).map(LockId::Leaf);
    if let Some(lock) = leaf.filter(|&lock| !kernel.lock::<M>(me, lock, Want::Exclusive)) {
        return Err(lock);
    }
    let found = follow_page(kernel, mm, address, follow);
    if let Some(lock) = leaf {
        kernel.unlock::<M>(me, lock);
    }
    Ok(found)
}

/// How far a pin has got.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    Following(VmaId),
    Faulting(VmaId, Fault),
    Done(Result<Pfn, Errno>),
}

/// One page pinned through `get_user_pages` (supporting-paths 17).
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Pin {
    mm: MmId,
    address: u64,
    is_write: bool,
    /// Whether somebody above holds `mmap_sem` already, as mlock does.
    is_nested: bool,
    phase: Phase,
}

impl Pin {
    /// Will take `mmap_sem` and pin the page at `address` for loads or stores.
    pub const fn new(mm: MmId, address: u64, is_write: bool) -> Pin {
        Pin { mm, address, is_write, is_nested: false, phase: Phase::Starting }
    }

    /// The same for a caller that holds `mmap_sem`.
    pub const fn nested(mm: MmId, address: u64, is_write: bool) -> Pin {
        Pin { mm, address, is_write, is_nested: true, phase: Phase::Starting }
    }

    /// The page, referenced; or why not. Only once done.
    pub fn result(&self) -> Result<Pfn, Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the pin was done"),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting | Phase::Following(_) => &["SP17-follow"],
            Phase::Faulting(_, fault) => fault.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Pages that it holds one reference each to. Its result counts only once it is taken over.
    pub fn held_pages(&self) -> [Option<Pfn>; 2] {
        match &self.phase {
            Phase::Faulting(_, fault) => fault.held_pages(),
            _ => [None, None],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Starting => {
                    let sem = LockId::MmapSem(self.mm);
                    if !self.is_nested && !kernel.lock::<M>(me, sem, Want::Shared) {
                        return Progress::Waiting(sem);
                    }
                    let needed = if self.is_write { VmFlags::WRITE } else { VmFlags::READ };
                    let area = kernel.mms[self.mm].area_at(&kernel.vmas, self.address);
                    let area = area.filter(|&vma| {
                        let flags = kernel.vmas[vma].flags;
                        flags.contains(needed) && !flags.intersects(VmFlags::IO | VmFlags::PFNMAP)
                    });
                    match area {
                        Some(vma) => self.phase = Phase::Following(vma),
                        None => self.end::<M>(kernel, me, Err(Errno::Fault)),
                    }
                    if let Phase::Following(_) = self.phase {
                        continue;
                    }
                }
                Phase::Following(vma) => {
                    let vma = *vma;
                    if let Err(lock) = self.follow::<M>(kernel, me, vma) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Faulting(vma, fault) => {
                    let vma = *vma;
                    match fault.advance::<M>(kernel, me) {
                        Progress::Done if fault.served() == Served::OutOfMemory => {
                            self.end::<M>(kernel, me, Err(Errno::NoMemory));
                        }
                        Progress::Done if fault.served() == Served::BusError => {
                            self.end::<M>(kernel, me, Err(Errno::Fault));
                        }
                        Progress::Done => self.phase = Phase::Following(vma),
                        other => return other,
                    }
                }
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

    /// One look, leaf locked; a fault if the page is not there.
    fn follow<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, vma: VmaId) -> Result<(), LockId> {
        let how = Follow { write: self.is_write, touch: true, get: true, ..Follow::default() };
        match follow_page_locked::<M>(kernel, me, self.mm, self.address, how)? {
            Ok(Some(page)) => self.end::<M>(kernel, me, Ok(page)),
            Ok(None) => {
                let page = self.address & !(PAGE_SIZE - 1);
                self.phase = Phase::Faulting(vma, Fault::new(kernel, vma, page, self.is_write));
            }
            Err(errno) => self.end::<M>(kernel, me, Err(errno)),
        }
        Ok(())
    }

    fn end<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, result: Result<Pfn, Errno>) {
        if !self.is_nested {
            kernel.unlock::<M>(me, LockId::MmapSem(self.mm));
        }
        self.phase = Phase::Done(result);
    }
}
