//! `offline_pages`: a span of frames is emptied and taken away (syscalls 7).
//!
//! The pageblocks are marked ISOLATE, so that nobody gets a frame of them any more; then their pages
//! are moved elsewhere, round by round, until none is left on an LRU list or time is up. No
//! `mmap_sem` is held, so every mapper may do as it likes meanwhile (Q34).
//!
//! Below us: `state/zone/isolation` for the frames, [`super::batch`] for the pages. Above us: the
//! machine. Left out: balloon notifiers, the recomputing of watermarks (they stay as configured).

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::target::Target;
use crate::base::{Errno, Pfn, ZoneId};
use crate::kernel::Kernel;
use crate::ksm;
use crate::pagecache::transfer;
use crate::state::frame::PageFlags;
use crate::state::lock::{AtPause, Want};
use crate::state::zone::Span;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;

/// Rounds that may end with an error (step 4).
const TRIES: u32 = 5;
/// Pages that one round isolates at most.
const BUDGET: u32 = 256;
/// Frames that a scan looks at before it pauses, perhaps, and how many of them are as much work as one
/// page elsewhere.
const STRETCH: u32 = 1 << 14;
const FRAMES_A_PAGE: u32 = 32;

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// Step 1: is it a span that can go offline?
    Checking,
    /// Step 2: its pageblocks are marked.
    Marking,
    /// Step 3: KSM stops.
    Notifying,
    /// Step 5a, after step 4 the first time.
    Judging,
    /// Step 5b.
    Draining,
    /// Step 5c: the first page that is on a list.
    Scanning,
    /// Step 5d, `do_migrate_range`: from this frame on.
    Isolating(Pfn),
    /// The same, when a page could not be isolated: nothing moves.
    PuttingBack(Vec<Pfn>),
    /// The same: on their way.
    Moving,
    /// The end of 5d: the processor goes to somebody else for a tick.
    Yielding,
    /// Step 6.
    DrainingLast,
    /// Step 7.
    Inspecting,
    /// Steps 8 and 9.
    Leaving,
    /// The way back: KSM goes on, the pageblocks are MOVABLE again.
    Failing(Errno),
    Done(Result<(), Errno>),
}

/// One offlining of a span of frames.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Offline {
    span: Span,
    timeout: u64,
    zone: ZoneId,
    deadline: u64,
    has_deadline: bool,
    must_drain: bool,
    tries: u32,
    /// Pages that this round may still isolate.
    budget: u32,
    /// Frames in use that this round could not isolate.
    unmanaged: u32,
    /// Where the next scan of a call that runs through begins: no page before it is on a list, or comes
    /// to be on one. Otherwise the first frame.
    settled: Pfn,
    batch: Batch,
    phase: Phase,
}

impl Offline {
    /// Will take a span that is not empty offline, or give up after `timeout` ticks.
    pub fn new(span: Span, timeout: u64) -> Offline {
        Offline {
            settled: span.start,
            span,
            timeout,
            zone: ZoneId(0),
            deadline: 0,
            has_deadline: false,
            must_drain: false,
            tries: TRIES,
            budget: 0,
            unmanaged: 0,
            batch: Batch::new(Target::Anywhere, 0),
            phase: Phase::Checking,
        }
    }

