//! What a call may need of the host's memory, at most, found out before it begins.
//!
//! Start with [`Machine::need`], whose answer is an upper bound on the safe side, and
//! [`Machine::make_room`], which refuses a call that the host has no room for: page tables are reserved,
//! and for everything else a piece of memory as large as all of it together is asked for and given back.
//! So a limit of the host is met before anything has changed. Whoever knows how much memory the host has
//! available compares it with [`Need::committed`]: that is not this crate's to know.
//!
//! Neighbours: [`super::slices`] and [`super::stepping`], which begin calls. Source: none, this is about
//! the host. Left out: what a call of fewer than [`FEW`] pages takes besides tables, some MiB at most,
//! which whoever embeds the machine keeps ready in another way.

use std::fmt;

use super::request::{SIGSEGV_MAX, memory_of};
use super::{Machine, Request};
use crate::base::{MappingId, Misuse, MmId, PAGE_SIZE, TaskId, USER_END};
use crate::cpuset::Change;
use crate::fault::Pages;
use crate::mmap::Advice;
use crate::state::pagetable::{Entry, LEAF_ENTRIES};

/// Bytes of a descriptor.
const DESCRIPTOR: u64 = 32;
/// Bytes beside the contents of a frame, or of a page on disk.
const BESIDE: u64 = 64;
/// Bytes of a batch for each page on its list, while that grows.
const LISTED: u64 = 48;
/// Bytes of a node of a file's index, and pages that it has room for.
const NODE: u64 = 640;
const NODE_PAGES: u64 = 64;
/// Bytes of the buffers of one page, while their table grows.
const BUFFERS: u64 = 512;
/// Bytes of an area and its places in lists.
const AREA: u64 = 512;
/// Bytes that KSM keeps for one place.
const PLACE: u64 = 256;
/// Bytes that an audit notes of a frame, an entry, or something else.
const NOTED: u64 = 96;
/// What a call of fewer pages needs besides tables is not worth the question: it would take longer than
/// the call.
const FEW: u64 = 1024;
/// Areas that are gone through to see how many tables they can have.
const AREAS: usize = 64;
/// At so few pages, a table for each is bound enough.
const HANDFUL: u64 = 16;
/// Less than this is not asked for.
const LITTLE: u64 = 1 << 16;
/// Bytes of a small machine's tables, lists and counters, in a copy of it.
const COPY: u64 = 16 << 10;
/// Bytes for everything that is not counted.
const SLACK: u64 = 1 << 20;

/// An upper bound of what a call may take from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Frames that may be used for the first time, whose memory the host has promised already.
    pub frames: u64,
    /// Bytes of each.
    pub frame_bytes: u64,
    /// Page tables that may be made.
    pub tables: u64,
    /// Bytes of lists, indexes, results and copies.
    pub other: u64,
}

impl Need {
    /// Bytes that are yet to be reserved.
    pub const fn reserved(&self) -> u64 {
        self.tables.saturating_mul(PAGE_SIZE).saturating_add(self.other)
    }

    /// Bytes that the host has to find memory for.
    pub const fn committed(&self) -> u64 {
        self.frames.saturating_mul(self.frame_bytes).saturating_add(self.reserved())
    }

    /// Whether the host lets that much be reserved.
    fn check(&self) -> Result<(), Misuse> {
        self.probe(self.reserved())
    }

    /// Asks for memory for `bytes` in one piece, and gives it back.
    fn probe(&self, bytes: u64) -> Result<(), Misuse> {
        let bytes = if bytes < LITTLE { 0 } else { bytes.saturating_add(SLACK) };
        let is_there = usize::try_from(bytes)
            .is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
        if is_there { Ok(()) } else { Err(self.refusal()) }
    }

    fn refusal(&self) -> Misuse {
        Misuse::Other(format!("{self}, which it does not give; nothing has changed"))
    }
}

/// The arithmetic.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Need { frames, frame_bytes, tables, other } = self;
        let gib = self.committed() as f64 / f64::from(1 << 30);
        write!(f, "at most {frames} new pages of {frame_bytes} bytes, {tables} page tables of ")?;
        write!(f, "{PAGE_SIZE} and {other} bytes besides need {gib:.2} GiB of the host")
    }
}

