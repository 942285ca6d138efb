//! Address spaces with files, as their users see them: through a machine, every step audited.

mod advice;
mod faults;
mod lists;
mod moving;
mod races;
mod storm;

use crate::base::{CallId, CpuId, MachineSpec, MappingId, MmId, NodeMask, Pfn, Profile, TaskId};
use crate::fault::{Pages, Tally};
use crate::kernel::Kernel;
use crate::machine::verbs::Birth;
use crate::machine::{Machine, Outcome, Request};
use crate::state::frame::{Frame, PageFlags};
use crate::state::mapping::FileSystem;
use crate::state::mm::{Resident, VmFlags, Vma};
use crate::state::pagetable::Entry;
use crate::state::task::Credentials;

const PAGE: u64 = 4096;
const R: VmFlags = VmFlags::READ;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
const SHARED: VmFlags = RW.union(VmFlags::SHARED);

/// A machine with bytes, swap and two nodes of 64 frames. Whatever it does, it does twice: at once, and
/// on a copy step by step, with an audit after each, and the outcomes must be equal.
struct World(Machine);

impl World {
    fn new() -> World {
        World::with(2, Profile::Exact)
    }

    fn with(cpus: usize, profile: Profile) -> World {
        let simple = MachineSpec::simple(&[64, 64], cpus, true);
        World(Machine::new(&MachineSpec { swap_slots: 32, profile, ..simple }).unwrap())
    }

    fn spawn(&mut self) -> TaskId {
        let birth = Birth {
            name: "app".into(),
            credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
            mems_allowed: NodeMask(3),
            cpu: CpuId(0),
            is_kernel_thread: false,
            has_stack: false,
        };
        self.0.spawn(birth).unwrap()
    }

    fn file(&mut self, name: &str, pages: u64, kind: FileSystem) -> MappingId {
        self.0.create_file(name.into(), pages * PAGE, kind).unwrap()
    }

    /// Maps all of a file; the start.
    fn map(&mut self, task: TaskId, file: MappingId, flags: VmFlags) -> u64 {
        let len = self.kernel().mappings[file].pages_in_file().max(1) * PAGE;
        self.0.mmap_file(task, len, None, flags, file, 0).unwrap()
    }

    fn run(&mut self, task: TaskId, request: Request) -> Outcome {
        let mut stepped = World(self.0.clone());
        let call = stepped.start(task, request.clone());
        stepped.finish(call);
        let outcome = self.0.run(task, request.clone()).unwrap();
        self.sound("after a call");
        let other = stepped.0.outcome(call).unwrap();
        assert_eq!(format!("{outcome:?}"), format!("{other:?}"), "{request:?}");
        outcome
    }

    /// Begins a call that stops wherever it can.
    fn start(&mut self, task: TaskId, request: Request) -> CallId {
        self.0.start(task, request, true).unwrap()
    }

    /// One step of a call; false if it must wait.
    fn step(&mut self, call: CallId) -> bool {
        let at = self.0.flight(call).unwrap().at();
        let could = self.0.step(call).unwrap();
        self.sound(at);
        could
    }

    /// Steps a call until just before a step; it must get there.
    fn until(&mut self, call: CallId, label: &str) {
        while !self.0.flight(call).unwrap().labels().contains(&label) {
            assert!(!self.is_done(call), "never came to {label}");
            assert!(self.step(call) || self.passes_time(), "must wait before {label}");
        }
    }

    /// Steps a call to its end, letting time pass where it waits for that.
    fn finish(&mut self, call: CallId) {
        while !self.is_done(call) {
            assert!(self.step(call) || self.passes_time(), "waits for ever");
        }
    }

    fn passes_time(&mut self) -> bool {
        let due = self.kernel().io.first_due().and_then(|transfer| transfer.due);
        let Some(due) = due else { return false };
        let ticks = due.saturating_sub(self.kernel().now);
        self.0.advance_time(ticks).unwrap();
        self.sound("after a transfer");
        true
    }

