//! Long calls in slices, so that whoever waits for them can look up, show progress, or stop.
//!
//! Start with [`Machine::run_for`]: as [`Machine::run`], but after about so many pages it answers
//! [`Slice::Paused`], and [`Machine::resume_for`] goes on. Between two slices the call is an
//! ordinary one in flight, at a yield point, with its locks on record; its effects are the same however it
//! was sliced. [`Machine::cut`] is what Ctrl-C does. Decision 0011 has the reasons.
//!
//! Left out: a call that is stepped among others, and every verb that is short by nature, runs whole.

use super::{Call, Deadlock, Flight, Machine, Outcome, Request, RunError, State};
use crate::base::{CallId, CpuId, Misuse, TaskId};
use crate::state::lock::Want;
use crate::step::{Fuel, LockId, Me, Progress, Run, Step};

/// What a slice came to.
#[derive(Debug)]
pub enum Slice {
    /// The call is over.
    Done(Outcome),
    /// It is in flight under this number.
    Paused(CallId),
}

impl Machine {
    /// Runs a call of `task` as [`Machine::run`] does, but pauses after about `pages` pages.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_for(&mut self, task: TaskId, request: Request, pages: u64) -> Result<Slice, Misuse> {
        let (verb, is_exit) = (request.verb(), request.is_exit());
        self.check_caller(task, is_exit)?;
        if !self.is_alone(None) {
            return self.run_among_others(task, request).map(Slice::Done);
        }
        let cpu = self.kernel.tasks[task].cpu;
        let mut call = request.begin(&mut self.kernel, task)?;
        if self.run_slice(task, cpu, &mut call, pages) {
            return Ok(Slice::Done(call.into_outcome()));
        }
        let id = CallId(self.next_call);
        self.next_call += 1;
        let (is_fine, state, history) = (false, State::Ready, Vec::new());
        self.pause(id, Flight { task, cpu, verb, is_fine, is_exit, call, state, history });
        Ok(Slice::Paused(id))
    }

    /// Goes on with a call that has paused.
    ///
    /// # Errors
    /// If there is no such call, it waits or is done, or others are in flight, too.
    pub fn resume_for(&mut self, id: CallId, pages: u64) -> Result<Slice, Misuse> {
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
        Ok(Slice::Paused(id))
    }

    /// Ends a paused call early, as a fatal signal would, where that is possible between two entries:
    /// `move_pages` and accesses. Tells whether it did; any other call stays in flight.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn cut(&mut self, id: CallId) -> Result<bool, Misuse> {
        self.flight(id)?;
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

    /// Steps all calls as [`Machine::run_all`] does, but makes at most `rounds`; tells whether all are
    /// done.
    ///
    /// # Errors
    /// As [`Machine::run_all`].
    pub fn run_all_for(&mut self, rounds: u64) -> Result<bool, Deadlock> {
        for _ in 0..rounds {
            if self.run_round()? {
                return Ok(true);
            }
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

    /// Puts a call in flight, with the lock that it has.
    fn pause(&mut self, id: CallId, flight: Flight) {
        let me = Me { call: id, task: flight.task, cpu: flight.cpu, is_fine: false };
        if let Some((lock, want)) = flight.call.lock_at_pause() {
            let is_taken = self.kernel.lock::<Step>(me, lock, want);
            debug_assert!(is_taken, "a call that is alone meets no lock");
        }
        self.flights.insert(id, flight);
    }

    /// Takes it out again.
    fn take_up(&mut self, id: CallId) -> Flight {
        let flight = self.flights.remove(&id).expect("the caller found it");
        let me = Me { call: id, task: flight.task, cpu: flight.cpu, is_fine: false };
        if let Some((lock, _)) = flight.call.lock_at_pause() {
            self.kernel.unlock::<Step>(me, lock);
        }
        flight
    }
}

impl Call {
    /// Whether it pauses in mode `Run` when its fuel is spent. For any other call a pause could fall
    /// where somebody above it holds a lock that is not on record.
    const fn can_pause(&self) -> bool {
        matches!(
            self,
            Call::MovePages(_)
                | Call::QueryPages(_)
                | Call::Access(_)
                | Call::MigratePages(_)
                | Call::MigrateFrames(_)
                | Call::Fork(_)
                | Call::Munmap(_)
                | Call::Exit(_)
        )
    }

    /// The lock that it has at a pause, and how, without its being recorded.
    const fn lock_at_pause(&self) -> Option<(LockId, Want)> {
        match self {
            Call::MigratePages(call) => call.lock_at_pause(),
            Call::Fork(call) => Some(call.lock_at_pause()),
            Call::Munmap(call) => Some(call.lock_at_pause()),
            _ => None,
        }
    }

    /// Whether it can end early, between two entries.
    const fn can_be_cut(&self) -> bool {
        matches!(self, Call::MovePages(_) | Call::QueryPages(_) | Call::Access(_))
    }

    fn cut(&mut self) {
        match self {
            Call::MovePages(call) => call.cut(),
            Call::QueryPages(call) => call.cut(),
            Call::Access(call) => call.cut(),
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
            _ => None,
        }
    }
}
