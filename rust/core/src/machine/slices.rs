//! Long calls in slices, so that whoever waits for them can look up, show progress, or stop.
//!
//! Start with [`Machine::run_for`]: as [`Machine::run`], but after about so many pages it answers
//! [`Slice::Paused`], and [`Machine::resume_for`] goes on. Between two slices the call is an
//! ordinary one in flight, at a yield point, with its locks on record; its effects are the same however it
//! was sliced. [`Machine::cut`] is what Ctrl-C does. Decision 0011 has the reasons.
//!
//! A call beside others is stepped, and pauses between two steps. Left out: a verb about one page runs
//! whole.

use super::stepping::Among;
use super::{Call, Deadlock, Flight, Machine, Outcome, Request, RunError, State};
use crate::base::{CallId, CpuId, Misuse, TaskId};
use crate::pagecache::transfer;
use crate::state::lock::AtPause;
use crate::step::{Fuel, Label, Me, Progress, Run, Step};

/// Pages that a call which runs through does in the time of one step, roughly.
const PAGES_A_STEP: u64 = 16;

/// What a slice came to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a slice, taken apart at once")]
pub enum Slice {
    /// The call is over.
    Done(Outcome),
    /// It is in flight.
    Paused(Paused),
    /// Somebody said no before it had begun; nothing has changed.
    Stopped,
}

/// A call between two slices, and what is needed to go on with it.
#[derive(Debug)]
pub struct Paused {
    call: CallId,
    /// If it is stepped beside others.
    among: Option<Among>,
}

impl Paused {
    /// Its number.
    pub const fn call(&self) -> CallId {
        self.call
    }
}

