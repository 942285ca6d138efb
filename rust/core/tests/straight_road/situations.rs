//! Random machines and random histories: usual pages among everything that is not.

use std::ops::Range;

use pagemig_core::base::{
    CpuId, Errno, MachineSpec, MemcgId, NodeId, NodeMask, PAGE_SIZE, Pfn, Profile, TaskId,
};
use pagemig_core::fault::Pages;
use pagemig_core::machine::verbs::Birth;
use pagemig_core::machine::{KERNEL_TASK, Machine, Outcome, Request};
use pagemig_core::migrate::collect::Wanted;
use pagemig_core::migrate::move_pages;
use pagemig_core::migrate::query::Question;
use pagemig_core::migrate::target::Target;
use pagemig_core::mmap::Advice;
use pagemig_core::state::frame::PageFlags;
use pagemig_core::state::mapping::{Dirtying, FileSystem, Migrate, Release, Write};
use pagemig_core::state::mm::VmFlags;
use pagemig_core::state::policy::{Mode, Policy};
use pagemig_core::state::task::Credentials;

const NODES: u64 = 3;
const PRIVATE: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

/// What happens next.
pub(crate) enum Verb {
    /// A call, to be run both ways.
    Call(TaskId, Request),
    /// A change of one step, which has only one way.
    Change(Change),
}

/// A change of one step.
#[derive(Debug)]
pub(crate) enum Change {
    Map(TaskId, u64, VmFlags),
    MapFile(TaskId, u64),
    Drain,
    Cpu(TaskId, CpuId),
    Isolate(Pfn),
    Flag(Pfn, PageFlags),
    TaskPolicy(TaskId, Policy),
    Group(TaskId, u64),
    MemsAllowed(TaskId, NodeMask),
}

impl Change {
    /// Makes it; whether it was possible is the same on equal machines.
    pub(crate) fn make(&self, machine: &mut Machine) -> bool {
        match *self {
            Change::Map(task, pages, flags) => {
                machine.mmap(task, pages * PAGE_SIZE, None, flags).is_ok()
            }
            Change::MapFile(task, pages) => {
                let kernel = machine.kernel();
                let file = kernel.mappings.by_name("file");
                let flags = PRIVATE | VmFlags::SHARED;
                file.is_some_and(|file| {
                    machine.mmap_file(task, pages * PAGE_SIZE, None, flags, file, 0).is_ok()
                })
            }
            Change::Drain => machine.drain(None).is_ok(),
            Change::Cpu(task, cpu) => machine.set_cpu(task, cpu).is_ok(),
            Change::Isolate(page) => machine.isolate(page).is_ok(),
            Change::Flag(page, flag) => machine.set_page_flag(page, flag, true).is_ok(),
            Change::TaskPolicy(task, policy) => machine.set_task_policy(task, policy).is_ok(),
            Change::Group(task, limit) => {
                let made = machine.create_memcg("group".into(), Some(limit), MemcgId::ROOT);
                made.is_ok_and(|group| machine.attach_memcg(group, task).is_ok())
            }
            Change::MemsAllowed(task, mask) => machine.set_mems_allowed(task, mask).is_ok(),
        }
    }
}

/// The dice of one history, and what it knows of its machine.
pub(crate) struct Situation {
    state: u64,
    pins: Vec<Pfn>,
}

