//! Swapping out and in, through a whole machine; every step leaves all invariants true.

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

#[test]
fn a_page_that_was_swapped_out_comes_back_with_its_bytes() {
    let mut world = World::written(8, 2, 1);
    let frames = world.machine.kernel().zones[crate::base::ZoneId(0)].free.count();
    assert!(world.swap_out(0));
    assert_eq!(world.entry(0), Entry::swap(SwapEntry::new(0, 1)));
    assert_eq!(world.slot(1), state(1, false));
    assert_eq!((world.resident(), world.cached()), ((1, 1), 0));
    assert_eq!(world.count(Counter::VmscanWrite), 1);
    assert_eq!(world.machine.kernel().zones[crate::base::ZoneId(0)].free.count(), frames + 1);
    assert_eq!(world.touch(0, false).major, 1);
    assert_eq!(world.slot(1), state(0, true), "a load leaves it in the swap cache");
    assert_eq!((world.resident(), world.cached()), ((2, 0), 1));
    world.holds(0, 1);
    world.holds(1, 2);
}

#[test]
fn a_store_to_a_page_that_comes_back_gives_its_slot_up() {
    let mut world = World::written(8, 1, 1);
    assert!(world.swap_out(0));
    assert_eq!(world.touch(0, true).major, 1);
    assert!(world.slot(1).is_free());
    assert!(world.entry(0).has(Entry::WRITABLE | Entry::DIRTY));
    assert!(world.has(world.page(0), PageFlags::DIRTY), "nothing else holds its bytes");
    world.holds(0, 1);
}

#[test]
fn a_page_stays_where_there_is_no_swap() {
    let mut world = World::written(0, 1, 1);
    let page = world.page(0);
    assert!(!world.swap_out(0));
    assert_eq!(world.page(0), page);
    assert!(world.has(page, PageFlags::ACTIVE | PageFlags::LRU), "no slot: activate");
    assert_eq!(world.count(Counter::IsolatedAnon), 0);
}

#[test]
fn the_lowest_free_slot_is_taken_first() {
    let mut world = World::written(3, 4, 1);
    assert!((0..3).all(|page| world.swap_out(page)));
    assert!(!world.swap_out(3), "all three slots are taken");
    assert_eq!(world.machine.kernel().swaps.free, 0);
    world.touch(1, true);
    assert!(world.swap_out(3));
    assert_eq!(world.entry(3), Entry::swap(SwapEntry::new(0, 2)), "that of page 1");
    (0..4).for_each(|page| world.holds(page, page as u8 + 1));
}

#[test]
fn a_full_swap_takes_the_slot_back_even_after_a_load() {
    let mut world = World::written(3, 2, 1);
    assert!(world.swap_out(0) && world.swap_out(1));
    assert!(world.machine.kernel().swaps.is_full());
    world.touch(0, false);
    assert!(!world.has(world.page(0), PageFlags::SWAPCACHE));
    assert!(world.slot(1).is_free());
}

#[test]
fn neighbouring_slots_are_read_ahead() {
    let mut world = World::written(32, 12, 2);
    assert!((0..12).all(|page| world.swap_out(page)));
    world.touch(4, true);
    assert_eq!(world.cached(), 6, "slots 1 to 7 but 5: slot 0 is the header");
    assert_eq!(world.slot(8), state(1, false), "another block");
    assert_eq!(world.count(Counter::InactiveAnon), 7, "all drained to the inactive list");
    assert_eq!(world.touch(5, false).minor, 1, "there already");
    assert_eq!(world.reclaim(32), 5, "clean pages of the swap cache are just dropped");
    assert_eq!(world.cached(), 1, "the one that is mapped and was used");
    (0..12).for_each(|page| world.holds(page, page as u8 + 1));
}

#[test]
fn readahead_ends_at_the_first_free_slot() {
    let mut world = World::written(32, 7, 1);
    assert!((0..7).all(|page| world.swap_out(page)));
    world.touch(2, true);
    assert!(world.slot(3).is_free());
    assert_eq!(world.reclaim(32), 6, "what was read ahead goes again");
    world.touch(5, false);
    let cached = |world: &World| (1..8).filter(|&at| world.slot(at).has_cache).collect::<Vec<_>>();
    assert_eq!(cached(&world), [4, 5, 6, 7]);
}

#[test]
fn a_congested_device_is_written_to_by_nobody_without_pf_swapwrite() {
    let mut world = World::written(8, 1, 1);
    world.machine.set_swap_device(Some(1), true);
    let page = world.page(0);
    assert!(!world.swap_out(0));
    assert_eq!(world.entry(0), Entry::swap(SwapEntry::new(0, 1)), "unmapped, but not written");
    assert!(world.has(page, PageFlags::SWAPCACHE | PageFlags::DIRTY | PageFlags::LRU));
    assert_eq!(world.count(Counter::VmscanWrite), 0);
    world.machine.set_swap_device(Some(1), false);
    let tally = world.touch(0, false);
    assert_eq!((tally.minor, tally.major), (1, 0));
    assert_eq!(world.page(0), page);
}

