//! An interleaving as a value that a person can read, type and keep.

use serde::{Deserialize, Serialize};

use std::fmt;
use std::str::FromStr;

/// The order in which calls ran: `3a1b2a` is three steps of `a`, one of `b`, two of `a`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule(Vec<u8>);

/// Text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schedule {text:?}: {reason} at character {at}")]
pub struct BadSchedule {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
    /// Where, counting from 0.
    pub at: usize,
}

/// Longer schedules are refused: a typo must not fill the memory.
const STEPS_MAX: usize = 1_000_000;

impl Schedule {
    /// Adds one step of call number `who` (0 is `a`).
    pub fn push(&mut self, who: u8) {
        self.0.push(who);
    }

    /// The calls in the order of their steps.
    pub fn steps(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in self.0.chunk_by(|a, b| a == b) {
            write!(f, "{}{}", run.len(), char::from(b'a' + run[0]))?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let bad = |reason, at| BadSchedule { text: text.into(), reason, at };
        let mut schedule = Schedule::default();
        let mut count: Option<usize> = None;
        for (at, byte) in text.bytes().enumerate() {
            match (byte, count) {
                (b'0'..=b'9', so_far) => {
                    let steps = so_far.unwrap_or(0) * 10 + usize::from(byte - b'0');
                    if steps > STEPS_MAX {
                        return Err(bad("more than 1000000 steps", at));
                    }
                    count = Some(steps);
                }
                (b'a'..=b'z', Some(run)) => {
                    if schedule.0.len() + run > STEPS_MAX {
                        return Err(bad("more than 1000000 steps", at));
                    }
                    schedule.0.extend(std::iter::repeat_n(byte - b'a', run));
                    count = None;
                }
                (b'a'..=b'z', None) => {
                    return Err(bad("a call letter without a number before it", at));
                }
                _ => return Err(bad("neither a digit nor a letter a to z", at)),
            }
        }
        match count {
            Some(_) => Err(bad("a number without a call letter", text.len())),
            None => Ok(schedule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_reads_as_it_prints() {
        let schedule: Schedule = "3a1b2a".parse().unwrap();
        assert_eq!(schedule.steps(), [0, 0, 0, 1, 0, 0]);
        assert_eq!(schedule.to_string(), "3a1b2a");
        assert_eq!("".parse::<Schedule>().unwrap().steps(), []);
    }

    #[test]
    fn a_bad_schedule_is_refused_with_its_place() {
        for (text, at) in [("a", 0), ("3", 1), ("3a!", 2), ("9999999999999999999999a", 6)] {
            assert_eq!(text.parse::<Schedule>().unwrap_err().at, at, "{text}");
        }
    }
}
