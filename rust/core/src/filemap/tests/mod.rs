//! What reading, writing, truncating and looking up leave behind, audited after every step.

mod bytes;
mod fetching;
mod races;
mod shmem;
mod truncating;
mod writing;

use crate::base::{CallId, CpuId, MachineSpec, MappingId, NodeMask, Pfn, TaskId};
use crate::kernel::Kernel;
use crate::machine::verbs::Birth;
use crate::machine::{Machine, Outcome, Request, State};
use crate::state::frame::PageFlags;
use crate::state::lru::ListKind;
use crate::state::mapping::{Buffer, FileSystem, Tag};
use crate::state::task::Credentials;
use crate::state::zone::Counter;

const PAGE: u64 = 4096;

/// A machine with bytes, two nodes and one task, and what it does.
struct World {
    machine: Machine,
    task: TaskId,
}

impl World {
    fn new() -> World {
        World::of(&[64, 64])
    }

    fn of(frames: &[u64]) -> World {
        World::with(&MachineSpec { swap_slots: 32, ..MachineSpec::simple(frames, 2, true) })
    }

    fn with(spec: &MachineSpec) -> World {
        let mut machine = Machine::new(spec).unwrap();
        let birth = Birth {
            name: "user".into(),
            credentials: Credentials::default(),
            mems_allowed: NodeMask(u64::MAX),
            cpu: CpuId(0),
            is_kernel_thread: false,
            has_stack: false,
        };
        let task = machine.spawn(birth).unwrap();
        World { machine, task }
    }

    fn file(&mut self, size: u64, kind: FileSystem) -> MappingId {
        let name = format!("file{}", self.machine.kernel().mappings.iter().count());
        self.machine.create_file(name, size, kind).unwrap()
    }

    fn check(&self) {
        assert_eq!(self.machine.audit(), []);
    }

    /// Runs a request to its end at once.
    fn run(&mut self, request: Request) -> Outcome {
        let outcome = self.machine.run(self.task, request).unwrap();
        self.check();
        outcome
    }

    /// Runs a request step by step, with an audit after each.
    fn step_through(&mut self, request: Request) -> Outcome {
        let call = self.start(request);
        while !self.machine.flight(call).unwrap().is_done() {
            match self.machine.flight(call).unwrap().state() {
                State::Ready => {
                    self.machine.step(call).unwrap();
                }
                _ => self.machine.advance_time(1).unwrap(),
            }
            self.check();
        }
        let outcome = self.machine.outcome(call).unwrap();
        self.machine.forget(call).unwrap();
        outcome
    }

    fn start(&mut self, request: Request) -> CallId {
        self.machine.start(self.task, request, true).unwrap()
    }

    /// Steps a call until it waits or is done.
    fn go(&mut self, call: CallId) -> State {
        while self.machine.flight(call).unwrap().state() == State::Ready {
            self.machine.step(call).unwrap();
            self.check();
        }
        self.machine.flight(call).unwrap().state()
    }

    fn until(&mut self, call: CallId, label: &str) {
        assert!(self.machine.run_until(call, label).unwrap(), "{label} was not reached");
        self.check();
    }

    fn kernel(&self) -> &Kernel {
        self.machine.kernel()
    }

    fn page(&self, file: MappingId, index: u64) -> Option<Pfn> {
        self.kernel().mappings[file].tree.get(index)
    }

    fn the_page(&self, file: MappingId, index: u64) -> Pfn {
        self.page(file, index).expect("in memory")
    }

    fn has(&self, page: Pfn, flags: PageFlags) -> bool {
        self.kernel().frames[page].flags().contains(flags)
    }

    fn count(&self, page: Pfn) -> u32 {
        self.kernel().frames[page].count()
    }

    fn tags(&self, file: MappingId, index: u64) -> [bool; 2] {
        Tag::ALL.map(|tag| self.kernel().mappings[file].tree.has_tag(index, tag))
    }

    fn buffers(&self, page: Pfn) -> &[Buffer] {
        let ring = crate::pagecache::buffers::ring_of(self.kernel(), page).expect("buffers");
        &self.kernel().rings[ring].buffers
    }

    fn counter(&self, counter: Counter) -> i64 {
        self.kernel().zones.iter().map(|(_, zone)| zone.counters.get(counter)).sum()
    }

    fn free(&self) -> u64 {
        self.kernel().zones.iter().map(|(_, zone)| zone.free.count()).sum()
    }

    fn waiting(&self, kind: ListKind) -> Vec<Pfn> {
        self.kernel().lru.pagevec(CpuId(0), kind as usize).pages().to_vec()
    }
}

fn read(file: MappingId, offset: u64, size: u64) -> Request {
    Request::ReadFile { file, offset, size }
}

fn write(file: MappingId, offset: u64, data: &[u8]) -> Request {
    Request::WriteFile { file, offset, size: data.len() as u64, data: Some(data.to_vec()) }
}

fn writeback(file: MappingId, page: u64) -> Request {
    Request::Writeback { file, page }
}

fn invalidate(file: MappingId, page: u64) -> Request {
    Request::Invalidate { file, page }
}

fn truncate(file: MappingId, size: u64) -> Request {
    Request::Truncate { file, size }
}

fn bytes_of(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::FileRead(Ok(bytes)) => bytes,
        other => panic!("read ended as {other:?}"),
    }
}

fn is_yes(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(true))
}
