//! A program touching its memory: loads and stores, and the faults that they cause.

use serde::{Deserialize, Serialize};

use super::faulting::{Fault, Served};
use crate::base::{MmId, PAGE_SHIFT, PAGE_SIZE, Pfn, USER_END, VmaId};
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;

/// Which addresses are touched, in order.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub enum Pages {
    /// Every page of a range, each once.
    Range {
        /// The first address.
        start: u64,
        /// How many pages.
        pages: usize,
        /// Whether each access is a store.
        is_write: bool,
    },
    /// Any addresses, each with whether it is a store.
    List {
        /// The addresses.
        addresses: Vec<u64>,
        /// Whether each is a store; as many as there are addresses.
        writes: Vec<bool>,
    },
}

impl Pages {
    /// How many accesses there are.
    pub fn len(&self) -> usize {
        match self {
            Pages::Range { pages, .. } => *pages,
            Pages::List { addresses, .. } => addresses.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of one, and whether it is a store.
    #[inline]
    pub fn get(&self, at: usize) -> (u64, bool) {
        match self {
            // The first access is at `start` itself, the others at the start of their page.
            Pages::Range { start, is_write, .. } if at == 0 => (*start, *is_write),
            Pages::Range { start, is_write, .. } => {
                ((start & !(PAGE_SIZE - 1)) + ((at as u64) << PAGE_SHIFT), *is_write)
            }
            Pages::List { addresses, writes } => (addresses[at], writes[at]),
        }
    }
}

/// What is done at each address.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub enum What {
    /// Touch only: a store stores the byte that is there.
    Touch,
    /// Load this many bytes from the start of the range.
    Read {
        /// Bytes still to come.
        size: usize,
        /// Bytes so far.
        data: Vec<u8>,
    },
    /// Store these bytes from the start of the range.
    Write {
        /// All bytes.
        data: Vec<u8>,
        /// How many of them are stored.
        stored: usize,
    },
}

/// What came of the accesses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// Accesses that needed no fault.
    pub hits: u64,
    /// Faults served without I/O, the next two kinds included.
    pub minor: u64,
    /// Faults served with I/O.
    pub major: u64,
    /// Faults that broke copy-on-write.
    pub copy_on_write: u64,
    /// Faults that found nothing to do.
    pub spurious: u64,
    /// Addresses that nothing maps, or not for this access.
    pub sigsegv: Vec<u64>,
    /// Addresses beyond the end of a file.
    pub sigbus: Vec<u64>,
    /// Whether an access ended it all for want of memory.
    pub is_out_of_memory: bool,
}

/// How far the current access has got.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// The CPU tries.
    Trying,
    /// It trapped: `mmap_sem`, the area, the permission.
    Trapped,
    /// The fault runs, under `mmap_sem`.
    Faulting(Fault),
    Done,
}

/// A run of accesses by one task.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Access {
    pub(super) mm: MmId,
    pub(super) pages: Pages,
    what: What,
    pub(super) at: usize,
    has_faulted: bool,
    /// Whether the last fault met a frozen page: turning on the spot is one fault, however often
    /// it turns, so that a search of all orders comes back to a state that it knows.
    is_spinning: bool,
    pub(super) tally: Tally,
    phase: Phase,
}

impl Access {
    /// Accesses in the memory `mm`.
    pub fn new(mm: MmId, pages: Pages, what: What) -> Access {
        let phase = if pages.is_empty() { Phase::Done } else { Phase::Trying };
        Access {
            mm,
            pages,
            what,
            at: 0,
            has_faulted: false,
            is_spinning: false,
            tally: Tally::default(),
            phase,
        }
    }

    /// Loads `size` bytes at `address`.
    pub fn read(mm: MmId, address: u64, size: usize) -> Access {
        let what = What::Read { size, data: Vec::new() };
        Access::new(mm, bytes_as_pages(address, size, false), what)
    }

    /// Stores `data` at `address`.
    pub fn write(mm: MmId, address: u64, data: Vec<u8>) -> Access {
        let pages = bytes_as_pages(address, data.len(), true);
        Access::new(mm, pages, What::Write { data, stored: 0 })
    }