impl Machine {
    /// What a call may need at most. Nothing, for what is short by nature or makes no sense.
    pub fn need(&self, task: TaskId, request: &Request) -> Need {
        let own = memory_of(&self.kernel, task).ok();
        let theirs = |pid: &TaskId| memory_of(&self.kernel, *pid).ok();
        let pages_of = |len: &u64| len.div_ceil(PAGE_SIZE);
        match request {
            Request::Touch(pages) => {
                let count = pages.len() as u64;
                let told = match pages {
                    _ if count < FEW => 0,
                    Pages::Range { .. } => count.min(SIGSEGV_MAX),
                    Pages::List { .. } => count,
                };
                self.touched(own, count).and(told.saturating_mul(16))
            }
            Request::Read { size, .. } => {
                let size = *size as u64;
                self.touched(own, pages_of(&size).saturating_add(1)).and(size.saturating_mul(2))
            }
            Request::Write { data, .. } => self.touched(own, pages_of(&(data.len() as u64)) + 1),
            Request::Mlock { len, is_lock: true, .. } => self.touched(own, pages_of(len)),
            Request::Mremap { new_len, .. } => {
                let is_locked = own.is_some_and(|mm| self.kernel.mms[mm].locked_vm > 0);
                let pages = if is_locked { pages_of(new_len) } else { 0 };
                let moved = own.map_or(0, |mm| self.resident(mm)).min(pages_of(new_len));
                let leaves = (new_len >> 21).saturating_add(2);
                let tables = leaves.min(moved.saturating_add(3)).min(self.tables_left());
                let mut need = self.touched(own, pages);
                need.tables = need.tables.max(tables);
                need
            }
            Request::MovePages { request, .. } => {
                self.moved(request.addresses.len() as u64, 8, own)
            }
            Request::QueryPages { question, .. } => {
                Need::default().and(8 * question.addresses.len() as u64)
            }
            Request::MigratePages { target, .. } => self.migrated(theirs(target), u64::MAX),
            Request::Mbind { len, wanted, .. } if wanted.may_move => {
                self.migrated(own, pages_of(len))
            }
            Request::MigrateFrames { frames, .. } => self.moved(frames.len() as u64, 96, None),
            Request::ChangeCpuset { change, .. } => match change {
                Change::Attach(pid) => self.migrated(theirs(pid), u64::MAX),
                Change::Mems(_) => self.moved(self.resident_of_all(), LISTED, None),
            },
            Request::Madvise { advice: Advice::Unmergeable, len, .. } => {
                self.touched(own, pages_of(len))
            }
            Request::Fork { .. } => own.map_or_else(Need::default, |mm| self.forked(mm)),
            Request::Offline { count, .. } => self.moved((*count).into(), 1, None),
            Request::ReadFile { file, offset, size } => {
                let host = self.kernel.mappings.find(*file).and_then(|file| file.host.as_ref());
                let size = *size.min(&host.map_or(0, |host| host.size.saturating_sub(*offset)));
                self.cached(*file, pages_of(&size).saturating_add(1)).and(size.saturating_mul(2))
            }
            Request::WriteFile { file, size, .. } => {
                self.cached(*file, pages_of(size).saturating_add(1))
            }
            Request::Reclaim { pages, .. } => {
                Need::default().and((BESIDE + NODE / 8 + self.bytes_on_disk()) * u64::from(*pages))
            }
            Request::KsmScan => Need::default().and(PLACE * self.resident_of_all()),
            _ => Need::default(),
        }
    }

    /// The same, having looked at each page that is to be touched: how many of them may take a frame. For
    /// when the bound that costs nothing is too high.
    pub fn need_looked_up(&self, task: TaskId, request: &Request) -> Need {
        let need = self.need(task, request);
        let (Request::Touch(pages), Ok(mm)) = (request, memory_of(&self.kernel, task)) else {
            return need;
        };
        let root = self.kernel.mms[mm].root;
        let takes_a_frame = |at: usize| {
            let (address, is_write) = pages.get(at);
            let entry = self.kernel.tables.entry(root, address.min(USER_END));
            !entry.is_present() || (is_write && !entry.has(Entry::WRITABLE))
        };
        let takers = (0..pages.len()).filter(|&at| takes_a_frame(at)).count();
        Need { frames: need.frames.min(takers as u64), ..need }
    }

