//! Running calls: one now, or several step by step.

use serde::{Deserialize, Serialize};

use super::{Call, Flight, KERNEL_TASK, Machine, Outcome, Request, Slice, State};
use crate::base::{CallId, Misuse, TaskId};
use crate::pagecache::transfer;
use crate::step::{Label, LockId, Me, Progress, Step, is_label};
use crate::trace::{Event, EventKind};

/// One call that can never go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Waiter {
    /// The call.
    pub call: CallId,
    /// Who makes it.
    pub task: TaskId,
    /// What it waits for.
    pub lock: LockId,
    /// Who holds that.
    pub holder: Option<CallId>,
}

/// Calls that wait for each other, or for somebody whom nobody lets run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", if *.can_others_run { HELD_UP } else { STUCK }, describe(.waiters))]
pub struct Deadlock {
    /// Who waits for whom.
    pub waiters: Vec<Waiter>,
    /// Whether there are calls that could make a step, and would have to be run.
    pub can_others_run: bool,
}

const STUCK: &str = "no call can go on";
const HELD_UP: &str = "the call cannot go on until others do, which are paused";

/// What goes with a call that is stepped beside others, from its first step to its last.
#[derive(Debug)]
pub(super) struct Among {
    verb: &'static str,
    /// The machine as it was, if the call may have to wait.
    before: Option<Box<Machine>>,
}

/// Why running stopped before the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The person asked for something that makes no sense.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The calls can never go on.
    #[error(transparent)]
    Deadlock(#[from] Deadlock),
}

/// Who a holder is, for a message.
pub(super) fn name_of(holder: CallId) -> String {
    match holder {
        CallId::DISK => "the disk".into(),
        CallId::HAND => "hand".into(),
        call => format!("call {call}"),
    }
}

