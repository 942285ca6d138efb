//! What the host has available, compared with what a call may need.
//!
//! The core says what a call may need at most ([`Machine::need`]) and refuses by itself what the host does
//! not let it reserve. A host that promises more than it has would end the process later, without asking:
//! so a call that may need much is refused here if it may need more than the host says is available.

use std::fs;

use pagemig_core::base::{Misuse, TaskId};
use pagemig_core::machine::{Machine, Request};

/// Calls that need less are not worth the question.
const MUCH: u64 = 64 << 20;

/// Refuses a call that may need more memory than the host has available.
pub(crate) fn check(machine: &Machine, task: TaskId, request: &Request) -> Result<(), Misuse> {
    if machine.need(task, request).committed() < MUCH {
        return Ok(());
    }
    let Some(available) = available() else { return Ok(()) };
    if machine.need(task, request).committed() <= available {
        return Ok(());
    }
    let need = machine.need_looked_up(task, request);
    if need.committed() <= available {
        return Ok(());
    }
    let gib = available as f64 / f64::from(1 << 30);
    Err(Misuse::Other(format!("{need}; it has {gib:.2} GiB available; nothing has changed")))
}

/// Bytes that the host can give without swapping; none where it does not say.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}
