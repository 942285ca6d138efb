//! The node-array mode of `move_pages(2)`: chunks of 169 pages (migration 18 and 19).

mod straight;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::collect::{is_left_alone, is_migratable};
use super::pointers::Pointers;
use super::target::Target;
use crate::base::{Errno, MmId, NodeId, Pfn};
use crate::fault::{Follow, follow_page_locked};
use crate::kernel::Kernel;
use crate::mmap::MmRelease;
use crate::state::lock::Want;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;

/// Records in a chunk: 170 of 24 bytes fit a page, and the last one is the end marker (DP-4).
const CHUNK: usize = 4096 / 24 - 1;

/// What the caller wants, as far as it could be read and checked (DP-5b).
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Request {
    /// How many entries were asked for. There may be fewer addresses than that.
    pub count: u64,
    /// Addresses of the entries before the first bad one.
    pub addresses: Vec<u64>,
    /// Their nodes, valid ones.
    pub nodes: Vec<NodeId>,
    /// The first entry that cannot be read or names a bad node, and what that means.
    pub fill_error: Option<(u64, Errno)>,
    /// How many statuses can be written before user memory faults.
    pub statuses_writable: u64,
    /// Whether pages that are mapped more than once move, too (MPOL_MF_MOVE_ALL).
    pub is_shared_too: bool,
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// DP-3.
    Preparing,
    /// DP-5a to c.
    Filling,
    /// DM-1.
    Entering,
    /// DM-2, from this record on.
    Looking(usize),
    /// DM-3.
    Moving,
    /// DM-4.
    Leaving(Result<(), Errno>),
    /// DP-5e.
    Reporting,
    /// MV-8.
    Releasing(MmRelease),
    Done,
}

/// One call on the memory of a target.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct MovePages {
    mm: MmId,
    request: Request,
    /// First entry of the chunk, and how many it has.
    start: usize,
    len: usize,
    pointers: Pointers,
    chunk_statuses: Vec<i32>,
    batch: Batch,
    /// Statuses that the caller has seen so far.
    statuses: Vec<i32>,
    result: Result<(), Errno>,
    phase: Phase,
}

impl MovePages {
    /// Will move pages of `mm`, of which the caller has taken a use that this call gives back.
    pub fn new(mm: MmId, request: Request) -> MovePages {
        // The first chunk is the longest.
        let room = request.count.min(CHUNK as u64) as usize;
        let batch = Batch::new(Target::Exactly(Vec::with_capacity(room)), room);
        MovePages {
            mm,
            statuses: Vec::with_capacity(request.addresses.len()),
            request,
            start: 0,
            len: 0,
            pointers: Pointers::new(room),
            chunk_statuses: Vec::with_capacity(room),
            batch,
            result: Ok(()),
            phase: Phase::Preparing,
        }
    }

    /// 0 or an errno (never positive, Q05), and the statuses written, which may be fewer than asked.
    pub fn into_outcome(self) -> (Result<(), Errno>, Vec<i32>) {
        (self.result, self.statuses)
    }

    /// Statuses written so far.
    pub fn statuses(&self) -> &[i32] {
        &self.statuses
    }

    /// The batch under way.
    pub fn batch(&self) -> Option<&Batch> {
        matches!(self.phase, Phase::Looking(_) | Phase::Moving).then_some(&self.batch)
    }