impl Situation {
    pub(crate) fn new(seed: u64) -> Situation {
        Situation { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, pins: Vec::new() }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % end.max(1)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Three nodes of some dozens of frames, two tasks, a file, memory that was written to.
    pub(crate) fn machine(&mut self) -> Machine {
        let frames: Vec<u64> = (0..NODES).map(|_| 32 + self.below(160)).collect();
        let mut spec = MachineSpec::simple(&frames, 2, self.one_in(4));
        for zone in &mut spec.zones {
            zone.marks.low = self.below(6);
            zone.marks.min = zone.marks.low / 2;
        }
        spec.swap_slots = 32;
        spec.pageblock_frames = 16;
        spec.profile = if self.one_in(3) { Profile::Repaired } else { Profile::Exact };
        let mut machine = Machine::new(&spec).expect("a machine that makes sense");
        let kind = self.file_system();
        machine.create_file("file".into(), 64 * PAGE_SIZE, kind).expect("room for a file");
        for cpu in 0..2 {
            let birth = Birth {
                name: "app".into(),
                credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
                mems_allowed: NodeMask(u64::MAX),
                cpu: CpuId(cpu),
                is_kernel_thread: false,
                has_stack: false,
            };
            let task = machine.spawn(birth).expect("a task");
            let pages = 8 + self.below(40) as usize;
            let start = machine.mmap(task, pages as u64 * PAGE_SIZE, None, PRIVATE).expect("room");
            let touch = Request::Touch(Pages::Range { start, pages, is_write: true });
            machine.run(task, touch).expect("a touch");
            let written = if spec.contents { pages as u64 } else { 0 };
            for page in 0..written {
                // Every page has bytes of its own.
                let (address, data) = (start + page * PAGE_SIZE + page, vec![1 + page as u8; 3]);
                machine.run(task, Request::Write { address, data }).expect("a write");
            }
        }
        if self.one_in(6) {
            let task = self.task(&machine);
            Change::Group(task, 60).make(&mut machine);
        }
        machine
    }

    fn file_system(&mut self) -> FileSystem {
        match self.below(3) {
            0 => FileSystem::tmpfs(),
            1 => FileSystem {
                name: "ext".into(),
                migrate: Migrate::Buffers,
                write: Write::Buffers,
                dirtying: Dirtying::Buffers,
                release: Release::Buffers,
                accounts_dirty: true,
                is_swap_backed: false,
                buffer_bytes: 1024,
                ..FileSystem::tmpfs()
            },
            _ => FileSystem {
                name: "ramfs".into(),
                migrate: Migrate::Fallback,
                write: Write::Never,
                is_swap_backed: false,
                is_unevictable: true,
                ..FileSystem::tmpfs()
            },
        }
    }

    pub(crate) fn task(&mut self, machine: &Machine) -> TaskId {
        let tasks = machine.kernel().tasks.iter().map(|(pid, _)| pid);
        let tasks: Vec<_> = tasks.filter(|&pid| pid != KERNEL_TASK).collect();
        tasks[self.below(tasks.len() as u64) as usize]
    }

    /// A range of pages of a task: mostly all or a part of one of its areas.
    fn range(&mut self, machine: &Machine, task: TaskId) -> Range<u64> {
        let kernel = machine.kernel();
        let mm = kernel.tasks[task].mm.expect("every task here has memory");
        let areas: Vec<_> = kernel.mms[mm].areas().map(|id| &kernel.vmas[id]).collect();
        if areas.is_empty() {
            return 0..PAGE_SIZE;
        }
        let area = areas[self.below(areas.len() as u64) as usize];
        let first = if self.one_in(3) { self.below(area.pages()) } else { 0 };
        let most = area.pages() - first + u64::from(self.one_in(8));
        let pages = if self.one_in(3) { 1 + self.below(most) } else { most };
        let start = area.start + first * PAGE_SIZE;
        start..start + pages * PAGE_SIZE
    }

    fn frame(&mut self, machine: &Machine) -> Pfn {
        Pfn::from(self.below(machine.kernel().frames.len() as u64) as usize)
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.below(NODES) as u8)
    }

    pub(crate) fn next(&mut self, machine: &Machine) -> Verb {
        let task = self.task(machine);
        let range = self.range(machine, task);
        let (start, len) = (range.start, range.end - range.start);
        let request = match self.below(30) {
            0..9 => self.move_pages(task, range),
            9 | 10 => Request::MigratePages {
                target: self.task(machine),
                from: NodeMask(1 + self.below(7)),
                to: NodeMask(1 + self.below(7)),
                is_shared_too: self.one_in(2),
            },
            11 | 12 => self.mbind(start, len),
            13 | 14 => self.migrate_frames(machine),
            15 | 16 => {
                let pages = (len / PAGE_SIZE) as usize;
                Request::Touch(Pages::Range { start, pages, is_write: !self.one_in(4) })
            }
            17 => {
                let is_write = self.one_in(2);
                self.pin(machine, task, start, is_write)
            }
            18 if machine.kernel().tasks.iter().count() < 6 => {
                Request::Fork { name: "child".into() }
            }
            19 => Request::Mprotect { start, len, protection: self.protection() },
            20 => Request::Mlock { start, len, is_lock: !self.one_in(3) },
            21 => Request::SwapOut { address: start },
            22 => self.rare(machine, start, len),
            23 => {
                let addresses = (start..start + len).step_by(4096).collect::<Vec<u64>>();
                let count = addresses.len() as u64;
                let question = Question { count, addresses, status_bytes_writable: 4 * count };
                Request::QueryPages { target: task, question }
            }
            24 => Request::Drain,
            _ => return Verb::Change(self.change(machine, task)),
        };
        Verb::Call(task, request)
    }

    fn pin(&mut self, machine: &Machine, task: TaskId, address: u64, is_write: bool) -> Request {
        let pinned = self.pins.last().copied().filter(|_| self.one_in(3));
        match pinned.filter(|page| machine.kernel().pins.contains_key(page)) {
            Some(page) => {
                self.pins.pop();
                Request::Unpin(page)
            }
            None => {
                let _ = task;
                Request::Pin { address, is_write }
            }
        }
    }

    /// What was pinned can be let go later.
    pub(crate) fn learn(&mut self, _: TaskId, _: &Request, outcome: Option<Outcome>) {
        if let Some(Outcome::Pinned(Ok(page))) = outcome {
            self.pins.push(page);
        }
    }

    fn protection(&mut self) -> VmFlags {
        [VmFlags::empty(), VmFlags::READ, PRIVATE][self.below(3) as usize]
    }

