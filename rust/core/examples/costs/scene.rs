//! Machines to work on, made through the core's public face.
//!
//! Start with [`Scene::new`]: two nodes, one task. What the task does comes as [`Work`].

use pagemig_core::base::{
    CpuId, MachineSpec, NodeId, NodeMask, PAGE_SIZE, Profile, TaskId, Watermarks, ZoneKind,
    ZoneSpec,
};
use pagemig_core::fault::Pages;
use pagemig_core::machine::verbs::Birth;
use pagemig_core::machine::{Machine, Outcome, Request};
use pagemig_core::migrate::move_pages;
use pagemig_core::migrate::query::Question;
use pagemig_core::state::mapping::FileSystem;
use pagemig_core::state::mm::VmFlags;
use pagemig_core::state::task::Credentials;

/// Where areas are mapped.
const START: u64 = 0x1000_0000;

/// One call: run to its end at once, or step by step.
pub(crate) enum Work {
    /// As a verb.
    Run(TaskId, Request),
    /// As a call that could be stopped anywhere.
    Stepped(TaskId, Request),
}

impl Work {
    /// Does it.
    pub(crate) fn done_on(self, machine: &mut Machine) -> Outcome {
        match self {
            Work::Run(task, request) => machine.run(task, request).expect("the scene permits it"),
            Work::Stepped(task, request) => {
                let call = machine.start(task, request, true).expect("the scene permits it");
                machine.finish(call).expect("nobody is in its way");
                let outcome = machine.outcome(call).expect("it is finished");
                machine.forget(call).expect("it is finished");
                outcome
            }
        }
    }
}

/// How many pages a call was good for, so that a workload that does nothing is noticed.
pub(crate) fn good(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Statuses(_, statuses, _) => statuses.iter().filter(|&&s| s >= 0).count() as u64,
        Outcome::Accessed(tally, _) => tally.hits + tally.minor + tally.major,
        Outcome::Count(Ok(failed)) => u64::from(*failed),
        Outcome::Child(Ok(_)) | Outcome::Returned(Ok(())) | Outcome::Freed(true) => 1,
        _ => 0,
    }
}

/// A machine, its task, and where the task's one area is.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) task: TaskId,
    pub(crate) start: u64,
    pub(crate) pages: u64,
}

impl Scene {
    /// Two nodes with room for `pages` each, and a task that has mapped nothing.
    pub(crate) fn new(pages: u64, contents: bool) -> Scene {
        let node = |node| ZoneSpec {
            node: NodeId(node),
            kind: ZoneKind::Normal,
            frames: pages * 2 + 4096,
            marks: Watermarks { min: 16, low: 20, high: 24 },
        };
        let spec = MachineSpec {
            nodes: vec![NodeId(0), NodeId(1)],
            zones: vec![node(0), node(1)],
            cpu_nodes: vec![NodeId(0), NodeId(1)],
            distances: vec![10, 20, 20, 10],
            contents,
            profile: Profile::Exact,
            swap_slots: 1 << 16,
            pageblock_frames: 512,
        };
        let mut machine = Machine::new(&spec).expect("the description is sound");
        let birth = Birth {
            name: "costs".into(),
            credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
            mems_allowed: NodeMask(3),
            cpu: CpuId(0),
            is_kernel_thread: false,
            has_stack: false,
        };
        let task = machine.spawn(birth).expect("CPU 0 exists");
        Scene { machine, task, start: START, pages }
    }

    /// The same with anonymous memory, every page of it there.
    pub(crate) fn heap(pages: u64) -> Scene {
        let mut scene = Scene::new(pages, false);
        scene.map();
        scene.run(scene.touch(true));
        scene
    }

    /// The same with a file instead, clean and all in memory.
    pub(crate) fn file(pages: u64, kind: FileSystem) -> Scene {
        let mut scene = Scene::new(pages, false);
        let size = pages * PAGE_SIZE;
        let machine = &mut scene.machine;
        let file = machine.create_file("file".into(), size, kind).expect("it is the first");
        let flags = MAY | VmFlags::SHARED | VmFlags::MAYSHARE;
        let at = Some(START);
        machine.mmap_file(scene.task, size, at, flags, file, 0).expect("nothing is there yet");
        scene.run(scene.touch(false));
        scene
    }

    /// Maps anonymous memory.
    pub(crate) fn map(&mut self) {
        let len = self.pages * PAGE_SIZE;
        self.machine.mmap(self.task, len, Some(START), MAY).expect("nothing is there yet");
    }

    /// Does something that is not measured.
    pub(crate) fn run(&mut self, request: Request) -> Outcome {
        self.machine.run(self.task, request).expect("the scene permits it")
    }

    /// One access to each page.
    pub(crate) fn touch(&self, is_write: bool) -> Request {
        let pages = self.pages as usize;
        Request::Touch(Pages::Range { start: self.start, pages, is_write })
    }

    /// Every page's address, in order.
    pub(crate) fn addresses(&self) -> Vec<u64> {
        (0..self.pages).map(|page| self.start + page * PAGE_SIZE).collect()
    }

    /// The same in an order without order, always the same one.
    pub(crate) fn shuffled(&self) -> Vec<u64> {
        let mut addresses = self.addresses();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for at in (1..addresses.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            addresses.swap(at, (state >> 33) as usize % (at + 1));
        }
        addresses
    }

    /// `move_pages` of `addresses` to a node.
    pub(crate) fn move_to(&self, addresses: Vec<u64>, node: u8, is_shared_too: bool) -> Request {
        let request = move_pages::Request {
            count: addresses.len() as u64,
            nodes: vec![NodeId(node); addresses.len()],
            statuses_writable: addresses.len() as u64,
            addresses,
            fill_error: None,
            is_shared_too,
        };
        Request::MovePages { target: self.task, request }
    }

    /// `move_pages` that only asks.
    pub(crate) fn ask(&self, addresses: Vec<u64>) -> Request {
        let count = addresses.len() as u64;
        let question = Question { count, addresses, status_bytes_writable: count * 4 };
        Request::QueryPages { target: self.task, question }
    }

    /// The scene's machine, and what is measured on it: calls of its task.
    pub(crate) fn then(self, requests: Vec<Request>) -> (Machine, Vec<Work>) {
        let task = self.task;
        (self.machine, requests.into_iter().map(|request| Work::Run(task, request)).collect())
    }
}

const MAY: VmFlags = VmFlags::READ
    .union(VmFlags::WRITE)
    .union(VmFlags::MAYREAD)
    .union(VmFlags::MAYWRITE)
    .union(VmFlags::MAYEXEC);