#[test]
fn a_page_used_while_it_is_reclaimed_stays() {
    let mut world = World::written(8, 1, 1);
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP12-add-to-swap").unwrap());
    world.touch(0, false);
    world.machine.finish(call).unwrap();
    world.sound();
    assert!(matches!(world.machine.outcome(call).unwrap(), Outcome::Freed(false)));
    let page = world.page(0);
    assert!(world.has(page, PageFlags::ACTIVE | PageFlags::SWAPCACHE), "SWAP_FAIL: activate");
    assert_eq!(world.slot(1), state(0, true));
}

#[test]
fn a_locked_page_is_culled() {
    let mut world = World::written(8, 1, 1);
    world.run(Request::Mlock { start: world.start, len: PAGE_SIZE, is_lock: true });
    assert!(!world.swap_out(0));
    assert!(world.has(world.page(0), PageFlags::UNEVICTABLE | PageFlags::MLOCKED));
    assert_eq!(world.count(Counter::Unevictable), 1);
    assert_eq!(world.count(Counter::IsolatedAnon), 0);
}

/// A move of one frame's page to node 1.
fn to_node_1(page: Pfn) -> Request {
    let target = Target::Preferably(NodeId(1));
    Request::MigrateFrames { frames: vec![page], target, is_offlining: false }
}

#[test]
fn a_mapped_page_of_the_swap_cache_is_moved_and_left_unmapped() {
    // E3, Q12, Q15, I-92
    let mut world = World::written(8, 1, 1);
    assert!(world.swap_out(0));
    world.touch(0, false);
    world.machine.drain(None).unwrap();
    let old = world.page(0);
    assert_eq!(world.machine.kernel().frames[old].count(), 2);
    assert_eq!((world.slot(1), world.resident()), (state(0, true), (1, 0)));
    let Outcome::Migrated(Ok(0), statuses, _) = world.run(to_node_1(old)) else { panic!("moved") };
    assert_eq!(statuses, [1]);
    assert_eq!(
        world.entry(0),
        Entry::swap(SwapEntry::new(0, 1)),
        "a swap entry, not a migration entry"
    );
    assert_eq!((world.slot(1), world.resident()), (state(1, true), (0, 1)));
    assert_eq!(world.count(Counter::Shmem), 0, "the sum over the zones is exact");
    let tally = world.touch(0, false);
    assert_eq!((tally.minor, tally.major), (1, 0));
    assert_eq!(world.machine.kernel().zones.node_of(world.page(0)), NodeId(1));
    world.holds(0, 1);
}

#[test]
fn a_page_read_ahead_and_never_mapped_is_moved_within_the_swap_cache() {
    // S28
    let mut world = World::written(8, 2, 2);
    assert!(world.swap_out(0) && world.swap_out(1));
    world.touch(0, true);
    let at = SwapEntry::new(0, 2).neutral();
    let found = |world: &World| world.machine.kernel().mappings[MappingId::SWAPPER].tree.get(at);
    let old = found(&world).unwrap();
    assert!(world.machine.kernel().frames[old].is_unowned());
    let Outcome::Migrated(Ok(0), statuses, _) = world.run(to_node_1(old)) else { panic!("moved") };
    assert_eq!(statuses, [1]);
    let new = found(&world).unwrap();
    assert!(new != old && world.machine.kernel().frames[new].is_unowned());
    assert_eq!(world.touch(1, false).minor, 1);
    assert_eq!(world.page(1), new);
    world.holds(1, 2);
}

#[test]
fn a_page_in_the_hands_of_reclaim_cannot_be_isolated() {
    // S14, S15
    let mut world = World::written(8, 1, 1);
    let page = world.page(0);
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP12-references").unwrap());
    assert_eq!(world.count(Counter::IsolatedAnon), 1);
    assert_eq!(world.machine.isolate(page).unwrap(), Err(Errno::Busy));
    world.machine.finish(call).unwrap();
    world.sound();
    assert_eq!(world.count(Counter::IsolatedAnon), 0);
    assert_eq!(world.entry(0).kind(), Kind::Swap);
}

