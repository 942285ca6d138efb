//! What a call shall do, before it has begun.

use serde::{Deserialize, Serialize};

use super::KERNEL_TASK;
use super::{Call, files};
use crate::base::CpusetId;
use crate::base::{MappingId, Misuse, MmId, NodeId, NodeMask, PAGE_SIZE, Pfn, TaskId, USER_END};
use crate::cpuset::{self, Change, ChangeCpuset};
use crate::fault::{Access, Pages, Pin, What};
use crate::kernel::Kernel;
use crate::ksm::KsmScan;
use crate::migrate::collect::Wanted;
use crate::migrate::frames::MigrateFrames;
use crate::migrate::mbind::Mbind;
use crate::migrate::migrate_pages::MigratePages;
use crate::migrate::move_pages::{self, MovePages};
use crate::migrate::offline::Offline;
use crate::migrate::query::{QueryPages, Question};
use crate::migrate::soft_offline::SoftOffline;
use crate::migrate::target::Target;
use crate::mmap::{Advice, Madvise, Mremap};
use crate::mmap::{Exit, Fork, Mlock, Mprotect, Munmap};
use crate::reclaim::{Reclaim, SwapOut};
use crate::state::mm::{VmFlags, check_range, check_span};
use crate::state::policy::Policy;

/// One operation and its arguments. What a system call checks was checked before.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are the arguments of the call")]
pub enum Request {
    /// The node-array mode of `move_pages(2)`, on the memory of `target`.
    MovePages { target: TaskId, request: move_pages::Request },
    /// The query mode of `move_pages(2)`.
    QueryPages { target: TaskId, question: Question },
    /// `migrate_pages(2)`, on the memory of `target`.
    MigratePages { target: TaskId, from: NodeMask, to: NodeMask, is_shared_too: bool },
    /// `mbind(2)`.
    Mbind { start: u64, len: u64, policy: Option<Policy>, wanted: Wanted },
    /// The engine, for frames.
    MigrateFrames { frames: Vec<Pfn>, target: Target, is_offlining: bool },
    /// Loads and stores.
    Touch(Pages),
    /// Loads bytes.
    Read { address: u64, size: usize },
    /// Stores bytes.
    Write { address: u64, data: Vec<u8> },
    /// A child.
    Fork { name: String },
    /// The end.
    Exit,
    /// A range maps nothing any more.
    Munmap { start: u64, len: u64 },
    /// Other permissions.
    Mprotect { start: u64, len: u64, protection: VmFlags },
    /// Pages that must stay, or need not any more.
    Mlock { start: u64, len: u64, is_lock: bool },
    /// A reference through the page table.
    Pin { address: u64, is_write: bool },
    /// That reference dropped.
    Unpin(Pfn),
    /// All CPUs' pagevecs.
    Drain,
    /// Memory offlining of `count` frames, within `timeout` ticks.
    Offline { first: Pfn, count: u32, timeout: u64 },
    /// Soft offline of one frame.
    SoftOffline(Pfn),
    /// Other nodes for a cpuset, or another cpuset for a task; the caller is who writes.
    ChangeCpuset { cpuset: CpusetId, change: Change },
    /// Reclaim of the page at an address.
    SwapOut { address: u64 },
    /// Reclaim of at most `pages` pages of one node and family.
    Reclaim { node: NodeId, pages: u32, is_anon: bool },
    /// One pass of KSM over everything that may be merged.
    KsmScan,
    /// A range becomes shorter, longer, or goes elsewhere: to `to`, or wherever there is room.
    Mremap { start: u64, len: u64, new_len: u64, to: Option<u64> },
    /// What the memory is for.
    Madvise { start: u64, len: u64, advice: Advice },
    /// `read(2)`.
    ReadFile { file: MappingId, offset: u64, size: u64 },
    /// `write(2)`; without `data`, of bytes that nobody looks at.
    WriteFile { file: MappingId, offset: u64, size: u64, data: Option<Vec<u8>> },
    /// `truncate(2)`.
    Truncate { file: MappingId, size: u64 },
    /// `find_get_page`.
    Lookup { file: MappingId, page: u64 },
    /// One page to be written back.
    Writeback { file: MappingId, page: u64 },
    /// The transfer that ends next ends now.
    CompleteIo,
    /// One page to be dropped.
    Invalidate { file: MappingId, page: u64 },
}

