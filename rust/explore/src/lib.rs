//! Who runs next: schedules over the calls of a machine.
//!
//! A machine says which calls can make a step; this crate says which of them does. [`replay`]
//! follows a schedule that a person wrote down or an earlier run left behind.
//!
//! Below us: `pagemig_core::machine`. Left out so far: searching all orders.
#![forbid(unsafe_code)]

use pagemig_core::base::{CallId, Misuse};
use pagemig_core::machine::Machine;
use pagemig_core::step::Schedule;

/// Why a schedule could not be followed to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The schedule names a call that was not given.
    #[error("step {step} is for call {letter:?}, but there are only {calls} calls (a to {last:?})")]
    UnknownCall {
        /// Which step, counting from 0.
        step: usize,
        /// The letter.
        letter: char,
        /// How many calls there are.
        calls: usize,
        /// The last letter that names one.
        last: char,
    },
    /// The schedule wants a step of a call that is waiting.
    #[error("step {step} is for call {letter:?}, which waits for {lock}")]
    Blocked {
        /// Which step, counting from 0.
        step: usize,
        /// The letter.
        letter: char,
        /// What it waits for.
        lock: String,
    },
    /// The schedule wants a step of a call that is done.
    #[error("step {step} is for call {letter:?}, which is done")]
    Done {
        /// Which step, counting from 0.
        step: usize,
        /// The letter.
        letter: char,
    },
    /// A call number that names nothing.
    #[error(transparent)]
    Misuse(#[from] Misuse),
}

/// Steps `calls` in the order of `schedule`, in which `a` is the first of them.
///
/// # Errors
/// At the first step that cannot be made. The steps before it have been made then: replay on a
/// clone.
pub fn replay(
    machine: &mut Machine,
    calls: &[CallId],
    schedule: &Schedule,
) -> Result<(), ReplayError> {
    use pagemig_core::machine::State;
    for (step, &who) in schedule.steps().iter().enumerate() {
        let letter = char::from(b'a' + who);
        let Some(&call) = calls.get(usize::from(who)) else {
            let last = char::from(b'a' + calls.len().saturating_sub(1).min(25) as u8);
            return Err(ReplayError::UnknownCall { step, letter, calls: calls.len(), last });
        };
        match machine.flight(call)?.state() {
            State::Ready => {
                machine.step(call)?;
            }
            State::Waiting(lock) => {
                return Err(ReplayError::Blocked { step, letter, lock: lock.to_string() });
            }
            State::Done => return Err(ReplayError::Done { step, letter }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemig_core::base::{CpuId, MachineSpec, NodeId, NodeMask, TaskId};
    use pagemig_core::fault::Pages;
    use pagemig_core::machine::Request;
    use pagemig_core::machine::verbs::Birth;
    use pagemig_core::migrate::move_pages;
    use pagemig_core::state::mm::VmFlags;
    use pagemig_core::state::task::Credentials;

    /// A task with one written page, a call that moves it, and one that reads it.
    fn race() -> (Machine, [CallId; 2]) {
        let mut machine = Machine::new(&MachineSpec::simple(&[64, 64], 2, true)).unwrap();
        let birth = Birth {
            name: "racer".into(),
            credentials: Credentials::default(),
            mems_allowed: NodeMask(3),
            cpu: CpuId(0),
            is_kernel_thread: false,
            has_stack: true,
        };
        let task: TaskId = machine.spawn(birth).unwrap();
        let start = machine.mmap(task, 4096, None, VmFlags::READ | VmFlags::WRITE).unwrap();
        machine.run(task, Request::Write { address: start, data: b"hello".to_vec() }).unwrap();
        let request = move_pages::Request {
            count: 1,
            addresses: vec![start],
            nodes: vec![NodeId(1)],
            statuses_writable: 1,
            ..move_pages::Request::default()
        };
        let mover =
            machine.start(task, Request::MovePages { target: task, request }, true).unwrap();
        let touch = Pages::Range { start, pages: 1, is_write: false };
        let reader = machine.start(task, Request::Touch(touch), true).unwrap();
        (machine, [mover, reader])
    }

    #[test]
    fn a_schedule_is_followed_step_by_step_and_twice_alike() {
        let (machine, calls) = race();
        let schedule: Schedule = "12a1b".parse().unwrap();
        let run = || {
            let mut copy = machine.clone();
            copy.record(1000);
            replay(&mut copy, &calls, &schedule).unwrap();
            copy.run_all().unwrap();
            assert_eq!(copy.audit(), []);
            format!("{:?}", copy.kernel().recorder)
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn a_schedule_that_cannot_be_followed_says_where() {
        let (machine, calls) = race();
        let fails =
            |text: &str| replay(&mut machine.clone(), &calls, &text.parse().unwrap()).unwrap_err();
        assert!(matches!(fails("1c"), ReplayError::UnknownCall { step: 0, letter: 'c', .. }));
        assert!(matches!(fails("5b"), ReplayError::Done { letter: 'b', .. }));
    }
}