#[test]
fn a_swap_fault_beside_a_migration_ends_on_the_page_that_is_there() {
    // S29
    for head_start in 0..40 {
        let mut world = World::written(8, 1, 2);
        assert!(world.swap_out(0));
        world.touch(0, false);
        world.machine.drain(None).unwrap();
        let old = world.page(0);
        let mover = world.start(to_node_1(old));
        for _ in 0..head_start {
            if !world.machine.flight(mover).unwrap().is_done() {
                world.machine.step(mover).unwrap();
                world.sound();
            }
        }
        let fault = world.start(Request::Read { address: world.start, size: ONE_PAGE });
        world.run_audited(&[fault, mover]);
        let Outcome::Accessed(_, data) = world.machine.outcome(fault).unwrap() else { panic!() };
        assert_eq!(data, vec![1; ONE_PAGE], "after {head_start} steps");
        world.machine.forget(mover).unwrap();
        world.machine.forget(fault).unwrap();
        world.holds(0, 1);
    }
}

/// A sequence of numbers that looks like chance and is always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }
}

#[test]
fn whoever_runs_next_every_step_is_sound_and_no_byte_is_lost() {
    const PAGES: u64 = 6;
    for seed in 0..60 {
        let mut world = World::written(if seed % 3 == 0 { 3 } else { 16 }, PAGES, 2);
        let mut dice = Dice(seed);
        let mut bytes: Vec<u8> = (0..PAGES).map(|page| page as u8 + 1).collect();
        for round in 0..8 {
            let calls: Vec<CallId> = (0..4).map(|at| world.any_call(&mut dice, at)).collect();
            world.run_at_random(&calls, &mut dice);
            let page = dice.below(PAGES);
            bytes[page as usize] = (seed * 8 + round) as u8;
            world.write(page, bytes[page as usize]);
        }
        (0..PAGES).for_each(|page| world.holds(page, bytes[page as usize]));
    }
}

impl World {
    fn any_call(&mut self, dice: &mut Dice, at: u64) -> CallId {
        let page = dice.below(6);
        let address = self.at(page);
        let frame = match self.entry(page) {
            entry if entry.kind() == Kind::Present => entry.pfn(),
            _ => Pfn(dice.below(64) as u32),
        };
        let touched = |is_write| Pages::Range { start: address, pages: 1, is_write };
        self.start(match (at, dice.below(4)) {
            (0, _) | (1, 0 | 1) => Request::SwapOut { address },
            (1, _) => Request::Reclaim { node: NodeId(0), pages: 8, is_anon: true },
            (2, _) => to_node_1(frame),
            (_, 0 | 1) => Request::Touch(touched(false)),
            (_, 2) => Request::Touch(touched(true)),
            (_, _) => Request::Drain,
        })
    }

    /// Steps the calls in any order, with an audit after each step, until all are done.
    fn run_at_random(&mut self, calls: &[CallId], dice: &mut Dice) {
        loop {
            let ready: Vec<CallId> = self.machine.ready().collect();
            if ready.is_empty() {
                if calls.iter().all(|&call| self.machine.flight(call).unwrap().is_done()) {
                    break;
                }
                self.machine.advance_time(1).unwrap();
            } else {
                let call = ready[dice.below(ready.len() as u64) as usize];
                self.machine.step(call).unwrap();
            }
            self.sound();
        }
        calls.iter().for_each(|&call| self.machine.forget(call).unwrap());
    }
}

#[test]
fn every_step_of_a_swap_out_and_of_a_fault_beside_it_is_sound() {
    for head_start in 0..24 {
        let mut world = World::written(8, 2, 2);
        let out = world.start(Request::SwapOut { address: world.start });
        for _ in 0..head_start {
            if !world.machine.flight(out).unwrap().is_done() {
                if !world.machine.step(out).unwrap() {
                    world.machine.advance_time(1).unwrap();
                }
                world.sound();
            }
        }
        let read = Request::Read { address: world.start, size: ONE_PAGE };
        let fault = world.start(read);
        world.run_audited(&[fault, out]);
        let Outcome::Accessed(tally, data) = world.machine.outcome(fault).unwrap() else {
            panic!("an access")
        };
        assert_eq!(data, vec![1; ONE_PAGE], "after {head_start} steps");
        assert!(tally.sigbus.is_empty());
        for call in [out, fault] {
            world.machine.forget(call).unwrap();
        }
        world.sound();
        world.holds(0, 1);
        world.holds(1, 2);
    }
}

#[test]
fn a_write_that_never_ends_keeps_the_page() {
    let mut world = World::written(8, 1, 1);
    world.machine.set_swap_device(None, false);
    let request = Request::SwapOut { address: world.start };
    assert!(world.machine.run(world.task, request.clone()).is_err(), "it would wait for ever");
    assert_eq!(world.slot(1), state(0, false), "and nothing has changed");
    let call = world.start(request);
    assert!(world.machine.finish(call).is_err());
    world.sound();
    assert_eq!(world.machine.flight(call).unwrap().at(), "SP12-wait");
    assert_eq!(world.slot(1), state(1, true));
}
