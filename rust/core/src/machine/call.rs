//! Any operation that can be interleaved, as one type.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::audit::Holdings;
use crate::base::{Errno, MmId, Pfn, TaskId};
use crate::cpuset::ChangeCpuset;
use crate::fault::{Access, Pin, Tally};
use crate::filemap::{Invalidate, Lookup, PageWritten, ReadFile, Truncate, WriteFile, WritePage};
use crate::kernel::Kernel;
use crate::ksm::KsmScan;
use crate::migrate::batch::{Batch, Report};
use crate::migrate::frames::MigrateFrames;
use crate::migrate::mbind::Mbind;
use crate::migrate::migrate_pages::MigratePages;
use crate::migrate::move_pages::MovePages;
use crate::migrate::offline::Offline;
use crate::migrate::query::QueryPages;
use crate::migrate::soft_offline::SoftOffline;
use crate::mmap::{Exit, Fork, Mlock, Mprotect, Munmap};
use crate::mmap::{Madvise, Mremap};
use crate::pagecache::transfer;
use crate::reclaim::{Reclaim, ShrinkPage, SwapOut};
use crate::step::{Label, Me, Mode, Progress};

/// What a task is doing in the kernel right now. Plain data: clone it, and go on twice.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant is the operation of its name")]
#[allow(clippy::large_enum_variant, reason = "one per call in flight, never many")]
pub enum Call {
    MovePages(MovePages),
    QueryPages(QueryPages),
    MigratePages(MigratePages),
    Mbind(Mbind),
    MigrateFrames(MigrateFrames),
    Access(Access),
    Fork(Fork),
    Exit(Exit),
    Munmap(Munmap),
    Mprotect(Mprotect),
    Mlock(Mlock),
    Pin(Pin),
    Unpin(Pfn),
    Drain,
    Offline(Offline),
    SoftOffline(SoftOffline),
    ChangeCpuset(ChangeCpuset),
    SwapOut(SwapOut),
    Reclaim(Reclaim),
    KsmScan(KsmScan),
    Mremap(Mremap),
    Madvise(Madvise),
    ReadFile(ReadFile),
    WriteFile(WriteFile),
    Truncate(Truncate),
    Lookup(Lookup),
    WritePage(WritePage),
    CompleteIo(Option<bool>),
    Invalidate(Invalidate),
}

/// What a call came to.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// `move_pages`: the result, the statuses, and how many bytes of them were written.
    Statuses(Result<(), Errno>, Vec<i32>, u64),
    /// `migrate_pages(2)`: how many isolated pages did not move.
    Count(Result<u32, Errno>),
    /// The engine: pages not migrated, status by frame, and its report.
    Migrated(Result<u32, Errno>, Vec<i32>, Report),
    /// Loads and stores, with the bytes loaded.
    Accessed(Tally, Vec<u8>),
    /// A child, or why there is none.
    Child(Result<TaskId, Errno>),
    /// Success or an error, as the system call returns it.
    Returned(Result<(), Errno>),
    /// `ksm_scan`: how many places got another page than they had.
    Merged(u32),
    /// A pinned page, or why not.
    Pinned(Result<Pfn, Errno>),
    /// Whether a page was freed.
    Freed(bool),
    /// `mremap`: where the range is now.
    Moved(Result<u64, Errno>),
    /// Bytes of a file.
    FileRead(Result<Vec<u8>, Errno>),
    /// How many bytes went into a file.
    FileWritten(Result<u64, Errno>),
    /// What became of a page that was to be written back.
    PageWritten(Result<PageWritten, Errno>),
    /// Yes or no.
    Answered(bool),
    /// Nothing to tell.
    Nothing,
}

