//! `migrate_pages`: ten passes over a list of isolated pages (migration 15 and 2).

mod straight;

use serde::{Deserialize, Serialize};

use super::page_move::{Ended, Outcome, PageMove};
use super::target::Target;
use crate::base::{Errno, NodeId, Pfn};
use crate::kernel::Kernel;
use crate::step::{Label, Me, Mode, Point, Progress};

/// Passes at most (Q01).
const PASSES: u32 = 10;
/// A batch of at most so many items runs whole.
const WHOLE: usize = 512;
/// Passes after this one may sleep for a page.
const LAST_PATIENT_PASS: u32 = 2;

/// One page of the list.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
struct Item {
    page: Pfn,
    /// Which record, or frame, of the caller it stands for.
    number: u32,
}

#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    /// Before the next item of the pass: a reschedule point.
    Next,
    Moving(PageMove),
    /// MP-5: what is still on the list goes back, from this item on.
    PuttingBack(usize, Outcome),
    /// MP-3 and MP-4: the passes are over.
    Leaving(Outcome),
    Done(Result<u32, Errno>),
}

/// A list of isolated pages on its way.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Batch {
    target: Target,
    is_offlining: bool,
    /// Pages still on the list; those of this pass that leave it are closed up at its end.
    items: Vec<Item>,
    /// Items before this one have been visited in this pass.
    next: usize,
    /// Visited items that stay on the list are moved down to here.
    kept: usize,
    pass: u32,
    retry: u32,
    failed: u32,
    report: Report,
    phase: Phase,
}

/// What became of the items, for the caller.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Result of each item's last attempt that got past allocation (Q04): node or errno.
    pub results: Vec<Option<Result<NodeId, Errno>>>,
    /// Attempts that had a target frame, by item.
    pub attempts: Vec<u32>,
    /// Passes made.
    pub passes: u32,
    /// Target frames that were allocated and thrown away.
    pub frames_discarded: u32,
}

impl Batch {
    /// An empty list; fill it before it runs. `numbers`: how many records, or frames, items can stand for.
    pub fn new(target: Target, numbers: usize) -> Batch {
        let report = Report {
            results: vec![None; numbers],
            attempts: vec![0; numbers],
            ..Report::default()
        };
        Batch {
            target,
            is_offlining: false,
            items: Vec::new(),
            next: 0,
            kept: 0,
            pass: 0,
            retry: 0,
            failed: 0,
            report,
            phase: Phase::Starting,
        }
    }

    /// The same list, for memory that goes offline: KSM pages may move (UM-4).
    pub fn offlining(self, is_offlining: bool) -> Batch {
        Batch { is_offlining, ..self }
    }

    /// An empty list again, with other targets; keeps its memory.
    pub fn reset(&mut self, numbers: usize, fill_nodes: impl FnOnce(&mut Vec<NodeId>)) {
        if let Target::Exactly(nodes) = &mut self.target {
            nodes.clear();
            fill_nodes(nodes);
        }
        self.items.clear();
        self.report.results.clear();
        self.report.results.resize(numbers, None);
        self.report.attempts.clear();
        self.report.attempts.resize(numbers, 0);
        (self.report.passes, self.report.frames_discarded) = (0, 0);
        (self.next, self.kept, self.pass, self.retry, self.failed) = (0, 0, 0, 0, 0);
        self.phase = Phase::Starting;
    }

    /// Adds an isolated page at the tail; its result is reported under `number`.
    #[inline]
    pub fn push(&mut self, page: Pfn, number: usize) {
        self.items.push(Item { page, number: number as u32 });
    }

    /// Adds an isolated page at the tail that stands for itself.
    pub fn append(&mut self, page: Pfn) {
        let number = self.report.results.len();
        self.report.results.push(None);
        self.report.attempts.push(0);
        self.push(page, number);
    }