impl Machine {
    /// Runs a call of `task` as [`Machine::run`] does, but pauses after about `pages` pages.
    ///
    /// Whoever does not go on with a call that has paused [cuts](Machine::cut) it.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_for(&mut self, task: TaskId, request: Request, pages: u64) -> Result<Slice, Misuse> {
        self.run_for_while(task, request, pages, &mut || true)
    }

    /// The same, for as long as `goes_on` says so: it is asked while the machine is copied, which a call
    /// beside others begins with.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_for_while(
        &mut self,
        task: TaskId,
        request: Request,
        pages: u64,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Slice, Misuse> {
        let (verb, is_exit) = (request.verb(), request.is_exit());
        self.check_caller(task, is_exit)?;
        if !self.is_alone(None) {
            return match self.start_among_others(task, request, goes_on)? {
                Some((call, among)) => self.step_among_others(call, among, pages),
                None => Ok(Slice::Stopped),
            };
        }
        self.make_room(task, &request)?;
        let cpu = self.kernel.tasks[task].cpu;
        let mut call = request.begin(&mut self.kernel, task)?;
        if self.run_slice(task, cpu, &mut call, pages) {
            return Ok(Slice::Done(call.into_outcome()));
        }
        let id = CallId(self.next_call);
        self.next_call += 1;
        let (is_fine, state, history) = (false, State::Ready, Vec::new());
        self.pause(id, Flight { task, cpu, verb, is_fine, is_exit, call, state, history });
        Ok(Slice::Paused(Paused { call: id, among: None }))
    }

    /// Goes on with a call that has paused.
    ///
    /// # Errors
    /// If there is no such call, it waits or is done, or others are in flight, too; of a call beside
    /// others, as [`Machine::run`].
    pub fn resume_for(&mut self, paused: Paused, pages: u64) -> Result<Slice, Misuse> {
        let Paused { call: id, among } = paused;
        if let Some(among) = among {
            return self.step_among_others(id, among, pages);
        }
        if self.flight(id)?.state != State::Ready || !self.is_alone(Some(id)) {
            return Err(Misuse::Other(format!("call {id} is not alone, or cannot go on")));
        }
        let mut flight = self.take_up(id);
        if self.run_slice(flight.task, flight.cpu, &mut flight.call, pages) {
            // Nobody was given a number meanwhile, so that numbers do not tell of pauses.
            self.next_call = id.0;
            return Ok(Slice::Done(flight.call.into_outcome()));
        }
        self.pause(id, flight);
        Ok(Slice::Paused(Paused { call: id, among: None }))
    }

    fn step_among_others(
        &mut self,
        call: CallId,
        among: Among,
        pages: u64,
    ) -> Result<Slice, Misuse> {
        Ok(match self.go_on_among_others(call, among, pages.div_ceil(PAGES_A_STEP))? {
            Ok(outcome) => Slice::Done(outcome),
            Err(among) => Slice::Paused(Paused { call, among: Some(among) }),
        })
    }

    /// Ends a paused call early, as a fatal signal would, where that is possible between two entries:
    /// `move_pages`, accesses, reads and writes of files. Tells whether it did; any other call stays in
    /// flight, and so does one beside others.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn cut(&mut self, paused: Paused) -> Result<bool, Misuse> {
        let Paused { call: id, among } = paused;
        self.flight(id)?;
        if among.is_some() {
            self.leave_among_others();
            return Ok(false);
        }
        if !self.flights[&id].call.can_be_cut() || !self.is_alone(Some(id)) {
            return Ok(false);
        }
        let mut flight = self.take_up(id);
        flight.call.cut();
        let is_over = self.run_slice(flight.task, flight.cpu, &mut flight.call, u64::MAX);
        debug_assert!(is_over, "enough fuel for everything");
        self.next_call = id.0;
        Ok(true)
    }

    /// How many pages a paused call is done with, of how many; unknown for most.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn done_of(&self, id: CallId) -> Result<Option<(u64, u64)>, Misuse> {
        Ok(self.flight(id)?.call.done_of())
    }

    /// Steps one call as [`Machine::run_until`] does, but makes at most `steps`; what came of it, or
    /// nothing yet.
    ///
    /// # Errors
    /// As [`Machine::run_until`].
    pub fn run_until_for(
        &mut self,
        call: CallId,
        label: &str,
        steps: u64,
    ) -> Result<Option<bool>, Misuse> {
        self.check_goal(call, label)?;
        for _ in 0..steps {
            let is_there = |labels: &[Label]| labels.contains(&label);
            let flight = &self.flights[&call];
            match flight.state {
                State::Ready if is_there(flight.call.labels()) => return Ok(Some(true)),
                State::Ready => self.advance(call, true),
                // A call that waits in the middle of a step is before that step still.
                State::Waiting(_) => return Ok(Some(is_there(flight.call.labels()))),
                State::Done => return Ok(Some(false)),
            }
        }
        Ok(self.flights[&call].is_done().then_some(false))
    }

    /// Lets time go on as [`Machine::advance_time`] does, but ends at most `transfers`; tells whether it
    /// got there.
    pub fn advance_time_for(&mut self, until: u64, transfers: u64) -> bool {
        let is_over = transfer::pass_time_until(&mut self.kernel, until, transfers);
        self.wake();
        is_over
    }

    /// Steps one call as [`Machine::finish`] does, but makes at most `steps`; tells whether it is done.
    ///
    /// # Errors
    /// As [`Machine::finish`].
    pub fn finish_for(&mut self, call: CallId, steps: u64) -> Result<bool, RunError> {
        for _ in 0..steps {
            let state = self.flight(call)?.state;
            match state {
                State::Done => return Ok(true),
                State::Ready => self.advance(call, false),
                State::Waiting(_) if self.pass_time() => {}
                State::Waiting(_) => return Err(self.deadlock().into()),
            }
        }
        Ok(self.flight(call)?.is_done())
    }

    /// The same; tells how many steps it made, beside those in which only time passed.
    ///
    /// # Errors
    /// As [`Machine::finish`].
    pub fn step_towards_end(&mut self, call: CallId, steps: u64) -> Result<usize, RunError> {
        let before = self.flight(call)?.history().len();
        self.finish_for(call, steps)?;
        Ok(self.flight(call)?.history().len() - before)
    }

    /// Steps all calls as [`Machine::run_all`] does, but begins no further round after `steps` steps;
    /// tells whether all are done.
    ///
    /// # Errors
    /// As [`Machine::run_all`].
    pub fn run_all_for(&mut self, steps: u64) -> Result<bool, Deadlock> {
        let mut left = steps;
        while left > 0 {
            // A round may be nothing but time that passes.
            let before = self.kernel.steps;
            if self.run_round()? {
                return Ok(true);
            }
            left = left.saturating_sub((self.kernel.steps - before).max(1));
        }
        Ok(false)
    }

    /// One slice of a call that is alone; tells whether it is over.
    fn run_slice(&mut self, task: TaskId, cpu: CpuId, call: &mut Call, pages: u64) -> bool {
        let me = Me { call: CallId(0), task, cpu, is_fine: false };
        if call.can_pause() {
            self.kernel.fuel = Fuel::for_pages(pages);
        }
        let progress = call.advance::<Run>(&mut self.kernel, me);
        self.kernel.fuel = Fuel::default();
        match progress {
            Progress::Done => true,
            Progress::Ran => false,
            Progress::Waiting(_) => unreachable!("a call that is alone meets no lock"),
        }
    }

    /// Puts a call in flight, with the locks that it has.
    fn pause(&mut self, id: CallId, flight: Flight) {
        let me = Me { call: id, task: flight.task, cpu: flight.cpu, is_fine: false };
        for (lock, want) in flight.call.locks_at_pause() {
            let is_taken = self.kernel.lock::<Step>(me, lock, want);
            debug_assert!(is_taken, "a call that is alone meets no lock");
        }
        self.flights.insert(id, flight);
    }

    /// Takes it out again.
    fn take_up(&mut self, id: CallId) -> Flight {
        let flight = self.flights.remove(&id).expect("the caller found it");
        let me = Me { call: id, task: flight.task, cpu: flight.cpu, is_fine: false };
        for (lock, _) in flight.call.locks_at_pause().into_iter().rev() {
            self.kernel.unlock::<Step>(me, lock);
        }
        flight
    }
}