fn describe(waiters: &[Waiter]) -> String {
    let one = |w: &Waiter| {
        let holder = w.holder.map_or("nobody".to_owned(), name_of);
        format!("call {} of task {} waits for {}, held by {holder}", w.call, w.task, w.lock)
    };
    waiters.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Machine {
    /// Runs a call of `task` to its end, now.
    ///
    /// With no other call in flight that is the fast path. Otherwise it is stepped among them,
    /// without letting them run.
    ///
    /// # Errors
    /// If the arguments make no sense, or the call would have to wait for another one in flight.
    /// The machine is as before then.
    pub fn run(&mut self, task: TaskId, request: Request) -> Result<Outcome, Misuse> {
        match self.run_for(task, request, u64::MAX)? {
            Slice::Done(outcome) => Ok(outcome),
            Slice::Paused(_) | Slice::Stopped => unreachable!("enough fuel, and nobody ends it"),
        }
    }

    /// Whether nobody else could notice how a call runs, but for the one with number `paused`.
    pub(super) fn is_alone(&self, paused: Option<CallId>) -> bool {
        let is_over = |(&id, flight): (&CallId, &Flight)| flight.is_done() || Some(id) == paused;
        self.flights.iter().all(is_over)
            && !self.kernel.recorder.is_on()
            && (paused.is_some() || self.kernel.locks.is_quiet())
            && self.kernel.bugs.is_empty()
            && !self.may_wait_for_ever()
    }

    /// Whether a transfer may begin that never ends.
    fn may_wait_for_ever(&self) -> bool {
        let kernel = &self.kernel;
        kernel.swaps.io_ticks.is_none()
            || kernel.mappings.iter().any(|(_, file)| file.kind.io_ticks.is_none())
    }

    /// Begins a call that is to be stepped through among paused ones, with the same effects as if it
    /// were alone. None, if `goes_on` said no while the machine was copied: nothing has changed.
    pub(super) fn start_among_others(
        &mut self,
        task: TaskId,
        request: Request,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<(CallId, Among)>, Misuse> {
        let verb = request.verb();
        let may_wait = self.flights.values().any(|flight| !flight.is_done())
            || !self.kernel.locks.is_quiet()
            || self.may_wait_for_ever();
        let before = if may_wait {
            let Some(copy) = self.try_clone_while(goes_on)? else { return Ok(None) };
            Some(Box::new(copy))
        } else {
            None
        };
        let id = self.start(task, request, false)?;
        self.kernel.io.has_instant_reads = true;
        Ok(Some((id, Among { verb, before })))
    }

    /// Makes at most `steps` of it; what it came to, or what is needed to go on. Gives up, with
    /// nothing changed since it began, if it must wait for anything but time.
    pub(super) fn go_on_among_others(
        &mut self,
        id: CallId,
        among: Among,
        steps: u64,
    ) -> Result<Result<Outcome, Among>, Misuse> {
        for _ in 0..steps {
            let state = self.flights[&id].state;
            match state {
                State::Done => {
                    self.leave_among_others();
                    let flight = self.flights.remove(&id).expect("just started");
                    return Ok(Ok(flight.call.into_outcome()));
                }
                State::Ready => self.advance(id, false),
                State::Waiting(_) if self.pass_time() => {}
                State::Waiting(lock) => {
                    let holder = self.holder(lock, id).map_or("nobody".into(), name_of);
                    *self = *among.before.expect("a call that is alone meets no lock");
                    let (verb, lock) = (among.verb, lock.to_string());
                    return Err(Misuse::WouldWait { verb, lock, holder });
                }
            }
        }
        Ok(Err(among))
    }

    /// It is done, or it stays in flight as any other call.
    pub(super) fn leave_among_others(&mut self) {
        self.kernel.io.has_instant_reads = false;
    }

    /// Begins a call of `task` without making a step. `is_fine`: stop inside critical sections, too.
    ///
    /// # Errors
    /// If the arguments make no sense, or the task is exiting, or about to with calls in flight.
    pub fn start(
        &mut self,
        task: TaskId,
        request: Request,
        is_fine: bool,
    ) -> Result<CallId, Misuse> {
        self.check_caller(task, request.is_exit())?;
        self.check_pin_is_left(&request)?;
        self.make_room(task, &request)?;
        let (verb, is_exit) = (request.verb(), request.is_exit());
        let call = request.begin(&mut self.kernel, task)?;
        let id = CallId(self.next_call);
        self.next_call += 1;
        let cpu = self.kernel.tasks[task].cpu;
        let flight = Flight {
            task,
            cpu,
            verb,
            is_fine,
            is_exit,
            call,
            state: State::Ready,
            history: Vec::new(),
        };
        self.flights.insert(id, flight);
        Ok(id)
    }

    pub(super) fn check_caller(&self, task: TaskId, is_exit: bool) -> Result<(), Misuse> {
        if self.kernel.tasks.find(task).is_none() || (task == KERNEL_TASK && is_exit) {
            return Err(Misuse::NoSuchTask(task));
        }
        let own = self.flights.iter().filter(|(_, f)| f.task == task && !f.is_done());
        for (&id, flight) in own {
            if flight.is_exit {
                return Err(Misuse::TaskExiting(task));
            }
            if is_exit {
                return Err(Misuse::TaskBusy(task, id));
            }
        }
        Ok(())
    }

    /// A pin is dropped once: calls that are about to drop one count.
    fn check_pin_is_left(&self, request: &Request) -> Result<(), Misuse> {
        let &Request::Unpin(page) = request else { return Ok(()) };
        let drops = |flight: &&Flight| {
            !flight.is_done() && matches!(flight.call, Call::Unpin(other) if other == page)
        };
        let dropping = self.flights.values().filter(drops).count();
        match self.kernel.pins.get(&page) {
            Some(&pins) if pins as usize > dropping => Ok(()),
            _ => Err(Misuse::NotPinned(page.0.into())),
        }
    }

    /// A call by its number.
    ///
    /// # Errors
    /// If there is none.
    pub fn flight(&self, call: CallId) -> Result<&Flight, Misuse> {
        self.flights.get(&call).ok_or(Misuse::NoSuchCall(call))
    }

    /// All calls, done or not, by number.
    pub fn flights(&self) -> impl Iterator<Item = (CallId, &Flight)> {
        self.flights.iter().map(|(&id, flight)| (id, flight))
    }

    /// Makes one step of a call; tells whether it could.
    ///
    /// # Errors
    /// If there is no such call, or it is done.
    pub fn step(&mut self, call: CallId) -> Result<bool, Misuse> {
        match self.flight(call)?.state {
            State::Done => Err(Misuse::CallDone(call)),
            State::Waiting(_) => Ok(false),
            State::Ready => {
                let is_fine = self.flights[&call].is_fine;
                self.advance(call, is_fine);
                Ok(!matches!(self.flights[&call].state, State::Waiting(_)))
            }
        }
    }

    /// Steps a call until its next advance would make step `label`; tells whether it got there.
    /// Stops inside critical sections, if the label is there, even for a coarse call.
    ///
    /// # Errors
    /// If there is no such call or label, or the call is done.
    pub fn run_until(&mut self, call: CallId, label: &str) -> Result<bool, Misuse> {
        loop {
            if let Some(is_there) = self.run_until_for(call, label, u64::MAX)? {
                return Ok(is_there);
            }
        }
    }

    pub(super) fn check_goal(&self, call: CallId, label: &str) -> Result<(), Misuse> {
        if !is_label(label) {
            return Err(Misuse::NoSuchLabel(label.into()));
        }
        if self.flight(call)?.is_done() { Err(Misuse::CallDone(call)) } else { Ok(()) }
    }

    /// Steps one call to its end, without letting others run.
    ///
    /// # Errors
    /// A deadlock, if it must wait: the others are not going to move.
    pub fn finish(&mut self, call: CallId) -> Result<(), RunError> {
        while !self.finish_for(call, u64::MAX)? {}
        Ok(())
    }

    /// Steps all calls in flight, in turn, until all are done.
    ///
    /// # Errors
    /// A deadlock, if none of those left can go on.
    pub fn run_all(&mut self) -> Result<(), Deadlock> {
        while !self.run_round()? {}
        Ok(())
    }

    /// One step of every call that can make one, or time goes on; tells whether all are done.
    pub(super) fn run_round(&mut self) -> Result<bool, Deadlock> {
        let ready: Vec<CallId> = self.ready().collect();
        let all_done = self.flights.values().all(Flight::is_done);
        if ready.is_empty() && !all_done && self.pass_time() {
            return Ok(false);
        }
        if ready.is_empty() {
            let deadlock = self.deadlock();
            return if deadlock.waiters.is_empty() { Ok(true) } else { Err(deadlock) };
        }
        for call in ready {
            if self.flights[&call].state == State::Ready {
                let is_fine = self.flights[&call].is_fine;
                self.advance(call, is_fine);
            }
        }
        Ok(false)
    }

    /// Calls that can make a step, by number.
    pub fn ready(&self) -> impl Iterator<Item = CallId> {
        self.flights.iter().filter(|(_, f)| f.state == State::Ready).map(|(&id, _)| id)
    }

    /// What a call came to.
    ///
    /// # Errors
    /// If there is no such call, or it is not done.
    pub fn outcome(&self, call: CallId) -> Result<Outcome, Misuse> {
        let flight = self.flight(call)?;
        if !flight.is_done() {
            return Err(Misuse::CallNotDone(call));
        }
        Ok(flight.call.clone().into_outcome())
    }

    /// Forgets a call that is done.
    ///
    /// # Errors
    /// If there is no such call, or it is not done.
    pub fn forget(&mut self, call: CallId) -> Result<(), Misuse> {
        if !self.flight(call)?.is_done() {
            return Err(Misuse::CallNotDone(call));
        }
        self.flights.remove(&call);
        Ok(())
    }

    /// Who holds what a call waits for.
    pub fn holder(&self, lock: LockId, waiter: CallId) -> Option<CallId> {
        self.kernel.locks.holders(lock).iter().copied().find(|&holder| holder != waiter)
    }

    /// Who waits for whom.
    pub fn deadlock(&self) -> Deadlock {
        let waiting = self.flights.iter().filter_map(|(&call, flight)| match flight.state {
            State::Waiting(lock) => {
                let holder = self.holder(lock, call);
                Some(Waiter { call, task: flight.task, lock, holder })
            }
            _ => None,
        });
        Deadlock { waiters: waiting.collect(), can_others_run: self.ready().next().is_some() }
    }

    /// One advance of a call that is ready, and what follows for those that it wakes.
    pub(super) fn advance(&mut self, id: CallId, is_fine: bool) {
        let flight = self.flights.get_mut(&id).expect("the caller found it");
        let me = Me { call: id, task: flight.task, cpu: flight.cpu, is_fine };
        let label = flight.call.labels().first().copied().unwrap_or("end");
        let progress = flight.call.advance::<Step>(&mut self.kernel, me);
        self.kernel.steps += 1;
        let kind = match progress {
            Progress::Ran => EventKind::Step,
            Progress::Waiting(lock) => {
                flight.state = State::Waiting(lock);
                EventKind::Wait
            }
            Progress::Done => {
                flight.state = State::Done;
                EventKind::Done
            }
        };
        if kind != EventKind::Wait {
            flight.history.push(label);
        }
        self.record_step(me, kind, label, progress);
        self.wake();
    }

    /// Lets time go on to the end of the next transfer; false if none ever ends.
    pub(super) fn pass_time(&mut self) -> bool {
        let has_passed = transfer::pass_time(&mut self.kernel);
        self.wake();
        has_passed
    }

    /// Lets virtual time pass, with every transfer that ends meanwhile.
    ///
    /// # Errors
    /// If the clock would run over.
    pub fn advance_time(&mut self, ticks: u64) -> Result<(), Misuse> {
        let until = self.kernel.now.checked_add(ticks);
        let until =
            until.ok_or_else(|| Misuse::Other(format!("{ticks} ticks more than the clock has")))?;
        self.advance_time_for(until, u64::MAX);
        Ok(())
    }

    /// Calls whose wait is over can go on.
    pub(super) fn wake(&mut self) {
        for woken in self.kernel.locks.take_woken() {
            if let Some(flight) = self.flights.get_mut(&woken) {
                flight.state = State::Ready;
            }
        }
    }

    fn record_step(&mut self, me: Me, kind: EventKind, label: Label, progress: Progress) {
        if !self.kernel.recorder.is_on() {
            return;
        }
        let value = match progress {
            Progress::Waiting(lock) => i64::from(lock.number()),
            _ => 0,
        };
        let time = self.kernel.steps - 1;
        let (task, call) = (me.task, me.call);
        let event = Event { time, task, call, kind, label, pfn: None, address: 0, value };
        self.kernel.recorder.push(event);
    }

    /// Whether nobody but a call that is done has `mmap_sem` of this memory, for verbs of one step.
    pub(super) fn check_unlocked(&self, verb: &'static str, lock: LockId) -> Result<(), Misuse> {
        match self.kernel.locks.holders(lock).first() {
            Some(holder) => {
                let holder = name_of(*holder);
                Err(Misuse::WouldWait { verb, lock: lock.to_string(), holder })
            }
            None => Ok(()),
        }
    }
}