    /// Sees to it that the host has room for a call, before it begins.
    ///
    /// # Errors
    /// If it has not, with the arithmetic; nothing has changed then.
    pub(super) fn make_room(&mut self, task: TaskId, request: &Request) -> Result<(), Misuse> {
        let need = self.need(task, request);
        need.check()?;
        let tables = usize::try_from(need.tables).unwrap_or(usize::MAX);
        if self.kernel.tables.try_reserve(tables) { Ok(()) } else { Err(need.refusal()) }
    }

    /// Whether the host has room for a copy of everything, descriptors and bytes of all frames included.
    pub(super) fn check_room_for_copy(&self) -> Result<(), Misuse> {
        let frame_bytes = self.fresh(0).frame_bytes;
        let need = Need { frames: self.kernel.frames.len() as u64, frame_bytes, ..self.kept() };
        need.probe(need.committed())
    }

    /// Bytes that a copy takes, about: what a search keeps on its way.
    pub fn bytes_of_copy(&self) -> u64 {
        let touched: usize = self.kernel.zones.touched_spans().map(|span| span.len()).sum();
        let frames = touched as u64 * (DESCRIPTOR + self.bytes_on_disk());
        frames + self.kept().reserved() + COPY
    }

    /// What a copy holds besides frames.
    fn kept(&self) -> Need {
        let kernel = &self.kernel;
        let indexed: u64 = kernel.mappings.iter().map(|(_, file)| file.tree.len()).sum();
        let areas: usize = kernel.mms.iter().map(|(_, mm)| mm.len()).sum();
        let rings = kernel.rings.iter().count() as u64;
        let other = indexed * (NODE / 8) + areas as u64 * AREA + rings * BUFFERS;
        Need { tables: kernel.tables.len() as u64, other, ..Need::default() }
    }

    /// Whether the host has room for a snapshot.
    ///
    /// # Errors
    /// If not, with the arithmetic.
    pub fn check_room_for_snapshot(&self) -> Result<(), Misuse> {
        let touched: usize = self.kernel.zones.touched_spans().map(|span| span.len()).sum();
        let lines = touched as u64 * 2 * DESCRIPTOR;
        let bytes = touched as u64 * self.bytes_on_disk();
        let kept = self.kept().reserved();
        Need { other: 2 * kept + lines + bytes, ..Need::default() }.check()
    }

    /// Whether the host has room for what an audit notes of every frame and entry.
    ///
    /// # Errors
    /// If not, with the arithmetic.
    pub fn check_room_for_audit(&self) -> Result<(), Misuse> {
        let kernel = &self.kernel;
        let touched: usize = kernel.zones.touched_spans().map(|span| span.len()).sum();
        let swapped: i64 = kernel.mms.iter().map(|(_, mm)| mm.resident.swap.max(0)).sum();
        let entries = self.resident_of_all() + swapped as u64;
        let slots: usize = kernel.swaps.devices.iter().map(|device| device.slots.len()).sum();
        let places = slots + kernel.vmas.len() + kernel.rings.len() + kernel.ksm.items.len();
        let other = NOTED * (touched as u64 + entries + places as u64);
        Need { other, ..Need::default() }.check()
    }

    /// Whether the host has room for what a snapshot of so many bytes is read into.
    ///
    /// # Errors
    /// If not, with the arithmetic.
    pub fn check_room_to_restore(bytes: usize) -> Result<(), Misuse> {
        Need { other: 5 * bytes as u64, ..Need::default() }.check()
    }

    /// Bytes that a page on disk takes.
    fn bytes_on_disk(&self) -> u64 {
        if self.kernel.contents.exist() { PAGE_SIZE + BESIDE } else { 0 }
    }

