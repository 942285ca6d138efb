//! `mlock` and `munlock`: pages that must stay (supporting-paths 15).

use serde::{Deserialize, Serialize};

use super::area::{self, Merge, Style};
use super::munlock::Munlock;
use super::neighbours_are_free;
use crate::base::{Errno, MmId, PAGE_SIZE, Pfn};
use crate::fault::Pin;
use crate::kernel::Kernel;
use crate::state::lock::{AtPause, Want};
use crate::state::mm::VmFlags;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// Pages pinned before they are locked together.
const BATCH_PAGES: usize = 16;

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// `mlock` only: all CPUs' pagevecs.
    Draining,
    /// The area at this address is next.
    Restyling(u64),
    /// Pinning the page at `address`.
    Pinning {
        address: u64,
        end: u64,
        pin: Pin,
    },
    /// Locking the pages of the batch, first to last; then on from `address`, unless the area ends.
    Locking {
        address: u64,
        end: u64,
        has_drained: bool,
    },
    Munlocking(Munlock, u64),
    Done,
}

/// One `mlock` or `munlock` of a checked range.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Mlock {
    mm: MmId,
    start: u64,
    end: u64,
    is_lock: bool,
    /// Whether somebody above holds `mmap_sem` already, as mremap does.
    is_nested: bool,
    batch: Vec<Pfn>,
    /// Whether the call waits for the lock of the batch's first page.
    has_queued: bool,
    /// The first thing that went wrong.
    result: Result<(), Errno>,
    phase: Phase,
}

impl Mlock {
    /// Will lock or unlock `start..end`.
    pub const fn new(mm: MmId, start: u64, end: u64, is_lock: bool) -> Mlock {
        let phase = if is_lock { Phase::Draining } else { Phase::Starting };
        Mlock {
            mm,
            start,
            end,
            is_lock,
            is_nested: false,
            batch: Vec::new(),
            has_queued: false,
            result: Ok(()),
            phase,
        }
    }

    /// Will fault in and lock the pages of `start..end`, a part of a VM_LOCKED area, for a caller that
    /// holds `mmap_sem`.
    pub(super) fn populating(kernel: &Kernel, mm: MmId, start: u64, end: u64) -> Mlock {
        let mut mlock = Mlock { is_nested: true, ..Mlock::new(mm, start, end, true) };
        mlock.phase = mlock.pin(kernel, start, end);
        mlock
    }

    /// 0, or the first thing that went wrong: `NoMemory` where nothing is mapped or may be
    /// touched, `Again` where there was no frame. What was locked stays.
    pub const fn result(&self) -> Result<(), Errno> {
        self.result
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Draining => &["SP15-drain"],
            Phase::Starting | Phase::Restyling(_) => &["SP15-mlock"],
            Phase::Pinning { pin, .. } => pin.labels(),
            Phase::Locking { .. } => &["SP15-page"],
            Phase::Munlocking(munlock, _) => munlock.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        let mut pages = self.batch.clone();
        match &self.phase {
            Phase::Pinning { pin, .. } => pages.extend(pin.held_pages().into_iter().flatten()),
            Phase::Munlocking(munlock, _) => pages.extend(munlock.held_pages()),
            _ => {}
        }
        pages
    }

