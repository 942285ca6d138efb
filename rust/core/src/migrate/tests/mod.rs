//! The engine on pages of every kind, through a machine; audited after every step.

mod policies;
mod races;
mod replacing;
mod writeout;

use super::move_pages;
use super::target::Target;
use crate::base::{
    CallId, CpuId, Errno, MachineSpec, MappingId, NodeId, NodeMask, PAGE_SIZE, Pfn, Profile, TaskId,
};
use crate::fault::Pages;
use crate::kernel::Kernel;
use crate::machine::verbs::Birth;
use crate::machine::{Machine, Outcome, Request};
use crate::state::frame::{Frame, PageFlags};
use crate::state::mapping::{FileSystem, Migrate, Release, Write};
use crate::state::mm::VmFlags;
use crate::state::pagetable::Entry;
use crate::state::task::Credentials;
use crate::state::zone::{Counter, Counters};

const SHARED: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::SHARED);

/// A filesystem with buffers and a journal.
fn ext() -> FileSystem {
    FileSystem { release: Release::Buffers, ..FileSystem::ext() }
}

/// A block device.
fn block_device() -> FileSystem {
    FileSystem { name: "block".into(), migrate: Migrate::Fallback, ..ext() }
}

fn ramfs() -> FileSystem {
    FileSystem {
        name: "ramfs".into(),
        migrate: Migrate::Fallback,
        write: Write::Never,
        is_swap_backed: false,
        is_unevictable: true,
        ..FileSystem::tmpfs()
    }
}

/// A machine of two nodes, one CPU, and one task with one page of a file mapped, on its list.
struct World {
    machine: Machine,
    task: TaskId,
    file: MappingId,
    at: u64,
}

impl World {
    fn new(kind: FileSystem) -> World {
        World::of(kind, Profile::Exact, true)
    }

    /// A file of `kind`, whose first page is read, or written to, through a shared area.
    fn of(kind: FileSystem, profile: Profile, is_write: bool) -> World {
        let spec =
            MachineSpec { profile, swap_slots: 8, ..MachineSpec::simple(&[64, 64], 1, true) };
        let mut machine = Machine::new(&spec).unwrap();
        let file = machine.create_file("file".into(), 4 * PAGE_SIZE, kind).unwrap();
        let task = spawn(&mut machine);
        let at = machine.mmap_file(task, 4 * PAGE_SIZE, None, SHARED, file, 0).unwrap();
        let mut world = World { machine, task, file, at };
        match is_write {
            true => world.store(task, at, b'a'),
            false => world.touch(task, at, false),
        }
        world.machine.drain(None).unwrap();
        world.sound();
        world
    }

    fn sound(&self) {
        assert_eq!(self.machine.audit(), []);
    }

    fn kernel(&self) -> &Kernel {
        self.machine.kernel()
    }

    fn run(&mut self, task: TaskId, request: Request) -> Outcome {
        let outcome = self.machine.run(task, request).unwrap();
        self.sound();
        outcome
    }

    fn touch(&mut self, task: TaskId, start: u64, is_write: bool) {
        self.run(task, Request::Touch(Pages::Range { start, pages: 1, is_write }));
    }

    fn store(&mut self, task: TaskId, address: u64, byte: u8) {
        self.run(task, Request::Write { address, data: vec![byte] });
    }

    fn load(&mut self, task: TaskId, address: u64) -> u8 {
        match self.run(task, Request::Read { address, size: 1 }) {
            Outcome::Accessed(_, data) => data[0],
            other => panic!("{other:?}"),
        }
    }

    fn entry(&self, task: TaskId, address: u64) -> Entry {
        let kernel = self.kernel();
        kernel.tables.entry(kernel.mms[kernel.tasks[task].mm.unwrap()].root, address)
    }

    /// The page that the task has mapped.
    fn page(&self) -> Pfn {
        let entry = self.entry(self.task, self.at);
        assert!(entry.is_present(), "{entry:?}");
        entry.pfn()
    }

