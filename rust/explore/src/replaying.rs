//! Following a schedule that a person wrote down or a search found.
//!
//! Start with [`replay`]. Time passes as it does in a search ([`Machine::settle`]): when none of the
//! calls can go on, transfers end until one can.

use pagemig_core::base::{CallId, Misuse};
use pagemig_core::machine::{Machine, State};
use pagemig_core::step::Schedule;

use crate::seen::{Fault, faults_of};

/// Why a schedule could not be followed to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The schedule names a call that was not given.
    #[error("step {step} is for call {letter:?}, but the calls end with {last:?}")]
    UnknownCall {
        /// Which step, counting from 0.
        step: usize,
        /// The letter.
        letter: char,
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

/// Steps `calls` in the order of `schedule`, in which `a` is the first of them. Whenever none of them
/// can go on, time passes, also after the last step.
///
/// # Errors
/// At the first step that cannot be made. The steps before it have been made then: replay on a
/// clone.
pub fn replay(
    machine: &mut Machine,
    calls: &[CallId],
    schedule: &Schedule,
) -> Result<(), ReplayError> {
    machine.settle(calls);
    for (step, &who) in schedule.steps().iter().enumerate() {
        let letter = char::from(b'a' + who);
        let Some(&call) = calls.get(usize::from(who)) else {
            let last = char::from(b'a' + calls.len().saturating_sub(1).min(25) as u8);
            return Err(ReplayError::UnknownCall { step, letter, last });
        };
        match machine.flight(call)?.state() {
            State::Ready => {
                machine.step(call)?;
                machine.settle(calls);
            }
            State::Waiting(lock) => {
                return Err(ReplayError::Blocked { step, letter, lock: lock.to_string() });
            }
            State::Done => return Err(ReplayError::Done { step, letter }),
        }
    }
    Ok(())
}

/// Everything that is wrong with a machine on which these calls race, with its words.
pub fn judge(machine: &mut Machine, calls: &[CallId]) -> Vec<(Fault, String)> {
    let settled = machine.settle(calls);
    faults_of(machine, settled)
}