impl Call {
    /// Makes one step; in mode `Run`, all of them.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        match self {
            Call::MovePages(call) => call.advance::<M>(kernel, me),
            Call::QueryPages(call) => call.advance::<M>(kernel, me),
            Call::MigratePages(call) => call.advance::<M>(kernel, me),
            Call::Mbind(call) => call.advance::<M>(kernel, me),
            Call::MigrateFrames(call) => call.advance::<M>(kernel, me),
            Call::Access(call) => call.advance::<M>(kernel, me),
            Call::Fork(call) => call.advance::<M>(kernel, me),
            Call::Exit(call) => call.advance::<M>(kernel, me),
            Call::Munmap(call) => call.advance::<M>(kernel, me),
            Call::Mprotect(call) => call.advance::<M>(kernel, me),
            Call::Mlock(call) => call.advance::<M>(kernel, me),
            Call::SwapOut(call) => call.advance::<M>(kernel, me),
            Call::Reclaim(call) => call.advance::<M>(kernel, me),
            Call::Pin(call) => {
                let progress = call.advance::<M>(kernel, me);
                if let (Progress::Done, Ok(page)) = (progress, pin_result(call, progress)) {
                    pin(kernel, page);
                }
                progress
            }
            Call::Unpin(page) => {
                unpin(kernel, *page);
                Progress::Done
            }
            Call::Drain => {
                kernel.drain_all();
                Progress::Done
            }
            Call::Offline(call) => call.advance::<M>(kernel, me),
            Call::SoftOffline(call) => call.advance::<M>(kernel, me),
            Call::ChangeCpuset(call) => call.advance::<M>(kernel, me),
            Call::KsmScan(call) => call.advance::<M>(kernel, me),
            Call::Mremap(call) => call.advance::<M>(kernel, me),
            Call::Madvise(call) => call.advance::<M>(kernel, me),
            Call::ReadFile(call) => call.advance::<M>(kernel, me),
            Call::WriteFile(call) => call.advance::<M>(kernel, me),
            Call::Truncate(call) => call.advance::<M>(kernel, me),
            Call::Lookup(call) => {
                let progress = call.advance::<M>(kernel, me);
                if progress == Progress::Done {
                    // From now on it counts as a pin.
                    call.found().into_iter().for_each(|page| pin(kernel, page));
                }
                progress
            }
            Call::WritePage(call) => call.advance::<M>(kernel, me),
            Call::CompleteIo(has_ended) => {
                *has_ended = Some(transfer::complete_next(kernel));
                Progress::Done
            }
            Call::Invalidate(call) => call.advance::<M>(kernel, me),
        }
    }

    /// The steps of the specification that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match self {
            Call::MovePages(call) => call.labels(),
            Call::QueryPages(call) => call.labels(),
            Call::MigratePages(call) => call.labels(),
            Call::Mbind(call) => call.labels(),
            Call::MigrateFrames(call) => call.labels(),
            Call::Access(call) => call.labels(),
            Call::Fork(call) => call.labels(),
            Call::Exit(call) => call.labels(),
            Call::Munmap(call) => call.labels(),
            Call::Mprotect(call) => call.labels(),
            Call::Mlock(call) => call.labels(),
            Call::SwapOut(call) => call.labels(),
            Call::Reclaim(call) => call.labels(),
            Call::Pin(call) => call.labels(),
            Call::Unpin(_) => &["SP17-unpin"],
            Call::Drain => &["PREP-1"],
            Call::Offline(call) => call.labels(),
            Call::SoftOffline(call) => call.labels(),
            Call::ChangeCpuset(call) => call.labels(),
            Call::KsmScan(call) => call.labels(),
            Call::Mremap(call) => call.labels(),
            Call::Madvise(call) => call.labels(),
            Call::ReadFile(call) => call.labels(),
            Call::WriteFile(call) => call.labels(),
            Call::Truncate(call) => call.labels(),
            Call::Lookup(call) => call.labels(),
            Call::WritePage(call) => call.labels(),
            Call::CompleteIo(_) => &["SP10-complete"],
            Call::Invalidate(call) => call.labels(),
        }
    }

    /// Adds what it holds to `holdings`.
    pub(super) fn hold(&self, holdings: &mut Holdings) {
        let held: Vec<Pfn> = match self {
            Call::MovePages(call) => {
                call.batch().into_iter().for_each(|batch| hold_batch(batch, holdings));
                call.held_pages()
            }
            Call::QueryPages(call) => call.held_pages(),
            Call::MigratePages(call) => {
                call.batch().into_iter().for_each(|batch| hold_batch(batch, holdings));
                call.held_pages()
            }
            Call::Mbind(call) => {
                call.batch().into_iter().for_each(|batch| hold_batch(batch, holdings));
                holdings.isolated.extend(call.putting_back());
                Vec::new()
            }
            Call::MigrateFrames(call) => {
                call.batch().into_iter().for_each(|batch| hold_batch(batch, holdings));
                Vec::new()
            }
            Call::SwapOut(call) => {
                holdings.isolated.extend(call.isolated());
                hold_shrinking(call.shrinking(), holdings);
                Vec::new()
            }
            Call::Reclaim(call) => {
                holdings.isolated.extend(call.isolated());
                hold_shrinking(call.shrinking(), holdings);
                Vec::new()
            }
            Call::Access(call) => call.held_pages().into_iter().flatten().collect(),
            Call::Exit(call) => call.held_pages(),
            Call::Munmap(call) => call.held_pages(),
            Call::Mlock(call) => call.held_pages(),
            Call::Pin(call) => call.held_pages().into_iter().flatten().collect(),
            Call::Fork(call) => call.held_pages(),
            Call::Mremap(call) => {
                holdings.carried.extend(call.carried());
                call.held_pages()
            }
            Call::Madvise(call) => call.held_pages(),
            Call::Mprotect(_) | Call::Unpin(_) | Call::Drain => Vec::new(),
            Call::Offline(call) => {
                call.batch().into_iter().for_each(|batch| hold_batch(batch, holdings));
                holdings.isolated.extend(call.putting_back());
                Vec::new()
            }
            Call::SoftOffline(call) => {
                call.batch().into_iter().for_each(|batch| hold_batch(batch, holdings));
                call.held_page().into_iter().collect()
            }
            Call::ChangeCpuset(call) => {
                call.batch().into_iter().for_each(|batch| hold_batch(batch, holdings));
                call.held_pages()
            }
            Call::KsmScan(call) => {
                holdings.uses.extend(call.mms_in_use());
                call.held_pages()
            }
            Call::ReadFile(call) => call.held_page().into_iter().collect(),
            Call::WriteFile(call) => call.held_page().into_iter().collect(),
            Call::Truncate(call) => call.held_pages(),
            Call::Lookup(call) => call.held_page().into_iter().collect(),
            Call::WritePage(call) => call.held_page().into_iter().collect(),
            Call::CompleteIo(_) => Vec::new(),
            Call::Invalidate(call) => call.held_page().into_iter().collect(),
        };
        holdings.references.extend(held);
        holdings.uses.extend(self.mm_in_use());
    }

    /// The address space that it has a use of, besides its task's.
    fn mm_in_use(&self) -> Option<MmId> {
        match self {
            Call::MovePages(call) => call.mm_in_use(),
            Call::QueryPages(call) => call.mm_in_use(),
            Call::MigratePages(call) => call.mm_in_use(),
            Call::Exit(call) => call.mm_in_use(),
            Call::Fork(call) => call.unborn(),
            Call::ChangeCpuset(call) => call.mm_in_use(),
            _ => None,
        }
    }

    /// Statuses that a `move_pages` has written so far.
    pub fn statuses(&self) -> &[i32] {
        match self {
            Call::MovePages(call) => call.statuses(),
            Call::QueryPages(call) => call.statuses(),
            _ => &[],
        }
    }

    /// What it came to. Only once done.
    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Call::MovePages(call) => {
                let (result, statuses) = call.into_outcome();
                let bytes = statuses.len() as u64 * 4;
                Outcome::Statuses(result, statuses, bytes)
            }
            Call::QueryPages(call) => {
                let (result, statuses, bytes) = call.into_outcome();
                Outcome::Statuses(result, statuses, bytes)
            }
            Call::MigratePages(call) => Outcome::Count(call.result()),
            Call::SwapOut(call) => Outcome::Freed(call.is_freed()),
            Call::Reclaim(call) => Outcome::Count(Ok(call.freed())),
            Call::Mbind(call) => Outcome::Returned(call.result()),
            Call::MigrateFrames(call) => {
                let (result, statuses, report) = call.into_outcome();
                Outcome::Migrated(result, statuses, report)
            }
            Call::Access(call) => {
                let (tally, data) = call.into_outcome();
                Outcome::Accessed(tally, data)
            }
            Call::Fork(call) => Outcome::Child(call.result()),
            Call::Mprotect(call) => Outcome::Returned(call.result()),
            Call::Mlock(call) => Outcome::Returned(call.result()),
            Call::Munmap(_) => Outcome::Returned(Ok(())),
            Call::Mremap(call) => Outcome::Moved(call.result()),
            Call::Madvise(call) => Outcome::Returned(call.result()),
            Call::Pin(call) => Outcome::Pinned(call.result()),
            Call::Exit(_) | Call::Unpin(_) | Call::Drain => Outcome::Nothing,
            Call::Offline(call) => Outcome::Returned(call.result()),
            Call::SoftOffline(call) => Outcome::Returned(call.result()),
            Call::ChangeCpuset(call) => Outcome::Returned(call.result()),
            Call::KsmScan(call) => Outcome::Merged(call.merged()),
            Call::ReadFile(call) => Outcome::FileRead(call.into_result()),
            Call::WriteFile(call) => Outcome::FileWritten(call.result()),
            Call::Truncate(call) => Outcome::Returned(call.result()),
            Call::Lookup(call) => Outcome::Pinned(call.found().ok_or(Errno::NoEntry)),
            Call::WritePage(call) => Outcome::PageWritten(call.result()),
            Call::CompleteIo(has_ended) => Outcome::Answered(has_ended == Some(true)),
            Call::Invalidate(call) => Outcome::Answered(call.is_gone()),
        }
    }
}

