//! What happened, in order: a closed list of events and a bounded recorder.
//!
//! Recording is off unless asked for, and only calls that are stepped record: a call that
//! runs straight through pays nothing. With a recorder on, the machine steps every call.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::base::{CallId, Pfn, TaskId};
use crate::step::Label;

/// Something that happened to a page, an entry or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A call made a step.
    Step,
    /// A call had to wait; the value is the number of what it waits for.
    Wait,
    /// A call ended.
    Done,
    /// A frame was taken for a page; the value is its node.
    Allocate,
    /// A page was taken off its LRU list.
    Isolate,
    /// A page left the list of a migration and went back to where it belongs: moved, refused, given up or
    /// never tried.
    PutBack,
    /// A page-table entry became a migration entry (value 0, or 1 for the write flavour), a swap
    /// entry (2) or nothing (3).
    Unmap,
    /// A migration entry became an ordinary entry; the value is 1 if it is writable.
    Restore,
    /// A page was copied; the value is the target frame.
    Copy,
    /// One attempt to move a page ended; the value is its result.
    Attempt,
    /// A fault was served; the value tells how (0 minor, 1 major, 2 copy-on-write, 3 nothing to do).
    Fault,
    /// An area's `migrate` method was called; the value is the mask that it took for the source.
    MigrateArea,
    /// A page could not be taken off an LRU list by a call on frames; the value is the errno, negative.
    Refuse,
}

impl EventKind {
    /// The name as users see it.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Step => "step",
            EventKind::Wait => "wait",
            EventKind::Done => "done",
            EventKind::Allocate => "allocate",
            EventKind::Isolate => "isolate",
            EventKind::PutBack => "putback",
            EventKind::Unmap => "unmap",
            EventKind::Restore => "restore",
            EventKind::Copy => "copy",
            EventKind::Attempt => "attempt",
            EventKind::Fault => "fault",
            EventKind::MigrateArea => "migrate_area",
            EventKind::Refuse => "refuse",
        }
    }
}

/// One row of the trace.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Steps made on the machine before.
    pub time: u64,
    /// The task.
    pub task: TaskId,
    /// The call.
    pub call: CallId,
    /// What.
    pub kind: EventKind,
    /// The step of the specification, where it is a step.
    #[serde(with = "crate::step::label::kept::one")]
    pub label: Label,
    /// The frame concerned, if any.
    pub pfn: Option<Pfn>,
    /// The address concerned, or 0.
    pub address: u64,
    /// See [`EventKind`].
    pub value: i64,
}

/// The last events, up to a limit.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Recorder {
    limit: usize,
    events: VecDeque<Event>,
}

impl Recorder {
    /// Starts to keep the last `limit` events; 0 stops and forgets.
    pub fn keep(&mut self, limit: usize) {
        self.limit = limit;
        while self.events.len() > limit {
            self.events.pop_front();
        }
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Adds an event, dropping the oldest one when full.
    pub fn push(&mut self, event: Event) {
        if self.limit == 0 {
            return;
        }
        if self.events.len() == self.limit {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The events kept, oldest first.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.events.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_keeps_the_last_events() {
        let mut recorder = Recorder::default();
        let event = |time| Event {
            time,
            task: TaskId(1),
            call: CallId(0),
            kind: EventKind::Step,
            label: "UM-1",
            pfn: None,
            address: 0,
            value: 0,
        };
        recorder.push(event(0));
        assert_eq!(recorder.events().len(), 0);
        recorder.keep(2);
        (1..=3).for_each(|time| recorder.push(event(time)));
        assert_eq!(recorder.events().map(|e| e.time).collect::<Vec<_>>(), [2, 3]);
    }
}