    /// What came of it, and the bytes read.
    pub fn into_outcome(self) -> (Tally, Vec<u8>) {
        match self.what {
            What::Read { data, .. } => (self.tally, data),
            _ => (self.tally, Vec::new()),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Trying => &["SP2-access"],
            Phase::Trapped => &["SP2-fault"],
            Phase::Faulting(fault) => fault.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> [Option<Pfn>; 2] {
        match &self.phase {
            Phase::Faulting(fault) => fault.held_pages(),
            _ => [None, None],
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        // Neighbours mostly lie in the same area. Good until the next stop: nobody else runs.
        let mut last_area = None;
        loop {
            match &mut self.phase {
                Phase::Trying => self.try_all::<M>(kernel),
                Phase::Trapped => {
                    if let Err(lock) = self.trap::<M>(kernel, me, &mut last_area) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Faulting(fault) => match fault.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let served = fault.served();
                        self.finish_fault::<M>(kernel, me, served);
                    }
                    other => return other,
                },
                Phase::Done => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done) {
                return Progress::Done;
            }
            let may_pause = matches!(self.phase, Phase::Trying);
            if Point::Open.stops::<M>(me) || (may_pause && kernel.pauses::<M>(1)) {
                return Progress::Ran;
            }
        }
    }

    /// How many accesses are done, of how many.
    pub fn done_of(&self) -> (u64, u64) {
        (self.at as u64, self.pages.len() as u64)
    }

    /// Ends the call here, between two accesses, as a fatal signal would.
    pub fn cut(&mut self) {
        if let Phase::Trying = self.phase {
            self.phase = Phase::Done;
        }
    }

    /// Lets the CPU access address after address until one traps; one only, when stepped.
    #[inline]
    fn try_all<M: Mode>(&mut self, kernel: &mut Kernel) {
        let root = kernel.mms[self.mm].root;
        let len = self.pages.len();
        let from = self.at;
        let until = if M::STEPS { len } else { from + kernel.fuel.reach(len - from) };
        while self.at < until {
            let (address, is_write) = self.pages.get(self.at);
            let Some(page) = hardware_access(kernel, root, address, is_write) else {
                self.phase = Phase::Trapped;
                return;
            };
            self.move_bytes(kernel, page, address);
            self.tally.hits += u64::from(!self.has_faulted);
            self.has_faulted = false;
            self.at += 1;
            if M::STEPS {
                break;
            }
        }
        kernel.fuel.burn(self.at - from);
        if self.at == len {
            self.phase = Phase::Done;
        }
    }

    /// Loads or stores the bytes of the current page.
    #[inline]
    pub(super) fn move_bytes(&mut self, kernel: &mut Kernel, page: Pfn, address: u64) {
        let from = (address % PAGE_SIZE) as usize;
        match &mut self.what {
            What::Touch => {}
            What::Read { size, data } => {
                let len = (PAGE_SIZE as usize - from).min(*size - data.len());
                data.extend_from_slice(&kernel.contents.page(page)[from..from + len]);
                if kernel.shadow.is_on() {
                    kernel.note_load(self.mm, address, page, &data[data.len() - len..]);
                }
            }
            What::Write { data, stored } => {
                let len = (PAGE_SIZE as usize - from).min(data.len() - *stored);
                let bytes = &mut kernel.contents.page_mut(page)[from..from + len];
                bytes.copy_from_slice(&data[*stored..*stored + len]);
                if kernel.shadow.is_on() {
                    kernel.note_store(self.mm, address, page, &data[*stored..*stored + len]);
                }
                *stored += len;
            }
        }
    }

    /// The architecture's part of a fault: area and permission, under `mmap_sem`.
    #[inline]
    fn trap<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        last_area: &mut Option<VmaId>,
    ) -> Result<(), LockId> {
        let sem = LockId::MmapSem(self.mm);
        if !kernel.lock::<M>(me, sem, Want::Shared) {
            return Err(sem);
        }
        let (address, is_write) = self.pages.get(self.at);
        let is_same = last_area.is_some_and(|vma| kernel.vmas[vma].contains(address));
        if !is_same {
            *last_area = kernel.mms[self.mm].area_at(&kernel.vmas, address);
        }
        match last_area.filter(|&vma| permits(kernel.vmas[vma].flags, is_write)) {
            Some(vma) => {
                if !M::STEPS && self.populate(kernel, me, vma) {
                    let is_over = self.at == self.pages.len();
                    self.phase = if is_over { Phase::Done } else { Phase::Trying };
                    return Ok(());
                }
                self.has_faulted = true;
                let page = address & !(PAGE_SIZE - 1);
                let fault = Fault::new(kernel, vma, page, is_write);
                let served = if M::STEPS { None } else { fault.serve_alone(kernel, me) };
                match served {
                    Some(served) => self.finish_fault::<M>(kernel, me, served),
                    None => self.phase = Phase::Faulting(fault),
                }
            }
            None => {
                kernel.unlock::<M>(me, sem);
                self.tally.sigsegv.push(address);
                self.give_up_this();
            }
        }
        Ok(())
    }

    #[inline]
    fn finish_fault<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, served: Served) {
        kernel.unlock::<M>(me, LockId::MmapSem(self.mm));
        self.tally.minor += 1;
        self.phase = Phase::Trying;
        let was_spinning = std::mem::replace(&mut self.is_spinning, served == Served::Frozen);
        let value = match served {
            Served::Minor => 0,
            Served::Major => {
                self.tally.minor -= 1;
                self.tally.major += 1;
                1
            }
            Served::CopyOnWrite => {
                self.tally.copy_on_write += 1;
                2
            }
            Served::Frozen if was_spinning => {
                self.tally.minor -= 1;
                3
            }
            Served::Nothing | Served::Frozen => {
                self.tally.spurious += 1;
                3
            }
            Served::OutOfMemory => {
                self.tally.minor -= 1;
                self.tally.is_out_of_memory = true;
                self.phase = Phase::Done;
                return;
            }
            Served::BusError => {
                self.tally.minor -= 1;
                self.tally.sigbus.push(self.pages.get(self.at).0);
                self.give_up_this();
                return;
            }
        };
        kernel.note::<M>(me, EventKind::Fault, None, self.pages.get(self.at).0, value);
    }