    /// 0 or an errno. Only once done.
    pub fn result(&self) -> Result<(), Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the offlining was done"),
        }
    }

    /// The batch under way.
    pub fn batch(&self) -> Option<&Batch> {
        matches!(self.phase, Phase::Isolating(_) | Phase::Moving).then_some(&self.batch)
    }

    /// Pages that wait to go back to their lists.
    pub fn putting_back(&self) -> &[Pfn] {
        match &self.phase {
            Phase::PuttingBack(pages) => pages,
            _ => &[],
        }
    }

    /// Whether it gives up at some tick that is known already.
    pub const fn has_deadline(&self) -> bool {
        self.has_deadline
    }

    /// The locks that it has at a pause: KSM is kept out from step 3 to the end.
    pub fn locks_at_pause(&self) -> AtPause {
        match self.phase {
            Phase::Checking | Phase::Marking | Phase::Notifying | Phase::Done(_) => AtPause::new(),
            _ => vec![(LockId::KsmThread, Want::Exclusive)],
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Checking => &["SY7-1"],
            Phase::Marking => &["SY7-2"],
            Phase::Notifying => &["SY7-3"],
            Phase::Judging if !self.has_deadline => &["SY7-4", "SY7-5a"],
            Phase::Judging => &["SY7-5a"],
            Phase::Draining => &["SY7-5b"],
            Phase::Scanning => &["SY7-5c"],
            Phase::Isolating(_) => &["SY7-5d"],
            Phase::PuttingBack(_) => &["SY7-5d-putback", "PB-1", "PB-2", "PB-3", "PB-4"],
            Phase::Moving => self.batch.labels(),
            Phase::Yielding => &["SY7-5d-yield"],
            Phase::DrainingLast => &["SY7-6"],
            Phase::Inspecting => &["SY7-7"],
            Phase::Leaving => &["SY7-8", "SY7-9"],
            Phase::Failing(_) => &["SY7-fail"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Checking => self.check(kernel),
                Phase::Marking => self.mark(kernel),
                Phase::Notifying => {
                    if !ksm::going_offline::<M>(kernel, me) {
                        return Progress::Waiting(LockId::KsmThread);
                    }
                    self.phase = Phase::Judging;
                }
                Phase::Judging => self.judge(kernel, me),
                Phase::Draining => {
                    kernel.drain_all();
                    self.phase = Phase::Scanning;
                }
                Phase::Scanning => {
                    let looked = self.scan::<M>(kernel);
                    if kernel.pauses::<M>((looked / FRAMES_A_PAGE) as usize) {
                        return Progress::Ran;
                    }
                }
                Phase::Isolating(from) => {
                    let from = *from;
                    let looked = self.isolate::<M>(kernel, me, from);
                    if kernel.pauses::<M>((1 + looked / FRAMES_A_PAGE) as usize) {
                        return Progress::Ran;
                    }
                }
                Phase::PuttingBack(pages) => match pages.pop() {
                    Some(page) => kernel.put_back_untried::<M>(me, page),
                    None => self.end_round(Err(Errno::Busy)),
                },
                Phase::Moving => match self.batch.advance::<M>(kernel, me) {
                    Progress::Done => self.end_round(self.batch.result()),
                    other => return other,
                },
                Phase::Yielding => self.phase = sleep_a_tick(kernel),
                Phase::DrainingLast => {
                    kernel.drain_all();
                    self.phase = Phase::Inspecting;
                }
                Phase::Inspecting => {
                    let is_vacated = kernel.zones.is_vacated(self.zone, &self.span);
                    self.phase =
                        if is_vacated { Phase::Leaving } else { Phase::Failing(Errno::Busy) };
                }
                Phase::Leaving => {
                    kernel.zones.take_offline(&mut kernel.frames, self.zone, &self.span);
                    follow_nodes(kernel);
                    ksm::offline_done::<M>(kernel, me, Some(self.span.clone()));
                    self.phase = Phase::Done(Ok(()));
                }
                Phase::Failing(errno) => {
                    let errno = *errno;
                    ksm::offline_done::<M>(kernel, me, None);
                    kernel.zones.undo_isolation(self.zone, &self.span);
                    self.phase = Phase::Done(Err(errno));
                }
                Phase::Done(_) => return Progress::Done,
            }
            if let Phase::Done(_) = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Step 1.
    fn check(&mut self, kernel: &Kernel) {
        self.phase = match kernel.zones.zone_of_blocks(&self.span) {
            Some(zone) => {
                self.zone = zone;
                Phase::Marking
            }
            None => Phase::Done(Err(Errno::Invalid)),
        };
    }

    /// Step 2. Blocks that are ISOLATE already are another offliner's, and offline ones nobody's.
    fn mark(&mut self, kernel: &mut Kernel) {
        self.phase = if kernel.zones.isolate(self.zone, &self.span) {
            Phase::Notifying
        } else {
            Phase::Done(Err(Errno::Busy))
        };
    }

    /// Steps 4 and 5a.
    fn judge(&mut self, kernel: &Kernel, me: Me) {
        if !self.has_deadline {
            self.has_deadline = true;
            self.deadline = kernel.now.saturating_add(self.timeout);
        }
        self.phase = if kernel.now > self.deadline {
            Phase::Failing(Errno::Again)
        } else if kernel.tasks[me.task].has_signal {
            Phase::Failing(Errno::Interrupted)
        } else if self.must_drain {
            Phase::Draining
        } else {
            Phase::Scanning
        };
    }

    /// Step 5c; returns how many frames it has looked at. Frame 0 cannot be told from "none" (Q25).
    ///
    /// While nobody else runs, frames that were found settled after a drain stay so: the others are put
    /// back behind them, and nobody gets a frame of an ISOLATE pageblock.
    fn scan<M: Mode>(&mut self, kernel: &Kernel) -> u32 {
        let (from, stop) = if M::STEPS {
            self.settled = self.span.start;
            (self.span.start.0, self.span.end.0)
        } else {
            (self.settled.0, self.span.end.0.min(self.settled.0.saturating_add(STRETCH)))
        };
        let mut frames = (from..stop).map(Pfn);
        let first = frames.find(|&page| kernel.frames[page].has(PageFlags::LRU));
        if !M::STEPS {
            self.settled = first.unwrap_or(Pfn(stop));
            if first.is_none() && stop < self.span.end.0 {
                return stop - from;
            }
        }
        let looked = first.map_or(stop, |page| page.0) - from;
        self.phase = match first.filter(|&page| page != Pfn(0)) {
            Some(page) => {
                self.batch = Batch::new(Target::Anywhere, 0).offlining(true);
                (self.budget, self.unmanaged) = (BUDGET, 0);
                Phase::Isolating(page)
            }
            None => Phase::DrainingLast,
        };
        looked
    }

    /// Step 5d: the next frame in use, from `from` on; after the last, what was isolated moves. Returns
    /// how many frames it has passed over.
    fn isolate<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, from: Pfn) -> u32 {
        let mut frames = (from.0..self.span.end.0).map(Pfn);
        let in_use = frames.find(|&page| kernel.frames[page].count() > 0);
        let looked = in_use.map_or(self.span.end.0, |page| page.0) - from.0;
        let Some(page) = in_use.filter(|_| self.budget > 0) else {
            self.phase = if self.unmanaged > 0 {
                // From the head of the list on; it is taken from its end here.
                Phase::PuttingBack(self.batch.isolated().into_iter().rev().collect())
            } else {
                Phase::Moving
            };
            if self.unmanaged == 0 && self.batch.is_empty() {
                self.end_round(Ok(0));
            }
            return looked;
        };
        match kernel.isolate_page(page) {
            Ok(()) => {
                self.batch.append(page);
                self.budget -= 1;
                kernel.note::<M>(me, EventKind::Isolate, Some(page), 0, 0);
            }
            Err(errno) => {
                self.unmanaged += 1;
                let value = i64::from(errno.negative());
                kernel.note::<M>(me, EventKind::Refuse, Some(page), 0, value);
            }
        }
        self.phase = Phase::Isolating(Pfn(page.0 + 1));
        looked
    }

    /// The end of step 5d: five errors are enough; whatever did not move gets another chance.
    fn end_round(&mut self, moved: Result<u32, Errno>) {
        if !std::mem::replace(&mut self.must_drain, true) {
            // Not drained so far: what waited in a pagevec is yet to come to a list.
            self.settled = self.span.start;
        }
        self.phase = match moved {
            Ok(0) => Phase::Judging,
            Ok(_) => Phase::Yielding,
            Err(errno) => {
                self.tries -= 1;
                if self.tries == 0 { Phase::Failing(errno) } else { Phase::Yielding }
            }
        };
    }
}

/// Lets a tick pass, with the transfers that end in it.
fn sleep_a_tick(kernel: &mut Kernel) -> Phase {
    match kernel.now.checked_add(1) {
        Some(next_tick) => {
            transfer::pass_time_until(kernel, next_tick, u64::MAX);
            Phase::Judging
        }
        // The clock is at its end: so is every deadline.
        None => Phase::Failing(Errno::Again),
    }
}

/// A node that has lost its last frame is in no cpuset any more, and none of their tasks may use it.
fn follow_nodes(kernel: &mut Kernel) {
    let with_memory = kernel.zones.nodes_with_memory();
    let root = &mut kernel.cpusets.rows[0];
    if root.mems == with_memory {
        return;
    }
    root.mems = with_memory;
    let pids: Vec<_> = kernel.tasks.iter().map(|(pid, _)| pid).collect();
    for pid in pids {
        if let Some(cpuset) = kernel.tasks[pid].cpuset {
            kernel.tasks[pid].mems_allowed = kernel.cpusets.mems_allowed(cpuset, with_memory);
        }
    }
}
