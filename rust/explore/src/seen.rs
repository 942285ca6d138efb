//! What a search has seen so far, and what is wrong with it: states are judged once, when they are new.
//!
//! Start with [`Seen::arrive`]. Neighbours: [`crate::graph`] keeps the states, [`crate::point`] is
//! where the search stands.

use std::hash::Hasher;

use pagemig_core::machine::{Machine, Settled};

use crate::fingerprint::Fingerprint;
use crate::graph::{Graph, Mark, StateId};
use crate::point::{Fall, Point, guarded};
use crate::table::Table;

/// What sort of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A rule of the audit is broken.
    Invariant,
    /// An assertion of the model failed.
    Assertion,
    /// No call can ever go on.
    Deadlock,
    /// A byte that was stored is not where a load looks.
    LostStore,
}

/// The rule of the audit that speaks of lost stores.
const NO_STORE_IS_LOST: &str = "no_store_is_lost";

/// Things that are wrong in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What sort of thing.
    pub kind: Kind,
    /// The rule of the audit; for others, what was said, without its numbers.
    pub rule: String,
    /// The invariants that the rule states.
    pub ids: &'static str,
}

impl Fault {
    /// An assertion of the model that failed.
    pub(crate) fn fallen(fall: &str) -> Fault {
        Fault { kind: Kind::Assertion, rule: without_numbers(fall), ids: "" }
    }
}

/// Everything that is wrong with a machine, with its words.
pub(crate) fn faults_of(machine: &Machine, settled: Settled) -> Vec<(Fault, String)> {
    let mut faults: Vec<(Fault, String)> = Vec::new();
    for finding in machine.audit() {
        let is_lost = finding.rule == NO_STORE_IS_LOST;
        let kind = if is_lost { Kind::LostStore } else { Kind::Invariant };
        let at = finding.frame.map(|frame| format!("page {frame}: ")).unwrap_or_default();
        let fault = Fault { kind, rule: finding.rule.into(), ids: finding.ids };
        faults.push((fault, format!("{at}{}", finding.detail)));
    }
    if settled == Settled::Stuck {
        let text = machine.deadlock().to_string();
        faults.push((Fault { kind: Kind::Deadlock, rule: without_numbers(&text), ids: "" }, text));
    }
    faults
}

/// States, and what they are.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The states.
    pub(crate) graph: Graph,
    /// Ways of being wrong, in the order in which they were met.
    pub(crate) faults: Vec<Fault>,
    /// What [`Mark::Broken`] counts: sets of numbers of faults.
    sets: Vec<Vec<u32>>,
    outcomes: Table,
    /// What the audit found nothing wrong with: kernels, with what calls hold.
    clean: Table,
    /// Ends in the order in which they were met.
    pub(crate) ends: Vec<StateId>,
    /// With a bound on preemptions, machines that differ in nothing but what is left of it, and the
    /// faults of each.
    machines: Option<(Table, Vec<Option<u32>>)>,
}

/// Where a step led.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The state.
    pub(crate) state: StateId,
    /// What it is.
    pub(crate) mark: Mark,
    /// Whether nobody was here before.
    pub(crate) is_new: bool,
    /// Whether the model fell over its own assertion: the machine must not be looked at again.
    pub(crate) has_fallen: bool,
}

impl Seen {
    /// Nothing yet. `is_bounded`: preemptions are.
    pub(crate) fn new(calls: usize, is_bounded: bool) -> Seen {
        Seen {
            graph: Graph::new(calls),
            faults: Vec::new(),
            sets: Vec::new(),
            outcomes: Table::default(),
            clean: Table::default(),
            ends: Vec::new(),
            machines: is_bounded.then(Default::default),
        }
    }

    /// Distinct states of the machine.
    pub(crate) fn states(&self) -> u64 {
        self.machines.as_ref().map_or(self.graph.len(), |(table, _)| table.len()) as u64
    }

    /// Bytes that all this takes.
    pub(crate) fn bytes(&self) -> u64 {
        let machines = self.machines.as_ref();
        let machines = machines.map_or(0, |(table, sets)| table.bytes() + sets.len() as u64 * 8);
        self.graph.bytes()
            + self.outcomes.bytes()
            + self.clean.bytes()
            + machines
            + self.ends.len() as u64 * 4
    }

    /// The faults of a state that is marked with this number.
    pub(crate) fn faults_of(&self, set: u32) -> &[u32] {
        &self.sets[set as usize]
    }