    /// How many items have left the list, of how many.
    pub fn done_of(&self) -> (u64, u64) {
        let all = self.report.results.len();
        let left = match self.phase {
            Phase::PuttingBack(..) | Phase::Done(_) => 0,
            _ => self.kept + self.items.len() - self.next,
        };
        (all.saturating_sub(left) as u64, all as u64)
    }

    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What became of the items.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Pages not migrated, or `NoMemory`. Only once done.
    pub fn result(&self) -> Result<u32, Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the batch was done"),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting => &["MP-1"],
            Phase::Next if self.is_last_pass_over() => &["MP-2"],
            Phase::Next if matches!(self.target, Target::Exactly(_)) => {
                &["MP-2", "UM-1", "NP-1", "NP-2", "NP-3", "NP-4", "UM-2"]
            }
            Phase::Next => &["MP-2", "UM-1", "UM-2"],
            Phase::Moving(page_move) => page_move.labels(),
            Phase::Leaving(_) => &["MP-3", "MP-4"],
            Phase::PuttingBack(from, _) if *from == self.items.len() => &["MP-5", "MP-6"],
            Phase::PuttingBack(..) => &["MP-5", "PB-1", "PB-2", "PB-3", "PB-4"],
            Phase::Done(_) => &[],
        }
    }

    /// Whether there is no further item and no further pass.
    fn is_last_pass_over(&self) -> bool {
        self.next == self.items.len() && (self.retry == 0 || self.pass == PASSES)
    }

    /// Whether the first step is still to come.
    pub fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting)
    }

    /// The attempt under way.
    pub fn current(&self) -> Option<&PageMove> {
        match &self.phase {
            Phase::Moving(page_move) => Some(page_move),
            _ => None,
        }
    }

    /// Pages that the list holds isolated.
    pub fn isolated(&self) -> Vec<Pfn> {
        let (kept, rest) = match &self.phase {
            Phase::PuttingBack(from, _) => (0, *from),
            Phase::Done(_) => (0, self.items.len()),
            Phase::Moving(page_move) if !page_move.has_let_go() => (self.kept, self.next - 1),
            _ => (self.kept, self.next),
        };
        let on_list = self.items[..kept].iter().chain(&self.items[rest..]);
        on_list.map(|item| item.page).collect()
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        if let Phase::Starting = self.phase {
            self.start(kernel, me);
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
        loop {
            // Choosing the item is no step of its own: the attempt begins in this one.
            if let Phase::Next = self.phase {
                if !M::STEPS {
                    self.go_straight(kernel, me);
                }
                if let Phase::Next = self.phase {
                    if self.items.len() > WHOLE && kernel.pauses::<M>(1) {
                        return Progress::Ran;
                    }
                    self.next_item(kernel);
                }
                if !matches!(self.phase, Phase::Moving(_)) && Point::Open.stops::<M>(me) {
                    return Progress::Ran;
                }
            }
            if let Phase::Moving(page_move) = &mut self.phase {
                match page_move.advance::<M>(kernel, me, &self.target) {
                    Progress::Done => {
                        let ended = page_move.ended();
                        self.end_attempt(kernel, ended);
                    }
                    other => return other,
                }
            } else if let Phase::Leaving(outcome) = self.phase {
                kernel.tasks[me.task].swap_writers -= 1;
                self.phase = Phase::PuttingBack(0, outcome);
            } else if self.put_back_one::<M>(kernel, me) {
                return Progress::Done;
            } else if self.items.len() > WHOLE && kernel.pauses::<M>(1) {
                return Progress::Ran;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// MP-5 for the next page; tells whether there was none left, and the batch is done.
    fn put_back_one<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> bool {
        let Phase::PuttingBack(from, outcome) = self.phase else { return true };
        match self.items.get(from) {
            Some(item) => {
                kernel.put_back_migrated::<M>(me, item.page);
                self.phase = Phase::PuttingBack(from + 1, outcome);
                false
            }
            None => {
                let count = self.failed + self.retry;
                self.phase = Phase::Done(outcome.map(|()| count));
                true
            }
        }
    }

    /// MP-1.
    fn start(&mut self, kernel: &mut Kernel, me: Me) {
        kernel.cost.batches += 1;
        kernel.tasks[me.task].swap_writers += 1;
        self.retry = 1;
        (self.next, self.kept) = (self.items.len(), self.items.len());
        self.pass = 0;
        self.phase = Phase::Next;
    }

    /// MP-2: the next item of the pass, or the next pass, or the end.
    #[inline]
    fn next_item(&mut self, kernel: &mut Kernel) {
        if self.next == self.items.len() {
            self.items.truncate(self.kept);
            if self.retry == 0 || self.pass == PASSES {
                self.leave(Ok(()));
                return;
            }
            self.pass += 1;
            self.report.passes += 1;
            kernel.cost.passes += 1;
            (self.next, self.kept, self.retry) = (0, 0, 0);
        }
        let item = self.items[self.next];
        self.next += 1;
        let may_sleep = self.pass - 1 > LAST_PATIENT_PASS;
        let (page, number) = (item.page, item.number);
        self.phase = Phase::Moving(PageMove::new(page, number, may_sleep, self.is_offlining));
    }

    /// What an attempt means for the list and for its record (UM-18).
    #[inline]
    fn end_attempt(&mut self, kernel: &Kernel, ended: Ended) {
        let (outcome, number) = (ended.outcome, ended.item);
        self.phase = Phase::Next;
        if !ended.is_starved {
            let node = kernel.zones.node_of(ended.target);
            self.report.attempts[number] += 1;
            self.report.results[number] = Some(outcome.map(|()| node));
            self.report.frames_discarded += u32::from(ended.has_wasted_frame);
        }
        if outcome == Err(Errno::NoMemory) {
            // The rest of the list closes up behind what was kept; this item stays, too, unless it was
            // put back: for want of a frame it was not (UM-1), for want of a charge it was (UM-16).
            let rest = if ended.has_let_go { self.next } else { self.next - 1 };
            self.items.copy_within(rest.., self.kept);
            self.items.truncate(self.kept + self.items.len() - rest);
            self.leave(Err(Errno::NoMemory));
            return;
        }
        if !ended.has_let_go {
            self.items[self.kept] = self.items[self.next - 1];
            self.kept += 1;
        }
        match outcome {
            Ok(()) => {}
            Err(Errno::Again) => self.retry += 1,
            Err(_) => self.failed += 1,
        }
    }

    /// The passes are over; everything still on the list is to go back.
    fn leave(&mut self, outcome: Outcome) {
        (self.next, self.kept) = (0, 0);
        self.phase = Phase::Leaving(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{CallId, CpuId, MachineSpec, NodeId};
    use crate::machine::{KERNEL_TASK, Machine};
    use crate::step::Step;

    #[test]
    fn mp1_and_mp4_the_task_may_write_to_congested_devices_only_while_its_batch_runs() {
        let mut machine = Machine::new(&MachineSpec::simple(&[32, 32], 1, false)).unwrap();
        let kernel = machine.kernel_mut();
        let request = crate::state::zone::Request {
            node: NodeId(0),
            is_this_node_only: true,
            policy: crate::base::NodeMask(1),
            mems_allowed: crate::base::NodeMask(1),
        };
        let page = kernel.zones.allocate(&mut kernel.frames, request).unwrap();
        kernel.frames[page].get();
        kernel.put_back(CpuId(0), page);
        kernel.drain_all();
        kernel.isolate_page(page).unwrap();
        let mut batch = Batch::new(Target::Preferably(NodeId(1)), 0);
        batch.append(page);
        let me = Me { call: CallId(1), task: KERNEL_TASK, cpu: CpuId(0), is_fine: true };
        let mut writers = Vec::new();
        while batch.advance::<Step>(kernel, me) != Progress::Done {
            writers.push(kernel.tasks[KERNEL_TASK].swap_writers);
        }
        assert_eq!(writers.iter().max(), Some(&1), "set on the way (MP-1)");
        assert_eq!(
            kernel.tasks[KERNEL_TASK].swap_writers, 0,
            "and as before at the end (MP-4, I-120)"
        );
        assert_eq!(batch.result(), Ok(1), "somebody holds a reference: it stays");
    }
}