    fn is_done(&self, call: CallId) -> bool {
        self.0.flight(call).unwrap().is_done()
    }

    fn sound(&self, when: &str) {
        assert_eq!(self.0.audit(), [], "{when}");
    }

    fn kernel(&self) -> &Kernel {
        self.0.kernel()
    }

    fn touch(&mut self, task: TaskId, start: u64, pages: usize, is_write: bool) -> Tally {
        let pages = Pages::Range { start, pages, is_write };
        match self.run(task, Request::Touch(pages)) {
            Outcome::Accessed(tally, _) => tally,
            other => panic!("{other:?}"),
        }
    }

    fn store(&mut self, task: TaskId, address: u64, byte: u8) -> Tally {
        match self.run(task, Request::Write { address, data: vec![byte] }) {
            Outcome::Accessed(tally, _) => tally,
            other => panic!("{other:?}"),
        }
    }

    fn load(&mut self, task: TaskId, address: u64) -> u8 {
        match self.run(task, Request::Read { address, size: 1 }) {
            Outcome::Accessed(_, data) => data[0],
            other => panic!("{other:?}"),
        }
    }

    fn munmap(&mut self, task: TaskId, start: u64, pages: u64) {
        self.run(task, Request::Munmap { start, len: pages * PAGE });
    }

    fn fork(&mut self, task: TaskId) -> TaskId {
        match self.run(task, Request::Fork { name: "child".into() }) {
            Outcome::Child(child) => child.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn returned(&mut self, task: TaskId, request: Request) -> Result<(), crate::base::Errno> {
        match self.run(task, request) {
            Outcome::Returned(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn mm(&self, task: TaskId) -> MmId {
        self.kernel().tasks[task].mm.unwrap()
    }

    fn resident(&self, task: TaskId) -> Resident {
        self.kernel().mms[self.mm(task)].resident
    }

    fn entry(&self, task: TaskId, address: u64) -> Entry {
        let kernel = self.kernel();
        kernel.tables.entry(kernel.mms[self.mm(task)].root, address)
    }

    fn page(&self, task: TaskId, address: u64) -> Pfn {
        let entry = self.entry(task, address);
        assert!(entry.is_present(), "{entry:?} at {address:#x}");
        entry.pfn()
    }

    fn frame(&self, task: TaskId, address: u64) -> &Frame {
        &self.kernel().frames[self.page(task, address)]
    }

    fn has(&self, page: Pfn, flags: PageFlags) -> bool {
        self.kernel().frames[page].has(flags)
    }

    fn area(&self, task: TaskId, address: u64) -> &Vma {
        let kernel = self.kernel();
        let id = kernel.mms[self.mm(task)].area_at(&kernel.vmas, address);
        &kernel.vmas[id.expect("mapped")]
    }

    fn spans(&self, task: TaskId) -> Vec<(u64, u64)> {
        let kernel = self.kernel();
        let span = |id| (kernel.vmas[id].start, kernel.vmas[id].end);
        kernel.mms[self.mm(task)].areas().map(span).collect()
    }

    /// Who maps a file, in the order of a walk.
    fn mappers(&self, file: MappingId) -> Vec<(MmId, u64)> {
        let kernel = self.kernel();
        let areas = kernel.mappings[file].areas.iter();
        areas.map(|&id| (kernel.vmas[id].mm, kernel.vmas[id].start)).collect()
    }

    fn drain(&mut self) {
        self.0.drain(None).unwrap();
        self.sound("after a drain");
    }

    fn free_frames(&self) -> u64 {
        self.kernel().zones.iter().map(|(_, zone)| zone.free.count()).sum()
    }
}

/// A journalling filesystem whose areas have `page_mkwrite`.
fn noticing() -> FileSystem {
    FileSystem { has_page_mkwrite: true, ..FileSystem::ext() }
}