    /// Frames that nobody has used so far, of `most`, and their bytes.
    fn fresh(&self, most: u64) -> Need {
        let kernel = &self.kernel;
        let touched: usize = kernel.zones.touched_spans().map(|span| span.len()).sum();
        let frame_bytes = DESCRIPTOR + if kernel.contents.exist() { PAGE_SIZE + 16 } else { 0 };
        let frames = most.min((kernel.frames.len() - touched) as u64);
        Need { frames, frame_bytes, ..Need::default() }
    }

    /// Faults at `pages` addresses of some memory.
    fn touched(&self, mm: Option<MmId>, pages: u64) -> Need {
        let Some(mm) = mm.filter(|_| pages > 0) else { return Need::default() };
        let space = &self.kernel.mms[mm];
        let mut leaves = pages;
        let mut nodes = 0;
        if pages > HANDFUL && space.len() <= AREAS {
            let mut spans = 0;
            for area in space.areas().map(|id| &self.kernel.vmas[id]) {
                spans += area.pages() / LEAF_ENTRIES as u64 + 2;
                nodes += area.file.map_or(0, |_| area.pages() / NODE_PAGES + 8);
            }
            leaves = leaves.min(spans);
        }
        let tables = leaves.saturating_add(3).min(self.tables_left());
        // More pages than frames come to no memory.
        let pages = pages.min(self.kernel.frames.len() as u64);
        if pages < FEW {
            return Need { tables, ..Need::default() };
        }
        let has_files = space.len() > AREAS || nodes > 0;
        let nodes = if space.len() > AREAS { pages } else { nodes.min(pages) };
        let kept = if has_files { (BUFFERS + self.bytes_on_disk()) * pages } else { 0 };
        Need { tables, other: nodes * NODE + kept, ..self.fresh(pages) }
    }

    /// Page tables that there may be yet.
    fn tables_left(&self) -> u64 {
        self.kernel.tables.left() as u64
    }

    /// Pages of a file that come into memory.
    fn cached(&self, file: MappingId, pages: u64) -> Need {
        if pages < FEW {
            return Need::default();
        }
        let has_buffers =
            self.kernel.mappings.find(file).is_some_and(|file| file.kind.buffer_bytes > 0);
        let pages = pages.min(self.kernel.frames.len() as u64);
        let each = NODE / NODE_PAGES + 1 + if has_buffers { BUFFERS } else { 0 };
        self.fresh(pages).and(each * pages)
    }

    /// Pages on a list that are to move, with so many bytes for each; some of a memory's may have to
    /// be written to disk first.
    fn moved(&self, pages: u64, each: u64, mm: Option<MmId>) -> Need {
        if pages < FEW {
            return Need::default();
        }
        let dirty = mm.map_or(0, |mm| self.kernel.mms[mm].resident.file.max(0) as u64).min(pages);
        self.fresh(pages).and(each.saturating_mul(pages)).and(dirty * self.bytes_on_disk())
    }

    fn migrated(&self, mm: Option<MmId>, most: u64) -> Need {
        self.moved(mm.map_or(0, |mm| self.resident(mm)).min(most), LISTED, mm)
    }

    fn forked(&self, mm: MmId) -> Need {
        let space = &self.kernel.mms[mm];
        let pages = |id| self.kernel.vmas[id].pages();
        let spans = space.areas().map(|id| pages(id) / LEAF_ENTRIES as u64 + 2);
        let tables = spans.sum::<u64>().min(self.kernel.tables.in_use() as u64) + 4;
        Need { tables, other: AREA * space.len() as u64, ..Need::default() }
    }

    fn resident(&self, mm: MmId) -> u64 {
        let resident = self.kernel.mms[mm].resident;
        (resident.anon + resident.file).max(0) as u64
    }

    fn resident_of_all(&self) -> u64 {
        self.kernel.mms.iter().map(|(id, _)| self.resident(id)).sum()
    }
}

impl Need {
    /// The same and so many bytes more.
    const fn and(self, bytes: u64) -> Need {
        Need { other: self.other.saturating_add(bytes), ..self }
    }
}
