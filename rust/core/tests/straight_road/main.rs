//! The straight road leads where the steps lead: every call, run through and stepped, on equal machines.
//!
//! A call that is alone takes shortcuts: usual pages are isolated, moved and put back in one go
//! (`migrate/batch/straight.rs`, `migrate/move_pages/straight.rs`), faults served without phases. While a
//! recorder is on, the same call is made phase by phase. Random situations are run both ways, and after
//! every call everything must be equal: the whole machine by its hash, the ledger of cost, the answer.
//! Start with [`run_both_ways`]; [`situations`] makes the situations.

mod situations;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use pagemig_core::base::TaskId;
use pagemig_core::kernel::Cost;
use pagemig_core::machine::{Machine, Outcome, Request};
use situations::{Change, Situation, Verb};

/// Everything there is to compare after a call.
#[derive(Debug, PartialEq)]
struct Seen {
    answer: String,
    kernel: u64,
    cost: Cost,
}

fn seen(machine: &Machine, answer: String) -> Seen {
    let mut hasher = DefaultHasher::new();
    machine.kernel().hash(&mut hasher);
    Seen { answer, kernel: hasher.finish(), cost: machine.kernel().cost }
}

/// One machine that runs calls through, and an equal one that steps them.
struct Pair {
    straight: Machine,
    stepped: Machine,
}

impl Pair {
    fn run(&mut self, task: TaskId, request: &Request) -> (Seen, Seen, Option<Outcome>) {
        let outcome = self.straight.run(task, request.clone());
        let straight = seen(&self.straight, format!("{outcome:?}"));
        self.stepped.record(1);
        let long = self.stepped.run(task, request.clone());
        self.stepped.record(0);
        (straight, seen(&self.stepped, format!("{long:?}")), outcome.ok())
    }

    fn change<T: std::fmt::Debug>(&mut self, mut verb: impl FnMut(&mut Machine) -> T) -> T {
        verb(&mut self.stepped);
        verb(&mut self.straight)
    }
}

/// Plays one random history on both machines; counts calls by verb, and pages that moved.
fn run_both_ways(seed: u64, counts: &mut BTreeMap<&'static str, u64>) {
    let mut situation = Situation::new(seed);
    let machine = situation.machine();
    let mut pair = Pair { straight: machine.clone(), stepped: machine };
    for number in 0..70 {
        let verb = situation.next(&pair.straight);
        match verb {
            Verb::Call(task, request) => {
                *counts.entry(request.verb()).or_default() += 1;
                let (straight, stepped, outcome) = pair.run(task, &request);
                assert_eq!(straight, stepped, "seed {seed}, call {number}: {request:?} of {task}");
                situation.learn(task, &request, outcome);
            }
            Verb::Change(change) => {
                pair.change(|machine| change.make(machine));
            }
        }
    }
    let cost = pair.straight.kernel().cost;
    *counts.entry("pages moved").or_default() += cost.moves;
    *counts.entry("attempts in vain").or_default() += cost.retries;
    assert_eq!(pair.straight.audit(), [], "seed {seed}");
}

#[test]
fn every_call_comes_to_the_same_run_through_and_stepped() {
    let mut counts = BTreeMap::new();
    for seed in 0..seeds() {
        run_both_ways(seed, &mut counts);
    }
    for verb in ["move_pages", "migrate_pages", "mbind", "migrate_frames", "touch", "fork", "pin"] {
        assert!(counts.get(verb).is_some_and(|&count| count > 20), "{verb} in {counts:?}");
    }
    assert!(counts["pages moved"] > 1000 && counts["attempts in vain"] > 200, "{counts:?}");
}

#[test]
fn clean_pages_of_files_with_and_without_buffers_end_up_the_same() {
    let mut moved = 0;
    for seed in 0..60 {
        let mut situation = Situation::new(seed);
        let machine = situation.machine();
        let mut pair = Pair { straight: machine.clone(), stepped: machine };
        let task = situation.task(&pair.straight);
        pair.change(|machine| Change::MapFile(task, 24).make(machine));
        for number in 0..6 {
            for request in situation.read_and_move_file(&pair.straight, task) {
                let (straight, stepped, _) = pair.run(task, &request);
                assert_eq!(straight, stepped, "seed {seed}, round {number}: {request:?}");
            }
        }
        moved += pair.straight.kernel().cost.moves;
    }
    assert!(moved > 2000, "{moved} pages moved");
}

/// How many histories: `PAGEMIG_SEEDS` asks for more than usual.
fn seeds() -> u64 {
    std::env::var("PAGEMIG_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(80)
}