    /// Where a search begins, or a step of it has led.
    pub(crate) fn arrive(&mut self, point: &Point, settled: Result<Settled, Fall>) -> Arrival {
        let looked = settled.and_then(|settled| {
            let fingerprints = guarded(|| point.fingerprints())?;
            Ok((settled, fingerprints))
        });
        match looked {
            Ok((settled, fingerprints)) => self.look_up(point, settled, fingerprints),
            Err(fall) => self.fall(&fall),
        }
    }

    fn look_up(
        &mut self,
        point: &Point,
        settled: Settled,
        (fingerprint, kernel): (u128, u128),
    ) -> Arrival {
        let mut key = fingerprint;
        if self.machines.is_some() && settled == Settled::Ready {
            let mut hasher = Fingerprint::default();
            hasher.write_u128(fingerprint);
            hasher.write_u32(point.preemptions_left);
            hasher.write_u32(point.running.map_or(u32::MAX, u32::from));
            key = hasher.value();
        }
        let (state, is_new) = self.graph.state(key);
        let mut has_fallen = false;
        if is_new {
            match self.judge_once(point, settled, fingerprint, kernel) {
                Ok(Some(set)) => self.graph.set_mark(state, Mark::Broken(set)),
                Ok(None) if settled == Settled::Done => {
                    let (outcome, _) = self.outcomes.number(point.results);
                    self.graph.set_mark(state, Mark::End(outcome));
                    self.ends.push(state);
                }
                Ok(None) => {}
                Err(fall) => {
                    has_fallen = true;
                    let mark = self.fall(&fall).mark;
                    self.graph.set_mark(state, mark);
                }
            }
        }
        Arrival { state, mark: self.graph.mark(state), is_new, has_fallen }
    }

    /// The faults of a machine, looked for once.
    fn judge_once(
        &mut self,
        point: &Point,
        settled: Settled,
        fingerprint: u128,
        kernel: u128,
    ) -> Result<Option<u32>, Fall> {
        let Some((table, _)) = &mut self.machines else {
            return self.judge(point, settled, kernel);
        };
        let (machine, is_new) = table.number(fingerprint);
        if is_new {
            let set = self.judge(point, settled, kernel)?;
            self.machines.as_mut().expect("just seen").1.push(set);
        }
        Ok(self.machines.as_ref().expect("just seen").1[machine as usize])
    }

    /// The audit reads the kernel and what calls hold, and nothing else: what was clean once is clean.
    fn judge(
        &mut self,
        point: &Point,
        settled: Settled,
        kernel: u128,
    ) -> Result<Option<u32>, Fall> {
        let holdings = guarded(|| point.machine.holdings())?;
        let audited = Fingerprint::of(&(kernel, &holdings));
        if settled != Settled::Stuck && self.clean.has(audited) {
            return Ok(None);
        }
        let faults = guarded(|| faults_of(&point.machine, settled))?;
        let faults: Vec<u32> = faults.into_iter().map(|(fault, _)| self.fault(fault)).collect();
        if faults.is_empty() {
            self.clean.number(audited);
            return Ok(None);
        }
        Ok(Some(self.set(faults)))
    }

    fn fault(&mut self, fault: Fault) -> u32 {
        let known = self.faults.iter().position(|other| *other == fault);
        known.unwrap_or_else(|| {
            self.faults.push(fault);
            self.faults.len() - 1
        }) as u32
    }

    fn set(&mut self, mut faults: Vec<u32>) -> u32 {
        faults.sort_unstable();
        faults.dedup();
        let known = self.sets.iter().position(|other| *other == faults);
        known.unwrap_or_else(|| {
            self.sets.push(faults);
            self.sets.len() - 1
        }) as u32
    }

    /// The model fell over its own assertion: there is no machine left to look at.
    fn fall(&mut self, fall: &Fall) -> Arrival {
        let fault = Fault::fallen(fall);
        let (state, is_new) = self.graph.state(Fingerprint::of(&("fallen", &fault.rule)));
        if is_new {
            let fault = self.fault(fault);
            let set = self.set(vec![fault]);
            self.graph.set_mark(state, Mark::Broken(set));
        }
        Arrival { state, mark: self.graph.mark(state), is_new, has_fallen: true }
    }
}

/// Two messages that differ in their numbers alone say the same.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    for character in text.chars() {
        let is_digit = character.is_ascii_digit();
        if !(is_digit && found.ends_with('#')) {
            found.push(if is_digit { '#' } else { character });
        }
    }
    found
}