fn pin_result(pin: &Pin, progress: Progress) -> Result<Pfn, Errno> {
    if progress == Progress::Done { pin.result() } else { Err(Errno::Again) }
}

fn pin(kernel: &mut Kernel, page: Pfn) {
    *kernel.pins.entry(page).or_default() += 1;
}

fn unpin(kernel: &mut Kernel, page: Pfn) {
    if let Some(pins) = kernel.pins.get_mut(&page) {
        *pins -= 1;
        if *pins == 0 {
            kernel.pins.remove(&page);
        }
        kernel.put_page(page);
    }
}

fn hold_shrinking(shrink: Option<&ShrinkPage>, holdings: &mut Holdings) {
    let frozen = shrink.filter(|shrink| shrink.is_frozen());
    holdings.frozen.extend(frozen.map(|shrink| (shrink.page(), ShrinkPage::FROZEN_COUNT)));
}

fn hold_batch(batch: &Batch, holdings: &mut Holdings) {
    holdings.isolated.extend(batch.isolated());
    if let Some(page_move) = batch.current() {
        holdings.references.extend(page_move.new_page());
        if page_move.may_have_entries() {
            holdings.migrating.insert(page_move.page());
        }
        holdings.frozen.extend(page_move.frozen());
        holdings.moves.extend(page_move.new_page().map(|new| (page_move.page(), new)));
    }
}

impl Request {
    /// Whether the call ends the task that makes it.
    pub(super) const fn is_exit(&self) -> bool {
        matches!(self, Request::Exit)
    }
}
