//! Swapping out and in, through a whole machine; every step leaves all invariants true.

mod chance;
mod files;
mod racing;
mod sharing;
mod swapping;

use crate::base::{
    CallId, CpuId, Errno, MachineSpec, MappingId, NodeId, NodeMask, PAGE_SIZE, Pfn, SwapEntry,
    TaskId,
};
use crate::fault::{Pages, Tally};
use crate::machine::verbs::Birth;
use crate::machine::{Machine, Outcome, Request};
use crate::migrate::target::Target;
use crate::state::frame::PageFlags;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, Kind};
use crate::state::swap::Slot;
use crate::state::task::Credentials;
use crate::state::zone::Counter;

/// One task with `pages` pages of memory that it has not touched.
struct World {
    machine: Machine,
    task: TaskId,
    start: u64,
}

const ONE_PAGE: usize = PAGE_SIZE as usize;

impl World {
    fn new(swap_slots: u32, pages: u64, cpus: usize) -> World {
        let mut spec = MachineSpec::simple(&[64, 64], cpus, true);
        spec.swap_slots = swap_slots;
        let mut machine = Machine::new(&spec).unwrap();
        let birth = Birth {
            name: "owner".into(),
            credentials: Credentials::default(),
            mems_allowed: NodeMask(3),
            cpu: CpuId(0),
            is_kernel_thread: false,
            has_stack: false,
        };
        let task = machine.spawn(birth).unwrap();
        let flags = VmFlags::READ | VmFlags::WRITE;
        let flags = flags | VmFlags::MAYREAD | VmFlags::MAYWRITE;
        let start = machine.mmap(task, pages * PAGE_SIZE, None, flags).unwrap();
        World { machine, task, start }
    }

    /// The same, with page n full of the byte n + 1, all on their lists.
    fn written(swap_slots: u32, pages: u64, cpus: usize) -> World {
        let mut world = World::new(swap_slots, pages, cpus);
        (0..pages).for_each(|page| world.write(page, page as u8 + 1));
        world.machine.drain(None).unwrap();
        world.sound();
        world
    }

    fn at(&self, page: u64) -> u64 {
        self.start + page * PAGE_SIZE
    }

    fn run(&mut self, request: Request) -> Outcome {
        let outcome = self.machine.run(self.task, request).unwrap();
        self.sound();
        outcome
    }

    fn start(&mut self, request: Request) -> CallId {
        self.machine.start(self.task, request, true).unwrap()
    }

    fn write(&mut self, page: u64, byte: u8) {
        let address = self.at(page);
        let tally = self.tally(Request::Write { address, data: vec![byte; ONE_PAGE] });
        assert_eq!((tally.sigsegv.len(), tally.is_out_of_memory), (0, false));
    }

    fn touch(&mut self, page: u64, is_write: bool) -> Tally {
        self.tally(Request::Touch(Pages::Range { start: self.at(page), pages: 1, is_write }))
    }

    fn tally(&mut self, request: Request) -> Tally {
        let Outcome::Accessed(tally, _) = self.run(request) else { panic!("an access") };
        tally
    }

    fn holds(&mut self, page: u64, byte: u8) {
        let request = Request::Read { address: self.at(page), size: ONE_PAGE };
        let Outcome::Accessed(_, data) = self.run(request) else { panic!("an access") };
        assert_eq!(data, vec![byte; ONE_PAGE], "page {page}");
    }

    fn swap_out(&mut self, page: u64) -> bool {
        let Outcome::Freed(freed) = self.run(Request::SwapOut { address: self.at(page) }) else {
            panic!("a swap-out")
        };
        freed
    }

    fn fork(&mut self) -> TaskId {
        let Outcome::Child(Ok(child)) = self.run(Request::Fork { name: "child".into() }) else {
            panic!("a child")
        };
        child
    }

    fn reclaim(&mut self, pages: u32) -> u32 {
        let request = Request::Reclaim { node: NodeId(0), pages, is_anon: true };
        let Outcome::Count(Ok(freed)) = self.run(request) else { panic!("a reclaim") };
        freed
    }

    fn entry(&self, page: u64) -> Entry {
        let kernel = self.machine.kernel();
        let mm = kernel.tasks[self.task].mm.unwrap();
        kernel.tables.entry(kernel.mms[mm].root, self.at(page))
    }

    fn page(&self, page: u64) -> Pfn {
        assert_eq!(self.entry(page).kind(), Kind::Present, "page {page}");
        self.entry(page).pfn()
    }

    fn slot(&self, offset: u32) -> Slot {
        self.machine.kernel().swaps.slot(SwapEntry::new(0, offset))
    }

    fn cached(&self) -> u64 {
        self.machine.kernel().mappings[MappingId::SWAPPER].tree.len()
    }

    fn has(&self, page: Pfn, flags: PageFlags) -> bool {
        self.machine.kernel().frames[page].flags().contains(flags)
    }

    fn count(&self, counter: Counter) -> i64 {
        self.machine.kernel().zones.iter().map(|(_, zone)| zone.counters.get(counter)).sum()
    }

    fn resident(&self) -> (i64, i64) {
        let kernel = self.machine.kernel();
        let resident = kernel.mms[kernel.tasks[self.task].mm.unwrap()].resident;
        (resident.anon, resident.swap)
    }

    fn sound(&self) {
        assert_eq!(self.machine.audit(), []);
    }

    /// Steps all calls in turn to their ends, with an audit after each step.
    fn run_audited(&mut self, calls: &[CallId]) {
        let mut has_moved = true;
        while has_moved {
            has_moved = false;
            for &call in calls {
                if !self.machine.flight(call).unwrap().is_done() {
                    has_moved |= self.machine.step(call).unwrap();
                    self.sound();
                }
            }
            if !has_moved && calls.iter().any(|&c| !self.machine.flight(c).unwrap().is_done()) {
                self.machine.advance_time(1).unwrap();
                self.sound();
                has_moved = true;
            }
        }
    }
}

fn state(uses: u32, has_cache: bool) -> Slot {
    Slot { uses, has_cache, is_shmem: false }
}