/// What every call may be called; [`Request::verb`] says which is which.
pub(super) const VERBS: &[&str] = &[
    "move_pages",
    "migrate_pages",
    "mbind",
    "migrate_frames",
    "touch",
    "read",
    "write",
    "fork",
    "exit",
    "munmap",
    "mprotect",
    "mlock",
    "munlock",
    "pin",
    "unpin",
    "mremap",
    "madvise",
    "drain",
    "offline",
    "soft_offline",
    "set_cpuset_mems",
    "attach_cpuset",
    "swap_out",
    "reclaim",
    "ksm_scan",
    "read_file",
    "write_file",
    "truncate",
    "lookup",
    "writeback",
    "complete_io",
    "invalidate",
];

/// Pages of a call that is over in microseconds.
const SHORT: usize = 64;

impl Request {
    /// Whether it names so few pages that it is over before anybody can wait for it.
    pub fn is_short(&self) -> bool {
        match self {
            Request::QueryPages { question, .. } => question.addresses.len() <= SHORT,
            Request::MovePages { request, .. } => request.addresses.len() <= SHORT,
            _ => false,
        }
    }

    /// What it is called.
    pub const fn verb(&self) -> &'static str {
        match self {
            Request::MovePages { .. } | Request::QueryPages { .. } => "move_pages",
            Request::MigratePages { .. } => "migrate_pages",
            Request::Mbind { .. } => "mbind",
            Request::MigrateFrames { .. } => "migrate_frames",
            Request::Touch(_) => "touch",
            Request::Read { .. } => "read",
            Request::Write { .. } => "write",
            Request::Fork { .. } => "fork",
            Request::Exit => "exit",
            Request::Munmap { .. } => "munmap",
            Request::Mprotect { .. } => "mprotect",
            Request::Mlock { is_lock: true, .. } => "mlock",
            Request::Mlock { .. } => "munlock",
            Request::Pin { .. } => "pin",
            Request::Unpin(_) => "unpin",
            Request::Mremap { .. } => "mremap",
            Request::Madvise { .. } => "madvise",
            Request::Drain => "drain",
            Request::Offline { .. } => "offline",
            Request::SoftOffline(_) => "soft_offline",
            Request::ChangeCpuset { change: Change::Mems(_), .. } => "set_cpuset_mems",
            Request::ChangeCpuset { .. } => "attach_cpuset",
            Request::SwapOut { .. } => "swap_out",
            Request::Reclaim { .. } => "reclaim",
            Request::KsmScan => "ksm_scan",
            Request::ReadFile { .. } => "read_file",
            Request::WriteFile { .. } => "write_file",
            Request::Truncate { .. } => "truncate",
            Request::Lookup { .. } => "lookup",
            Request::Writeback { .. } => "writeback",
            Request::CompleteIo => "complete_io",
            Request::Invalidate { .. } => "invalidate",
        }
    }

    /// Checks the arguments and makes the call that `task` begins with them.
    ///
    /// # Errors
    /// For arguments that no machine could serve; nothing has changed then.
    pub(super) fn begin(self, kernel: &mut Kernel, task: TaskId) -> Result<Call, Misuse> {
        Ok(match self {
            Request::MovePages { target, request } => {
                let mm = memory_of(kernel, target)?;
                kernel.get_mm(mm);
                Call::MovePages(MovePages::new(mm, request))
            }
            Request::QueryPages { target, question } => {
                let mm = memory_of(kernel, target)?;
                kernel.get_mm(mm);
                Call::QueryPages(QueryPages::new(mm, question))
            }
            Request::MigratePages { target, from, to, is_shared_too } => {
                let mm = memory_of(kernel, target)?;
                kernel.get_mm(mm);
                Call::MigratePages(MigratePages::new(mm, from, to, is_shared_too))
            }
            Request::Mbind { start, len, policy, wanted } => {
                // Nothing is mapped beyond user space, which is all that the scan needs to know.
                let end = check_span(start, len)?;
                Call::Mbind(Mbind::new(memory_of(kernel, task)?, start..end, policy, wanted))
            }
            Request::MigrateFrames { frames, target, is_offlining } => {
                check_frames(kernel, &frames)?;
                Call::MigrateFrames(MigrateFrames::new(frames, target, is_offlining))
            }
            other => return other.begin_in_memory(kernel, task),
        })
    }

    /// The same for what a task does to its own memory.
    fn begin_in_memory(self, kernel: &mut Kernel, task: TaskId) -> Result<Call, Misuse> {
        let range = |start, len| check_range(start, len).map(|end| (start, end));
        Ok(match self {
            Request::Touch(pages) => {
                let mm = memory_of(kernel, task)?;
                check_mostly_mapped(kernel, mm, &pages)?;
                Call::Access(Access::new(mm, pages, What::Touch))
            }
            Request::Read { address, size } => {
                let mm = checked_bytes(kernel, task, address, size)?;
                Call::Access(Access::read(mm, address, size))
            }
            Request::Write { address, data } => {
                let mm = checked_bytes(kernel, task, address, data.len())?;
                Call::Access(Access::write(mm, address, data))
            }
            Request::Fork { name } => Call::Fork(Fork::new(name, memory_of(kernel, task)?)),
            Request::Exit => Call::Exit(Exit::new()),
            Request::Munmap { start, len } => {
                let (start, end) = range(start, len)?;
                Call::Munmap(Munmap::new(memory_of(kernel, task)?, start, end))
            }
            Request::Mprotect { start, len, protection } => {
                let (start, end) = range(start, len)?;
                Call::Mprotect(Mprotect::new(memory_of(kernel, task)?, start, end, protection))
            }
            Request::Mlock { start, len, is_lock } => {
                let (start, end) = range(start, len)?;
                Call::Mlock(Mlock::new(memory_of(kernel, task)?, start, end, is_lock))
            }
            Request::Mremap { start, len, new_len, to } => {
                let (start, end) = range(start, len)?;
                let mm = memory_of(kernel, task)?;
                Call::Mremap(Mremap::new(mm, start, end - start, new_len, to))
            }
            Request::Madvise { start, len, advice } => {
                let (start, end) = range(start, len)?;
                Call::Madvise(Madvise::new(memory_of(kernel, task)?, start, end, advice))
            }
            Request::Pin { address, is_write } => {
                Call::Pin(Pin::new(memory_of(kernel, task)?, address, is_write))
            }
            Request::Unpin(page) => {
                if !kernel.pins.contains_key(&page) {
                    return Err(Misuse::NotPinned(page.0.into()));
                }
                Call::Unpin(page)
            }
            other => return other.begin_in_kernel(kernel, task),
        })
    }

    /// The same for what the kernel does by itself, and for files.
    fn begin_in_kernel(self, kernel: &mut Kernel, task: TaskId) -> Result<Call, Misuse> {
        Ok(match self {
            Request::Drain => Call::Drain,
            Request::Offline { first, count, timeout } => {
                let last = count.checked_sub(1).ok_or_else(|| {
                    Misuse::Other("no frames to take offline; at least a pageblock".into())
                })?;
                let end = u64::from(first.0) + u64::from(count);
                if end > kernel.frames.len() as u64 {
                    let last = u64::from(first.0) + u64::from(last);
                    return Err(Misuse::NoSuchFrame(last, kernel.frames.len() as u64 - 1));
                }
                Call::Offline(Offline::new(first..Pfn(first.0 + count), timeout))
            }
            Request::SoftOffline(page) => {
                check_frames(kernel, &[page])?;
                Call::SoftOffline(SoftOffline::new(page))
            }
            Request::ChangeCpuset { cpuset, change } => {
                cpuset::check(kernel, cpuset)?;
                if let Change::Attach(pid) = change {
                    let found = kernel.tasks.find(pid).filter(|_| pid != KERNEL_TASK);
                    found.ok_or(Misuse::NoSuchTask(pid))?;
                }
                Call::ChangeCpuset(ChangeCpuset::new(cpuset, change))
            }
            Request::SwapOut { address } => {
                let mm = memory_of(kernel, task)?;
                if address >= USER_END {
                    let (start, len, end) = (address, 1, USER_END);
                    return Err(Misuse::BadRange { start, len, end });
                }
                Call::SwapOut(SwapOut::new(mm, address))
            }
            Request::Reclaim { node, pages, is_anon } => {
                if !kernel.zones.nodes().contains(&node) {
                    return Err(Misuse::NoSuchNode(node.0.into()));
                }
                Call::Reclaim(Reclaim::new(kernel, node, pages, is_anon))
            }
            Request::KsmScan if !kernel.contents.exist() => return Err(Misuse::NoContents),
            Request::KsmScan => Call::KsmScan(KsmScan::new()),
            Request::CompleteIo => Call::CompleteIo(None),
            of_file => files::begin(kernel, of_file)?,
        })
    }
}

