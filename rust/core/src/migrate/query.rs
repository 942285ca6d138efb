//! The query mode of `move_pages(2)`: where are these pages? (migration 20 and 21)

mod straight;

use serde::{Deserialize, Serialize};

use super::collect::is_left_alone;
use crate::base::{Errno, MmId, Pfn};
use crate::fault::{Follow, follow_page_locked};
use crate::kernel::Kernel;
use crate::mmap::MmRelease;
use crate::state::lock::Want;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// Entries in a chunk.
const CHUNK: usize = 16;

/// What the caller asks, as far as it could be read.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Question {
    /// How many entries were asked for.
    pub count: u64,
    /// Addresses of the entries that can be read.
    pub addresses: Vec<u64>,
    /// How many bytes of the status array can be written.
    pub status_bytes_writable: u64,
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Copies in the next addresses.
    Reading,
    /// PS-1.
    Entering,
    /// PS-2, from this entry of the chunk on.
    Looking(usize),
    /// PS-3.
    Leaving,
    /// Copies out the statuses.
    Writing,
    Releasing(MmRelease),
    Done,
}

/// One query of the memory of a target.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct QueryPages {
    mm: MmId,
    question: Question,
    start: usize,
    chunk: Vec<i32>,
    statuses: Vec<i32>,
    bytes_written: u64,
    result: Result<(), Errno>,
    phase: Phase,
}

impl QueryPages {
    /// Will ask about `mm`, of which the caller has taken a use that this call gives back.
    pub fn new(mm: MmId, question: Question) -> QueryPages {
        QueryPages {
            mm,
            statuses: Vec::with_capacity(question.addresses.len()),
            question,
            start: 0,
            chunk: Vec::with_capacity(CHUNK),
            bytes_written: 0,
            result: Ok(()),
            phase: Phase::Reading,
        }
    }

    /// 0 or EFAULT; the statuses of the chunks looked up; and how many bytes of them were written.
    pub fn into_outcome(self) -> (Result<(), Errno>, Vec<i32>, u64) {
        (self.result, self.statuses, self.bytes_written)
    }

    /// Statuses written so far, whole ones.
    pub fn statuses(&self) -> &[i32] {
        &self.statuses[..(self.bytes_written / 4) as usize]
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
            Phase::Reading | Phase::Entering => &["PS-1"],
            Phase::Looking(_) => &["PS-2"],
            Phase::Leaving | Phase::Writing => &["PS-3"],
            Phase::Releasing(release) => release.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to.
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
                Phase::Reading => {
                    if kernel.pauses::<M>(CHUNK) {
                        return Progress::Ran;
                    }
                    if !M::STEPS {
                        self.look_straight(kernel);
                    }
                    self.read();
                    if let Phase::Entering = self.phase {
                        continue;
                    }
                }
                Phase::Entering => {
                    if !kernel.lock::<M>(me, sem, Want::Shared) {
                        return Progress::Waiting(sem);
                    }
                    self.phase = Phase::Looking(0);
                }
                Phase::Looking(entry) => {
                    let entry = *entry;
                    if let Err(lock) = self.look_all::<M>(kernel, me, entry) {
                        return Progress::Waiting(lock);
                    }
                }
                Phase::Leaving => {
                    kernel.unlock::<M>(me, sem);
                    self.phase = Phase::Writing;
                }
                Phase::Writing => self.write(),
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
        (self.start as u64, self.question.count)
    }

    /// Ends the call here, between two chunks, as a fatal signal would.
    pub fn cut(&mut self) {
        if let Phase::Reading = self.phase {
            self.end(Err(Errno::Interrupted));
        }
    }

    fn end(&mut self, result: Result<(), Errno>) {
        self.result = result;
        self.phase = Phase::Releasing(MmRelease::new(self.mm));
    }

    /// The next chunk; all of its addresses must be readable.
    fn read(&mut self) {
        let left = self.question.count - self.start as u64;
        let len = left.min(CHUNK as u64) as usize;
        self.chunk.clear();
        if len == 0 {
            self.end(Ok(()));
        } else if self.start + len > self.question.addresses.len() {
            self.end(Err(Errno::Fault));
        } else {
            self.phase = Phase::Entering;
        }
    }

    #[inline]
    fn look_all<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        from: usize,
    ) -> Result<(), LockId> {
        let left = self.question.count - self.start as u64;
        let len = left.min(CHUNK as u64) as usize;
        // Neighbours mostly lie in the same area, so the last answer is kept.
        let (mut span, mut found) = (0..0, None);
        for entry in from..len {
            let address = self.question.addresses[self.start + entry];
            if !span.contains(&address) {
                (span, found) = kernel.mms[self.mm].find_span(&kernel.vmas, address);
            }
            let status = match found {
                Some(_) => self.look::<M>(kernel, me, address)?,
                None => Err(Errno::Fault),
            };
            self.chunk.push(status.unwrap_or_else(Errno::negative));
            self.phase = Phase::Looking(entry + 1);
            if M::STEPS {
                break;
            }
        }
        if self.chunk.len() == len {
            self.phase = Phase::Leaving;
        }
        Ok(())
    }

    /// PS-2 for one address at or below an area. Whether the area can be migrated is not asked (Q33).
    #[inline]
    fn look<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        address: u64,
    ) -> Result<Result<i32, Errno>, LockId> {
        let found = follow_page_locked::<M>(kernel, me, self.mm, address, Follow::default())?;
        Ok(found.and_then(|page| {
            let page = page.filter(|&page| !is_left_alone(kernel, page));
            page.map(|page| i32::from(kernel.zones.node_of(page).0)).ok_or(Errno::NoEntry)
        }))
    }

    /// Copies the chunk out, byte for byte up to the first that cannot be written.
    fn write(&mut self) {
        self.statuses.append(&mut self.chunk);
        let wanted = self.statuses.len() as u64 * 4;
        self.bytes_written = wanted.min(self.question.status_bytes_writable);
        if self.bytes_written < wanted {
            self.end(Err(Errno::Fault));
        } else {
            self.start = self.statuses.len();
            self.phase = Phase::Reading;
        }
    }
}