    /// The page in the first slot of the file.
    fn cached(&self) -> Pfn {
        self.kernel().mappings[self.file].tree.get(0).expect("a page in the first slot")
    }

    fn frame(&self, page: Pfn) -> Frame {
        self.kernel().frames[page]
    }

    /// (count, map count) of a page.
    fn counts(&self, page: Pfn) -> (u32, u32) {
        (self.frame(page).count(), self.frame(page).mapcount())
    }

    fn counters(&self, node: u8) -> &Counters {
        let (_, zone) = self.kernel().zones.iter().nth(node.into()).unwrap();
        &zone.counters
    }

    fn counter(&self, node: u8, counter: Counter) -> i64 {
        self.counters(node).get(counter)
    }

    /// `move_pages` of the one page to node 1.
    fn moving(&self) -> Request {
        move_to(self.task, &[self.at], 1)
    }

    /// Moves the page: stepped in fine mode, audited after every step, and once more straight through
    /// on a copy, which must leave the same. The result of the call, and the page's status.
    fn moves(&mut self) -> (Result<(), Errno>, i32) {
        let mut copy = self.machine.clone();
        let call = self.start(self.moving());
        self.finish(call);
        let outcome = self.machine.outcome(call).unwrap();
        let straight = copy.run(self.task, self.moving()).unwrap();
        assert_eq!(status(&outcome), status(&straight));
        let last = self.kernel().frames.len() as u32;
        let frames = |m: &Machine| (0..last).map(|n| m.kernel().frames[Pfn(n)]).collect::<Vec<_>>();
        assert_eq!(frames(&self.machine), frames(&copy), "both modes leave the same");
        assert_eq!(copy.audit(), []);
        status(&outcome)
    }

    fn start(&mut self, request: Request) -> CallId {
        self.machine.start(self.task, request, true).unwrap()
    }

    /// Steps a call to its end; where it waits, time passes.
    fn finish(&mut self, call: CallId) {
        while !self.machine.flight(call).unwrap().is_done() {
            if !self.machine.step(call).unwrap() {
                self.machine.advance_time(1).unwrap();
            }
            assert_eq!(self.machine.audit(), [], "{}", self.machine.flight(call).unwrap().at());
        }
    }

    /// Runs a call up to a step.
    fn until(&mut self, call: CallId, label: &str) {
        assert!(self.machine.run_until(call, label).unwrap(), "never gets to {label}");
        self.sound();
    }

    fn ends(&mut self, call: CallId) -> (Result<(), Errno>, i32) {
        self.finish(call);
        status(&self.machine.outcome(call).unwrap())
    }
}

fn spawn(machine: &mut Machine) -> TaskId {
    let birth = Birth {
        name: "app".into(),
        credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    machine.spawn(birth).unwrap()
}

/// `move_pages` with MPOL_MF_MOVE_ALL.
fn move_to(target: TaskId, addresses: &[u64], node: u8) -> Request {
    let count = addresses.len() as u64;
    let request = move_pages::Request {
        count,
        addresses: addresses.to_vec(),
        nodes: vec![NodeId(node); addresses.len()],
        fill_error: None,
        statuses_writable: count,
        is_shared_too: true,
    };
    Request::MovePages { target, request }
}

fn frames(pages: &[Pfn], is_offlining: bool) -> Request {
    let target = Target::Exactly(vec![NodeId(1); pages.len()]);
    Request::MigrateFrames { frames: pages.to_vec(), target, is_offlining }
}

/// The result of `move_pages` and the first status, or 0 if there is none.
fn status(outcome: &Outcome) -> (Result<(), Errno>, i32) {
    match outcome {
        Outcome::Statuses(result, statuses, _) => (*result, *statuses.first().unwrap_or(&0)),
        other => panic!("{other:?}"),
    }
}

/// What the engine said of frames: result, statuses, passes.
fn migrated(outcome: Outcome) -> (Result<u32, Errno>, Vec<i32>, u32) {
    match outcome {
        Outcome::Migrated(result, statuses, report) => (result, statuses, report.passes),
        other => panic!("{other:?}"),
    }
}