    fn rare(&mut self, machine: &Machine, start: u64, len: u64) -> Request {
        match self.below(7) {
            0 => Request::Munmap { start, len },
            1 => Request::SoftOffline(self.frame(machine)),
            2 => Request::Reclaim { node: self.node(), pages: 4, is_anon: self.one_in(2) },
            3 => Request::Madvise { start, len, advice: Advice::Mergeable },
            4 if machine.kernel().contents.exist() => Request::KsmScan,
            5 => Request::Madvise { start, len, advice: Advice::DontNeed },
            _ => Request::Mremap { start, len, new_len: len + PAGE_SIZE, to: None },
        }
    }

    fn change(&mut self, machine: &Machine, task: TaskId) -> Change {
        match self.below(9) {
            0 => Change::Map(task, 1 + self.below(30), PRIVATE),
            1 => Change::Map(task, 1 + self.below(9), PRIVATE | VmFlags::SHARED),
            2 => Change::MapFile(task, 1 + self.below(20)),
            3 => Change::Cpu(task, CpuId(self.below(2) as u16)),
            4 => Change::Isolate(self.frame(machine)),
            5 => {
                let flags = [PageFlags::RESERVED, PageFlags::ERROR, PageFlags::REFERENCED];
                Change::Flag(self.frame(machine), flags[self.below(3) as usize])
            }
            6 => Change::TaskPolicy(task, self.policy()),
            7 => Change::MemsAllowed(task, NodeMask(1 + self.below(7))),
            _ => Change::Drain,
        }
    }

    fn policy(&mut self) -> Policy {
        let mode = [Mode::Default, Mode::Preferred, Mode::Bind, Mode::Interleave];
        match mode[self.below(4) as usize] {
            Mode::Default => Policy::default(),
            Mode::Preferred => {
                let nodes = NodeMask(1 << self.below(NODES));
                Policy { mode: Mode::Preferred, nodes, ..Policy::default() }
            }
            mode => Policy { mode, nodes: NodeMask(1 + self.below(7)), ..Policy::default() },
        }
    }

    /// The pages of a range, in order or not, some twice, some beside; one target or many.
    fn move_pages(&mut self, target: TaskId, range: Range<u64>) -> Request {
        let mut addresses: Vec<u64> = range.step_by(4096).collect();
        let far = if self.one_in(6) { 0x7000_0000 } else { 0 };
        for _ in 0..self.below(5) {
            let again = addresses[self.below(addresses.len() as u64) as usize];
            addresses.push(again + far + self.below(PAGE_SIZE));
        }
        if self.one_in(2) {
            for at in (1..addresses.len()).rev() {
                let other = self.below(at as u64 + 1) as usize;
                addresses.swap(at, other);
            }
        }
        let (node, is_one) = (self.node(), !self.one_in(3));
        let nodes = addresses.iter().map(|_| if is_one { node } else { self.node() }).collect();
        let mut request = move_pages::Request {
            count: addresses.len() as u64,
            statuses_writable: addresses.len() as u64,
            addresses,
            nodes,
            fill_error: None,
            is_shared_too: self.one_in(2),
        };
        if self.one_in(10) {
            let entry = self.below(request.count);
            request.fill_error = Some((entry, Errno::Access));
            request.addresses.truncate(entry as usize);
            request.nodes.truncate(entry as usize);
        }
        Request::MovePages { target, request }
    }

    /// Loads from the last area of a task, which maps the file, and moves of its pages.
    pub(crate) fn read_and_move_file(&mut self, machine: &Machine, task: TaskId) -> Vec<Request> {
        let kernel = machine.kernel();
        let mm = kernel.tasks[task].mm.expect("every task here has memory");
        let area = kernel.mms[mm].areas().map(|id| &kernel.vmas[id]).find(|vma| vma.file.is_some());
        let Some(range) = area.map(|area| area.start..area.end) else { return Vec::new() };
        let pages = ((range.end - range.start) / PAGE_SIZE) as usize;
        let read = Pages::Range { start: range.start, pages, is_write: false };
        vec![Request::Touch(read), Request::Drain, self.move_pages(task, range)]
    }

    fn migrate_frames(&mut self, machine: &Machine) -> Request {
        let count = 1 + self.below(40);
        let first = self.frame(machine).index();
        let end = machine.kernel().frames.len().min(first + count as usize);
        let frames: Vec<Pfn> = (first..end).map(Pfn::from).collect();
        let target = match self.below(3) {
            0 => Target::Exactly(frames.iter().map(|_| self.node()).collect()),
            1 => Target::Preferably(self.node()),
            _ => Target::Anywhere,
        };
        Request::MigrateFrames { frames, target, is_offlining: self.one_in(5) }
    }

    fn mbind(&mut self, start: u64, len: u64) -> Request {
        let policy = Some(self.policy());
        let nodes = policy.map_or(NodeMask(0), |policy| policy.nodes);
        let wanted = Wanted {
            nodes,
            is_inverted: true,
            is_strict: self.one_in(3),
            may_move: true,
            is_shared_too: self.one_in(2),
            may_have_holes: false,
        };
        Request::Mbind { start, len, policy, wanted }
    }
}