/// The memory of a task.
pub(super) fn memory_of(kernel: &Kernel, task: TaskId) -> Result<MmId, Misuse> {
    let found = kernel.tasks.find(task).ok_or(Misuse::NoSuchTask(task))?;
    found.mm.ok_or(Misuse::NoMemory(task))
}

fn checked_bytes(kernel: &Kernel, task: TaskId, start: u64, size: usize) -> Result<MmId, Misuse> {
    if !kernel.contents.exist() {
        return Err(Misuse::NoContents);
    }
    let len = size as u64;
    match start.checked_add(len) {
        Some(end) if end <= USER_END => memory_of(kernel, task),
        _ => Err(Misuse::BadRange { start, len, end: USER_END }),
    }
}

/// Addresses that a touch of unmapped pages may report.
pub(super) const SIGSEGV_MAX: u64 = 1 << 24;

/// Refuses a range that leaves user space, or whose unmapped pages would fill the host's memory
/// with their addresses.
fn check_mostly_mapped(kernel: &Kernel, mm: MmId, pages: &Pages) -> Result<(), Misuse> {
    let Pages::Range { start, pages, .. } = *pages else { return Ok(()) };
    let len = (pages as u64).checked_mul(PAGE_SIZE);
    let end = len.and_then(|len| start.checked_add(len)).filter(|&end| end <= USER_END + PAGE_SIZE);
    let Some(end) = end else {
        return Err(Misuse::BadRange { start, len: len.unwrap_or(u64::MAX), end: USER_END });
    };
    let mut unmapped = end - start;
    let mut next = start;
    while let Some(id) = kernel.mms[mm].find_vma(next).filter(|&id| kernel.vmas[id].start < end) {
        let vma = &kernel.vmas[id];
        unmapped -= vma.end.min(end) - vma.start.max(start);
        next = vma.end;
    }
    if unmapped / PAGE_SIZE > SIGSEGV_MAX {
        let pages = unmapped / PAGE_SIZE;
        return Err(Misuse::Other(format!(
            "{pages} pages of the range are not mapped; at most {SIGSEGV_MAX} can be reported"
        )));
    }
    Ok(())
}

fn check_frames(kernel: &Kernel, frames: &[Pfn]) -> Result<(), Misuse> {
    let last = kernel.frames.len() as u64 - 1;
    match frames.iter().find(|page| page.index() as u64 > last) {
        Some(page) => Err(Misuse::NoSuchFrame(page.0.into(), last)),
        None => Ok(()),
    }
}
