//! Shorter schedules with the same fault, by trying.
//!
//! Start with [`shrink`]: leave out a run, or a part of one, or let two runs of one call meet; keep
//! what still breaks in the same way and is shorter. Steps that cannot be made are left out, so what
//! is tried is always a schedule. [`try_out`] also tells in words what is wrong at the end of one.

use pagemig_core::base::CallId;
use pagemig_core::machine::{Machine, Settled};
use pagemig_core::step::Schedule;

use crate::point::{Point, guarded};
use crate::routes::Length;
use crate::seen::{Fault, faults_of};

/// Schedules that are tried before the shortest so far has to do.
const TRIALS_MAX: usize = 4096;

/// What came of a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// The steps that could be made, up to the first state with a fault.
    pub(crate) schedule: Schedule,
    /// What is wrong there, with its words.
    pub(crate) faults: Vec<(Fault, String)>,
}

/// Follows a schedule up to the first state with a fault; what cannot be made is left out.
pub(crate) fn try_out(root: &Machine, calls: &[CallId], steps: &[u8]) -> Trial {
    let mut point = Point::root(root.clone(), None, true);
    let mut trial = Trial { schedule: Schedule::default(), faults: Vec::new() };
    let mut settled = point.settle(calls);
    let mut steps = steps.iter();
    loop {
        let judged = settled.and_then(|settled| {
            let faults = guarded(|| faults_of(&point.machine, settled))?;
            Ok((settled, faults))
        });
        match judged {
            Ok((settled, faults)) => {
                trial.faults = faults;
                if !trial.faults.is_empty() || settled == Settled::Done {
                    return trial;
                }
            }
            Err(fall) => {
                trial.faults = vec![(Fault::fallen(&fall), fall)];
                return trial;
            }
        }
        let Some(&who) =
            steps.by_ref().find(|&&who| point.machine.is_ready(calls[usize::from(who)]))
        else {
            return trial;
        };
        trial.schedule.push(who);
        settled = point.step(calls, usize::from(who));
    }
}

/// A schedule with the same fault that none of the ways tried makes shorter.
pub(crate) fn shrink(
    root: &Machine,
    calls: &[CallId],
    fault: &Fault,
    found: &Schedule,
) -> Schedule {
    let mut best = found.clone();
    let mut trials = 0;
    'shorter: loop {
        for candidate in candidates(best.steps()) {
            if trials == TRIALS_MAX {
                return best;
            }
            trials += 1;
            let Trial { schedule, faults } = try_out(root, calls, &candidate);
            let is_same = faults.iter().any(|(other, _)| other == fault);
            if is_same && Length::of(&schedule) < Length::of(&best) {
                best = schedule;
                continue 'shorter;
            }
        }
        return best;
    }
}

/// Schedules that may be shorter, the boldest first.
fn candidates(steps: &[u8]) -> Vec<Vec<u8>> {
    let runs: Vec<(u8, usize)> =
        steps.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    let count = runs.len();
    let spell = |runs: &[(u8, usize)]| -> Vec<u8> {
        runs.iter().flat_map(|&(who, times)| std::iter::repeat_n(who, times)).collect()
    };
    let mut tried = Vec::new();
    for at in 0..count {
        let mut without = runs.clone();
        without.remove(at);
        tried.push(spell(&without));
    }
    // A run moved to the next one of its call, to either side.
    for at in 0..count {
        for to in (at + 2..count).filter(|&to| runs[to].0 == runs[at].0).take(1) {
            for place in [at, to] {
                let mut merged = runs.clone();
                merged[place].1 = runs[at].1 + runs[to].1;
                merged.remove(if place == at { to } else { at });
                tried.push(spell(&merged));
            }
        }
    }
    for at in 0..count {
        for cut in [runs[at].1 / 2, 1] {
            if cut > 0 && cut < runs[at].1 {
                let mut less = runs.clone();
                less[at].1 -= cut;
                tried.push(spell(&less));
            }
        }
    }
    tried
}