    /// A signal ends a read or write where it is; a touch goes on with the next address.
    fn give_up_this(&mut self) {
        self.has_faulted = false;
        self.at = if matches!(self.what, What::Touch) { self.at + 1 } else { self.pages.len() };
        self.phase = if self.at == self.pages.len() { Phase::Done } else { Phase::Trying };
    }
}

/// The pages that `size` bytes at `address` touch.
fn bytes_as_pages(address: u64, size: usize, is_write: bool) -> Pages {
    let span = (address % PAGE_SIZE) as usize + size;
    let pages = if size == 0 { 0 } else { span.div_ceil(PAGE_SIZE as usize) };
    Pages::Range { start: address, pages, is_write }
}

/// The hardware's part: the page, if the entry permits the access; the entry notes the use.
#[inline]
fn hardware_access(
    kernel: &mut Kernel,
    root: crate::base::TableId,
    address: u64,
    is_write: bool,
) -> Option<Pfn> {
    // The walk looks at 48 bits only: what lies above user space must not come out below it.
    let leaf =
        if address < USER_END { kernel.tables.leaf_of(root, address)? } else { return None };
    let at = leaf_index(address);
    let entry = kernel.tables.get(leaf, at);
    let needed = if is_write { Entry::PRESENT | Entry::WRITABLE } else { Entry::PRESENT };
    if !entry.has(needed) {
        return None;
    }
    let used = if is_write { Entry::ACCESSED | Entry::DIRTY } else { Entry::ACCESSED };
    if !entry.has(used) {
        kernel.tables.set(leaf, at, entry.with(used));
    }
    Some(entry.pfn())
}

/// Whether an area permits a load or a store. On x86 whatever may be written can be read.
fn permits(flags: VmFlags, is_write: bool) -> bool {
    if is_write { flags.contains(VmFlags::WRITE) } else { flags.intersects(VmFlags::PROTECTION) }
}