    /// The locks that it has at a pause; those of its caller, if it is nested, are not among them.
    pub fn locks_at_pause(&self) -> AtPause {
        let sem = (LockId::MmapSem(self.mm), Want::Exclusive);
        if self.is_nested { AtPause::new() } else { vec![sem] }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let sem = LockId::MmapSem(self.mm);
        loop {
            match &mut self.phase {
                Phase::Draining => {
                    kernel.drain_all();
                    self.phase = Phase::Starting;
                }
                Phase::Starting => {
                    if !kernel.lock::<M>(me, sem, Want::Exclusive) {
                        return Progress::Waiting(sem);
                    }
                    self.phase = Phase::Restyling(self.start);
                    continue;
                }
                Phase::Restyling(address) => {
                    let address = *address;
                    if let Err(lock) = self.restyle::<M>(kernel, me, address) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Pinning { address, end, pin } => {
                    let (address, end) = (*address, *end);
                    match pin.advance::<M>(kernel, me) {
                        Progress::Done => {
                            let result = pin.result();
                            self.pinned(kernel, address, end, result);
                            if kernel.pauses::<M>(1) {
                                return Progress::Ran;
                            }
                        }
                        other => return other,
                    }
                }
                Phase::Locking { address, end, has_drained } => {
                    let (address, end) = (*address, *end);
                    // One page that could not be had is no batch.
                    if !std::mem::replace(has_drained, true) && !self.batch.is_empty() {
                        kernel.drain(me.cpu);
                    }
                    if let Err(lock) = self.lock_one::<M>(kernel, me, address, end) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Munlocking(munlock, next) => {
                    let next = *next;
                    match munlock.advance::<M>(kernel, me) {
                        Progress::Done => self.phase = Phase::Restyling(next),
                        other => return other,
                    }
                }
                Phase::Done => return Progress::Done,
            }
            if let Phase::Done = self.phase {
                if !self.is_nested {
                    kernel.unlock::<M>(me, sem);
                }
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Sets or clears VM_LOCKED of the area at `address`; nothing where it is as wanted.
    fn restyle<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        address: u64,
    ) -> Result<(), LockId> {
        if address >= self.end {
            self.phase = Phase::Done;
            return Ok(());
        }
        let Some(id) = kernel.mms[self.mm].area_at(&kernel.vmas, address) else {
            self.fail(Errno::NoMemory);
            self.phase = Phase::Done;
            return Ok(());
        };
        let end = kernel.vmas[id].end.min(self.end);
        let style = Style::of(&kernel.vmas[id]);
        let mut flags = style.flags;
        flags.set(VmFlags::LOCKED, self.is_lock);
        if flags == style.flags {
            self.phase = Phase::Restyling(end);
            return Ok(());
        }
        neighbours_are_free::<M>(kernel, me, id)?;
        area::restyle(kernel, id, address, end, Style { flags, ..style }, Merge::Both);
        let pages = (end - address) / PAGE_SIZE;
        let locked = &mut kernel.mms[self.mm].locked_vm;
        self.phase = if self.is_lock {
            *locked += pages;
            self.pin(kernel, address, end)
        } else {
            *locked -= pages;
            Phase::Munlocking(Munlock::new(kernel, self.mm, address, end, true), end)
        };
        Ok(())
    }

    fn pin(&self, kernel: &Kernel, address: u64, end: u64) -> Phase {
        let area = kernel.mms[self.mm].area_at(&kernel.vmas, address).expect("just restyled");
        let is_write = kernel.vmas[area].flags.contains(VmFlags::WRITE);
        Phase::Pinning { address, end, pin: Pin::nested(self.mm, address, is_write) }
    }

    /// A page came, or the area's pages end here.
    fn pinned(&mut self, kernel: &Kernel, address: u64, end: u64, result: Result<Pfn, Errno>) {
        let next = address + PAGE_SIZE;
        let next = match result {
            Ok(page) => {
                self.batch.push(page);
                next
            }
            Err(errno) => {
                self.fail(if errno == Errno::NoMemory { Errno::Again } else { Errno::NoMemory });
                end
            }
        };
        self.phase = if self.batch.len() == BATCH_PAGES || next == end {
            Phase::Locking { address: next, end, has_drained: false }
        } else {
            self.pin(kernel, next, end)
        };
    }

    /// The next page of the batch: `lock_page`, `mlock_vma_page`, unlock, drop.
    fn lock_one<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        address: u64,
        end: u64,
    ) -> Result<(), LockId> {
        let Some(&page) = self.batch.first() else {
            self.phase =
                if address == end { Phase::Restyling(end) } else { self.pin(kernel, address, end) };
            return Ok(());
        };
        // Who has queued for the lock takes it, whatever became of the page: a wake-up must not be lost.
        if self.has_queued || !kernel.frames[page].is_unowned() {
            self.has_queued = !kernel.lock_page::<M>(me, page);
            if self.has_queued {
                return Err(LockId::Page(page));
            }
            if !kernel.frames[page].is_unowned() {
                mlock_page(kernel, me, page);
            }
            kernel.unlock_page::<M>(me, page);
        }
        kernel.put_page(page);
        self.batch.remove(0);
        Ok(())
    }

    fn fail(&mut self, errno: Errno) {
        self.result = self.result.and(Err(errno));
    }
}

/// `mlock_vma_page`: PG_mlocked, and onto the unevictable list if the page is on any.
pub(crate) fn mlock_page(kernel: &mut Kernel, me: Me, page: Pfn) {
    kernel.set_mlocked(me.cpu, page);
}