    /// The memory, while the call has a use of it.
    pub const fn mm_in_use(&self) -> Option<MmId> {
        match &self.phase {
            Phase::Releasing(release) => release.mm_in_use(),
            Phase::Done => None,
            _ => Some(self.mm),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Preparing => &["DP-1", "DP-2", "DP-3", "PREP-1", "DP-4"],
            Phase::Filling => &["DP-5", "DP-6"],
            Phase::Entering => &["DM-1"],
            Phase::Looking(_) => &["DM-2"],
            Phase::Moving if self.batch.is_starting() => &["DM-3", "MP-1"],
            Phase::Moving => self.batch.labels(),
            Phase::Leaving(_) => &["DM-4"],
            Phase::Reporting => &["DP-5"],
            Phase::Releasing(release) if release.mm_in_use().is_some() => &["DP-7", "MV-8"],
            Phase::Releasing(release) => release.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to, besides the batch's.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Releasing(release) => release.held_pages(),
            _ => Vec::new(),
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let sem = LockId::MmapSem(self.mm);
        loop {
            match &mut self.phase {
                Phase::Preparing => {
                    kernel.drain_all();
                    self.phase = Phase::Filling;
                }
                Phase::Filling => {
                    if kernel.pauses::<M>(self.len) {
                        return Progress::Ran;
                    }
                    self.fill(kernel);
                }
                Phase::Entering => {
                    if !kernel.lock::<M>(me, sem, Want::Shared) {
                        return Progress::Waiting(sem);
                    }
                    self.phase = Phase::Looking(0);
                }
                Phase::Looking(record) => {
                    let record = *record;
                    if let Err(lock) = self.look_all::<M>(kernel, me, record) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Moving => match self.batch.advance::<M>(kernel, me) {
                    Progress::Done => {
                        self.take_results();
                        self.phase = Phase::Leaving(self.batch.result().map(|_| ()));
                    }
                    other => return other,
                },
                Phase::Leaving(result) => {
                    let result = *result;
                    kernel.unlock::<M>(me, sem);
                    self.phase = match result {
                        Ok(()) => Phase::Reporting,
                        Err(errno) => self.end(Err(errno)),
                    };
                }
                Phase::Reporting => self.report(),
                Phase::Releasing(release) => match release.advance::<M>(kernel, me) {
                    Progress::Done => {
                        self.phase = Phase::Done;
                        return Progress::Done;
                    }
                    other => return other,
                },
                Phase::Done => return Progress::Done,
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// How many entries are done, of how many.
    pub fn done_of(&self) -> (u64, u64) {
        (self.start as u64, self.request.count)
    }

    /// Ends the call here, between two chunks, as a fatal signal would.
    pub fn cut(&mut self) {
        if let Phase::Filling = self.phase {
            self.phase = self.end(Err(Errno::Interrupted));
        }
    }

    fn end(&mut self, result: Result<(), Errno>) -> Phase {
        self.result = result;
        Phase::Releasing(MmRelease::new(self.mm))
    }

    /// The next chunk. A bad entry in it ends the call before any of it is looked up.
    fn fill(&mut self, kernel: &Kernel) {
        let start = self.start as u64;
        if start >= self.request.count {
            self.phase = self.end(Ok(()));
            return;
        }
        let end = self.request.count.min(start + CHUNK as u64);
        if let Some(errno) = self.bad_entry(kernel, end) {
            self.phase = self.end(Err(errno));
            return;
        }
        self.len = (end - start) as usize;
        self.chunk_statuses.clear();
        self.pointers.begin_chunk();
        let nodes = &self.request.nodes[self.start..self.start + self.len];
        self.batch.reset(self.len, |targets| targets.extend_from_slice(nodes));
        self.phase = Phase::Entering;
    }

    /// What the first bad entry before `end` means. Nodes had memory when the call was made, but it may have
    /// gone offline.
    fn bad_entry(&self, kernel: &Kernel, end: u64) -> Option<Errno> {
        let gone = kernel.zones.nodes_without_memory_left();
        let nodes = self.request.nodes.iter().take(end as usize).skip(self.start);
        if !gone.is_empty() && nodes.into_iter().any(|&node| gone.contains(node)) {
            return Some(Errno::NoDevice);
        }
        self.request.fill_error.filter(|&(entry, _)| entry < end).map(|(_, errno)| errno)
    }

    /// DM-2 for record after record; one only, when stepped.
    #[inline]
    fn look_all<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        from: usize,
    ) -> Result<(), LockId> {
        if !M::STEPS {
            self.look_ahead(kernel);
        }
        // Neighbours mostly lie in the same area, so the last answer is kept.
        let (mut span, mut may_move) = (0..0, false);
        let mut record = from;
        while record < self.len {
            let address = self.request.addresses[self.start + record];
            if !span.contains(&address) {
                let found;
                (span, found) = kernel.mms[self.mm].find_span(&kernel.vmas, address);
                may_move = found.is_some_and(|vma| is_migratable(kernel, vma));
            }
            if !M::STEPS && may_move {
                let next = self.look_straight(kernel, record, &span);
                if next > record {
                    record = next;
                    continue;
                }
            }
            let status = if may_move {
                self.look::<M>(kernel, me, record, address)?
            } else {
                Err(Errno::Fault)
            };
            let status = status.unwrap_or_else(Errno::negative);
            self.chunk_statuses.push(status);
            self.pointers.pass(record);
            record += 1;
            self.phase = Phase::Looking(record);
            if M::STEPS {
                break;
            }
        }
        if self.chunk_statuses.len() == self.len {
            self.phase = if self.batch.is_empty() { Phase::Leaving(Ok(())) } else { Phase::Moving };
        }
        Ok(())
    }

    /// DM-2 b to h for one record whose area can be migrated: its status so far.
    #[inline]
    fn look<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        record: usize,
        address: u64,
    ) -> Result<Result<i32, Errno>, LockId> {
        let how = Follow { get: true, ..Follow::default() };
        let page = match follow_page_locked::<M>(kernel, me, self.mm, address, how)? {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(Err(Errno::NoEntry)),
            Err(errno) => return Ok(Err(errno)),
        };
        let status = self.judge(kernel, record, page, |kernel| {
            kernel.note::<M>(me, EventKind::Isolate, Some(page), address, 0);
        });
        kernel.put_page(page);
        Ok(status)
    }

    /// DM-2 c to f, holding a reference: 0 if the page was queued, which is `noted`, or is on node 0
    /// already.
    #[inline]
    fn judge(
        &mut self,
        kernel: &mut Kernel,
        record: usize,
        page: Pfn,
        noted: impl FnOnce(&mut Kernel),
    ) -> Result<i32, Errno> {
        if is_left_alone(kernel, page) {
            return Err(Errno::NoEntry);
        }
        self.pointers.set(record, page);
        let node = kernel.zones.node_of(page);
        if node == self.request.nodes[self.start + record] {
            return Ok(i32::from(node.0));
        }
        if kernel.frames[page].mapcount() > 1 && !self.request.is_shared_too {
            return Err(Errno::Access);
        }
        kernel.isolate_page(page)?;
        noted(kernel);
        // NP-1: whichever record names the page first decides where it goes and gets the result.
        // No later step changes the records before this one.
        let first = self.pointers.first(record, page);
        self.batch.push(page, first);
        Ok(0)
    }

    /// UM-18's writes into the records.
    fn take_results(&mut self) {
        let results = &self.batch.report().results;
        for (status, result) in self.chunk_statuses.iter_mut().zip(results) {
            match result {
                Some(Ok(node)) => *status = i32::from(node.0),
                Some(Err(errno)) => *status = errno.negative(),
                None => {}
            }
        }
    }

    /// DP-5e: the chunk's statuses, up to the first that cannot be written.
    fn report(&mut self) {
        let room = self.request.statuses_writable.saturating_sub(self.start as u64);
        let writable = self.chunk_statuses.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.statuses.extend_from_slice(&self.chunk_statuses[..writable]);
        self.phase = if writable < self.chunk_statuses.len() {
            self.end(Err(Errno::Fault))
        } else {
            self.start += self.len;
            Phase::Filling
        };
    }
}
