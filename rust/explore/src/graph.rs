//! What a search has seen: states by number, an edge for each call that steps, and what each state is.
//!
//! Start with [`Graph`]. A machine is some tens of KiB and its state here some tens of bytes, so the
//! machines go and the graph stays. Below us: [`crate::table`]. Above us: [`crate::counting`] and
//! [`crate::routes`], which read it when the search is over.

use crate::table::Table;

/// The number of a state, in the order in which they were first seen; the first is where it began.
pub(crate) type StateId = u32;

/// No edge: the call cannot step there, or did not.
pub(crate) const NOWHERE: StateId = StateId::MAX;

/// What a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Somebody can go on.
    Open,
    /// All calls are done; what they came to has this number.
    End(u32),
    /// Something is wrong here; which has this number. Nobody goes on.
    Broken(u32),
}

/// States and steps between them.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    calls: usize,
    table: Table,
    edges: Vec<StateId>,
    marks: Vec<Mark>,
}

/// Bytes for each state while schedules are counted, and for each of its edges while routes are found.
const COUNTED: usize = 112;
const ARRIVED: usize = 12;

impl Graph {
    /// No state yet, with steps of so many calls to come.
    pub(crate) fn new(calls: usize) -> Graph {
        Graph { calls, table: Table::default(), edges: Vec::new(), marks: Vec::new() }
    }

    /// How many calls there are.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// How many states there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes that it takes, and that what is read off it at the end will take.
    pub(crate) fn bytes(&self) -> u64 {
        let kept = self.edges.capacity() * 4 + self.marks.capacity() * size_of::<Mark>();
        let read_off = self.marks.len() * (COUNTED + ARRIVED * self.calls);
        self.table.bytes() + (kept + read_off) as u64
    }

    /// The state with a fingerprint, and whether it is new; a new one is open.
    pub(crate) fn state(&mut self, key: u128) -> (StateId, bool) {
        let (state, is_new) = self.table.number(key);
        if is_new {
            self.edges.extend(std::iter::repeat_n(NOWHERE, self.calls));
            self.marks.push(Mark::Open);
        }
        (state, is_new)
    }

    /// Keeps that a step of a call leads from one state to another.
    pub(crate) fn connect(&mut self, from: StateId, call: usize, to: StateId) {
        self.edges[from as usize * self.calls + call] = to;
    }

    /// Where the step of each call leads, [`NOWHERE`] included.
    pub(crate) fn targets(&self, state: StateId) -> &[StateId] {
        &self.edges[state as usize * self.calls..][..self.calls]
    }

    /// What a state is.
    pub(crate) fn mark(&self, state: StateId) -> Mark {
        self.marks[state as usize]
    }

    /// Says what a state is.
    pub(crate) fn set_mark(&mut self, state: StateId, mark: Mark) {
        self.marks[state as usize] = mark;
    }

    /// All states, in the order in which they were seen.
    pub(crate) fn states(&self) -> impl Iterator<Item = (StateId, Mark)> {
        self.marks.iter().enumerate().map(|(state, &mark)| (state as StateId, mark))
    }
}