impl Call {
    /// Whether it pauses in mode `Run` when its fuel is spent. The others are about one page: a pause
    /// could fall where somebody above it holds a lock that is not on record.
    const fn can_pause(&self) -> bool {
        !matches!(
            self,
            Call::Pin(_)
                | Call::Unpin(_)
                | Call::Drain
                | Call::SoftOffline(_)
                | Call::SwapOut(_)
                | Call::Lookup(_)
                | Call::WritePage(_)
                | Call::CompleteIo(_)
                | Call::Invalidate(_)
        )
    }

    /// The locks that it has at a pause, without their being recorded.
    fn locks_at_pause(&self) -> AtPause {
        match self {
            Call::MigratePages(call) => call.locks_at_pause(),
            Call::Mbind(call) => call.locks_at_pause(),
            Call::Fork(call) => call.locks_at_pause(),
            Call::Exit(call) => call.locks_at_pause(),
            Call::Munmap(call) => call.locks_at_pause(),
            Call::Mprotect(call) => call.locks_at_pause(),
            Call::Mlock(call) => call.locks_at_pause(),
            Call::Mremap(call) => call.locks_at_pause(),
            Call::Madvise(call) => call.locks_at_pause(),
            Call::Offline(call) => call.locks_at_pause(),
            Call::ChangeCpuset(call) => call.locks_at_pause(),
            Call::KsmScan(call) => call.locks_at_pause(),
            Call::Truncate(call) => call.locks_at_pause(),
            _ => AtPause::new(),
        }
    }

    /// Whether it can end early, between two entries.
    const fn can_be_cut(&self) -> bool {
        matches!(
            self,
            Call::MovePages(_)
                | Call::QueryPages(_)
                | Call::Access(_)
                | Call::ReadFile(_)
                | Call::WriteFile(_)
        )
    }

    fn cut(&mut self) {
        match self {
            Call::MovePages(call) => call.cut(),
            Call::QueryPages(call) => call.cut(),
            Call::Access(call) => call.cut(),
            Call::ReadFile(call) => call.cut(),
            Call::WriteFile(call) => call.cut(),
            _ => {}
        }
    }

    /// Pages done, of how many.
    fn done_of(&self) -> Option<(u64, u64)> {
        match self {
            Call::MovePages(call) => Some(call.done_of()),
            Call::QueryPages(call) => Some(call.done_of()),
            Call::Access(call) => Some(call.done_of()),
            Call::MigratePages(call) => Some(call.done_of()),
            Call::MigrateFrames(call) => Some(call.done_of()),
            Call::Mbind(call) => Some(call.done_of()),
            Call::ReadFile(call) => Some(call.done_of()),
            Call::WriteFile(call) => Some(call.done_of()),
            _ => None,
        }
    }
}
