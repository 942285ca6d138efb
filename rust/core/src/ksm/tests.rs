//! KSM as its users see it: through a machine, every step audited.

use std::ops::Range;

use crate::base::{CpuId, MachineSpec, MemcgId, Misuse, NodeId, NodeMask, Pfn, Profile, TaskId};
use crate::fault::Pages;
use crate::kernel::Kernel;
use crate::machine::verbs::Birth;
use crate::machine::{Machine, Outcome, Request};
use crate::migrate::move_pages;
use crate::migrate::target::Target;
use crate::mmap::{Advice, Unmerge};
use crate::state::frame::{Owner, PageFlags};
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::task::Credentials;
use crate::state::zone::Counter;
use crate::step::{LockId, Me, Progress, Run};

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
const MERGEABLE: VmFlags = RW.union(VmFlags::MERGEABLE);

/// A machine with bytes, two nodes, and the simplest of users.
struct World(Machine);

impl World {
    fn new() -> World {
        World::with(Profile::Exact)
    }

    fn with(profile: Profile) -> World {
        let simple = MachineSpec::simple(&[64, 64], 2, true);
        World(
            Machine::new(&MachineSpec { profile, swap_slots: 32, pageblock_frames: 16, ..simple })
                .unwrap(),
        )
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

    /// An area of pages, each filled with its byte.
    fn area(&mut self, task: TaskId, flags: VmFlags, fill: &[u8]) -> u64 {
        let start = self.0.mmap(task, fill.len() as u64 * 4096, None, flags).unwrap();
        for (at, &byte) in fill.iter().enumerate() {
            self.fill(task, start + at as u64 * 4096, byte);
        }
        self.0.drain(None).unwrap();
        start
    }

    fn run(&mut self, task: TaskId, request: Request) -> Outcome {
        let outcome = self.0.run(task, request).unwrap();
        self.sound("after a call");
        outcome
    }

    fn fill(&mut self, task: TaskId, address: u64, byte: u8) {
        self.run(task, Request::Write { address, data: vec![byte; 4096] });
    }

    fn byte(&mut self, task: TaskId, address: u64) -> u8 {
        let Outcome::Accessed(_, data) = self.run(task, Request::Read { address, size: 1 }) else {
            panic!("a read gives bytes");
        };
        data[0]
    }

    fn scan(&mut self) -> u32 {
        let Outcome::Merged(pages) = self.run(TaskId(0), Request::KsmScan) else {
            panic!("a scan tells how many pages it merged");
        };
        pages
    }

    fn fork(&mut self, task: TaskId) -> TaskId {
        let Outcome::Child(child) = self.run(task, Request::Fork { name: "child".into() }) else {
            panic!("a fork gives a child");
        };
        child.unwrap()
    }

    fn kernel(&self) -> &Kernel {
        self.0.kernel()
    }

    fn entry(&self, task: TaskId, address: u64) -> Entry {
        let kernel = self.kernel();
        let mm = kernel.tasks[task].mm.unwrap();
        let leaf = kernel.tables.find_leaf(kernel.mms[mm].root, address).unwrap();
        kernel.tables.get(leaf, leaf_index(address))
    }

    fn page(&self, task: TaskId, address: u64) -> Pfn {
        self.entry(task, address).normal_page().expect("a page is there")
    }

    /// (shared, sharing, unshared)
    fn counts(&self) -> (u64, u64, u64) {
        let ksm = &self.kernel().ksm;
        (ksm.pages_shared, ksm.pages_sharing, ksm.pages_unshared)
    }

    fn sound(&self, when: &str) {
        assert_eq!(self.0.audit(), [], "{when}");
    }
}

#[test]
fn sp16_equal_pages_of_two_tasks_become_one_that_neither_may_write_to() {
    let mut world = World::new();
    let tasks = [world.spawn(), world.spawn()];
    let starts = tasks.map(|task| world.area(task, MERGEABLE, b"xay"));
    let [a, b] = starts;
    world.fill(tasks[1], b, b'z');
    let zone = world.kernel().zones.zone_of(Pfn(0));
    let free = world.kernel().zones[zone].counters.get(Counter::AnonPages);
    assert_eq!(free, 6);
    assert_eq!(world.scan(), 2);
    assert_eq!(world.counts(), (2, 2, 2), "a and y twice; x and z alone");
    for at in [4096, 8192] {
        let shared = world.page(tasks[0], a + at);
        assert_eq!(world.page(tasks[1], b + at), shared);
        assert!(!world.entry(tasks[0], a + at).has(Entry::WRITABLE), "I-76");
        let frame = &world.kernel().frames[shared];
        assert_eq!((frame.mapcount(), frame.count()), (2, 2));
        assert!(frame.is_ksm() && frame.has(PageFlags::REFERENCED), "mark_page_accessed");
    }
    assert!(world.entry(tasks[0], a).has(Entry::WRITABLE), "what is alone stays as it was");
    assert_eq!([world.byte(tasks[0], a + 4096), world.byte(tasks[1], b + 8192)], *b"ay");
    assert_eq!(world.scan(), 0, "a second pass finds nothing new");
    assert_eq!(world.counts(), (2, 2, 2));
}

#[test]
fn sp16_a_page_joins_one_merged_before_and_its_place_is_the_newest() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"qq");
    assert_eq!(world.scan(), 1);
    let late = world.area(task, MERGEABLE, b"q");
    assert_eq!(world.scan(), 1);
    let ksm = &world.kernel().ksm;
    let (_, node) = ksm.nodes.iter().next().unwrap();
    let places: Vec<u64> = node.items.iter().map(|&item| ksm.items[item].address).collect();
    assert_eq!(places, [late, start + 4096, start], "newest first");
    assert_eq!(world.counts(), (1, 2, 0));
    assert_eq!(world.page(task, late), world.page(task, start));
}

#[test]
fn sp16_a_write_copies_and_the_next_scan_forgets_the_place() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"kk");
    world.scan();
    let shared = world.page(task, start);
    world.fill(task, start, b'w');
    assert_ne!(world.page(task, start), shared, "never reused, 2.4");
    assert_eq!([world.byte(task, start), world.byte(task, start + 4096)], *b"wk");
    assert_eq!(world.counts(), (1, 1, 0), "nobody has looked yet");
    world.scan();
    assert_eq!(world.counts(), (1, 0, 1));
    world.fill(task, start + 4096, b'v');
    assert_eq!(world.kernel().ksm.nodes.len(), 1, "stale: its page is free");
    world.scan();
    assert_eq!((world.counts(), world.kernel().ksm.nodes.len()), ((0, 0, 2), 0));
}

#[test]
fn sp16_zero_pages_files_and_unmarked_areas_are_left_alone() {
    let mut world = World::new();
    let task = world.spawn();
    let plain = world.area(task, RW, b"nn");
    let marked = world.0.mmap(task, 2 * 4096, None, MERGEABLE).unwrap();
    let pages = Pages::Range { start: marked, pages: 2, is_write: false };
    world.run(task, Request::Touch(pages));
    assert_eq!(world.scan(), 0);
    assert_ne!(world.page(task, plain), world.page(task, plain + 4096));
    assert_eq!(world.counts(), (0, 0, 0));
}

#[test]
fn a_scan_of_a_machine_without_contents_is_misuse() {
    let mut machine = Machine::new(&MachineSpec::simple(&[8], 1, false)).unwrap();
    let refused = machine.run(TaskId(0), Request::KsmScan);
    assert_eq!(refused.err(), Some(Misuse::NoContents));
}

#[test]
fn sp16_a_writable_page_with_another_reference_is_neither_upgraded_nor_merged() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"pp");
    world.run(task, Request::Pin { address: start + 4096, is_write: true });
    assert_eq!(world.scan(), 0, "the second page cannot be upgraded");
    assert_eq!(world.counts(), (0, 0, 1), "only the first is alone");
    assert!(world.entry(task, start + 4096).has(Entry::WRITABLE), "restored");
    let pinned = world.page(task, start + 4096);
    world.run(task, Request::Unpin(pinned));
    assert_eq!(world.scan(), 1);
}

#[test]
fn sp16_when_the_second_merge_fails_the_first_page_is_broken_again() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"pp");
    let before = world.page(task, start + 4096);
    world.run(task, Request::Pin { address: start, is_write: true });
    assert_eq!(world.scan(), 0);
    assert_ne!(world.page(task, start + 4096), before, "a write fault copied what was upgraded");
    assert_eq!(world.byte(task, start + 4096), b'p');
    assert_eq!(world.kernel().ksm.nodes.len(), 0);
    assert!(matches!(
        world.kernel().frames[world.page(task, start + 4096)].owner(),
        Owner::Anon(_)
    ));
}

#[test]
fn sp16_fork_shares_a_merged_page_and_a_scan_enters_the_childs_place() {
    let mut world = World::new();
    let parent = world.spawn();
    let start = world.area(parent, MERGEABLE, b"ff");
    world.scan();
    let child = world.fork(parent);
    assert_eq!(world.page(child, start), world.page(parent, start));
    assert_eq!(world.counts(), (1, 1, 0));
    assert_eq!(world.scan(), 0, "the child has that page already");
    assert_eq!(world.counts(), (1, 3, 0));
    world.run(parent, Request::Exit);
    assert_eq!(world.counts(), (1, 3, 0), "until a scan notices");
    world.scan();
    assert_eq!(world.counts(), (1, 1, 0));
    world.run(child, Request::Exit);
    world.scan();
    assert_eq!((world.counts(), world.kernel().ksm.items.len()), ((0, 0, 0), 0));
}

#[test]
fn i72_a_page_upgraded_through_the_child_may_be_mapped_where_no_item_leads() {
    let mut world = World::new();
    let parent = world.spawn();
    let start = world.area(parent, RW, b"i");
    let child = world.fork(parent);
    let mm = world.kernel().tasks[child].mm.unwrap();
    let vma = world.kernel().mms[mm].area_at(&world.kernel().vmas, start).unwrap();
    let area = &mut world.0.kernel_mut().vmas[vma];
    area.set_flags(area.flags | VmFlags::MERGEABLE);
    let twin = world.area(child, MERGEABLE, b"i");
    assert_eq!(world.scan(), 1);
    let ksm = &world.kernel().ksm;
    let (_, node) = ksm.nodes.iter().next().unwrap();
    let (is_twin_upgraded, own) = (twin > start, world.page(parent, start));
    // Either the parent's page was upgraded, and then its leaf is a stray, or it was left.
    assert_eq!(node.strays.contains(&start), node.kpfn == own);
    assert!(is_twin_upgraded && node.kpfn == world.page(child, start));
}

#[test]
fn s35_a_read_only_isolated_page_is_upgraded_and_the_migration_refuses_it() {
    let mut world = World::new();
    let parent = world.spawn();
    let start = world.area(parent, MERGEABLE, b"ss");
    world.fork(parent);
    let request = move_pages::Request {
        count: 1,
        addresses: vec![start + 4096],
        nodes: vec![NodeId(1)],
        statuses_writable: 1,
        is_shared_too: true,
        ..move_pages::Request::default()
    };
    let mover = Request::MovePages { target: parent, request };
    let mover = world.0.start(parent, mover, false).unwrap();
    assert!(world.0.run_until(mover, "UM-3").unwrap());
    world.sound("isolated");
    assert_eq!(world.scan(), 2, "the second page is upgraded; the first joins it for both tasks");
    assert!(world.kernel().frames[world.page(parent, start + 4096)].is_ksm());
    world.0.finish(mover).unwrap();
    world.sound("refused");
    let Outcome::Statuses(result, statuses, _) = world.0.outcome(mover).unwrap() else {
        panic!("move_pages gives statuses");
    };
    assert_eq!((result, statuses), (Ok(()), vec![-16]), "UM-4");
}

#[test]
fn q11_and_s36_merged_pages_move_under_offlining_only() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"oo");
    world.scan();
    let old = world.page(task, start);
    let target = Target::Preferably(NodeId(1));
    let request = |is_offlining| Request::MigrateFrames {
        frames: vec![old],
        target: target.clone(),
        is_offlining,
    };
    let Outcome::Migrated(refused, statuses, _) = world.run(task, request(false)) else {
        panic!("the engine reports");
    };
    assert_eq!((refused, statuses), (Ok(1), vec![-16]));
    world.run(task, request(true));
    let new = world.page(task, start);
    assert_ne!(new, old);
    assert_eq!(world.page(task, start + 4096), new, "all its places moved");
    let (_, node) = world.kernel().ksm.nodes.iter().next().unwrap();
    assert_eq!(node.kpfn, new, "MC-7");
    assert_eq!(world.scan(), 0, "and the node is not stale");
    assert_eq!(world.counts(), (1, 1, 0));
}

#[test]
fn sp16_in_a_locked_area_the_mlock_state_moves_to_the_shared_page() {
    let mut world = World::new();
    let task = world.spawn();
    let locked = world.area(task, MERGEABLE | VmFlags::LOCKED, b"l");
    let start = world.area(task, MERGEABLE, b"l");
    let (own, other) = (world.page(task, locked), world.page(task, start));
    let is_mlocked = |world: &World, page: Pfn| world.kernel().frames[page].has(PageFlags::MLOCKED);
    assert_eq!([own, other].map(|page| is_mlocked(&world, page)), [true, false]);
    assert_eq!(world.scan(), 1);
    assert_eq!(world.page(task, locked), other, "the later page was upgraded");
    assert_eq!([own, other].map(|page| is_mlocked(&world, page)), [false, true]);
    let zone = &world.kernel().zones[world.kernel().zones.zone_of(other)];
    assert_eq!(zone.counters.get(Counter::Mlock), 1);
    world.run(task, Request::Exit);
    world.scan();
    assert_eq!(world.counts(), (0, 0, 0));
}

#[test]
fn sp16_unmerge_gives_every_page_of_a_range_its_own_copy() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"uuu");
    world.scan();
    let mm = world.kernel().tasks[task].mm.unwrap();
    let range: Range<u64> = start..start + 2 * 4096;
    let me = Me { call: crate::base::CallId(0), task, cpu: CpuId(0), is_fine: false };
    let mut unmerge = Unmerge::new(mm, range);
    assert_eq!(unmerge.advance::<Run>(world.0.kernel_mut(), me), Progress::Done);
    assert_eq!(unmerge.result(), Ok(()));
    world.sound("unmerged");
    let pages = [0, 1, 2].map(|at| world.page(task, start + at * 4096));
    assert!(pages[0] != pages[1] && pages[1] != pages[2] && pages[0] != pages[2]);
    assert_eq!([0, 1, 2].map(|at| world.byte(task, start + at * 4096)), *b"uuu");
}

#[test]
fn sp16_a_node_whose_frame_goes_offline_is_pruned() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"gg");
    world.scan();
    let old = world.page(task, start);
    world.fill(task, start, b'1');
    world.fill(task, start + 4096, b'2');
    let me = Me { call: crate::base::CallId(0), task, cpu: CpuId(0), is_fine: false };
    let kernel = world.0.kernel_mut();
    assert!(super::going_offline::<Run>(kernel, me));
    super::offline_done::<Run>(kernel, me, None);
    assert_eq!(kernel.ksm.nodes.len(), 1, "cancelled: nothing is pruned");
    assert!(super::going_offline::<Run>(kernel, me));
    super::offline_done::<Run>(kernel, me, Some(old..Pfn(old.0 + 1)));
    assert_eq!((kernel.ksm.nodes.len(), kernel.ksm.pages_shared), (0, 0));
    world.sound("pruned");
}

#[test]
fn sp16_a_scan_waits_for_the_mutex_and_gives_up_on_a_page_that_is_locked() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.area(task, MERGEABLE, b"mm");
    let first = world.0.start(TaskId(0), Request::KsmScan, false).unwrap();
    assert!(world.0.run_until(first, "SP16-follow").unwrap());
    let second = world.0.start(TaskId(0), Request::KsmScan, false).unwrap();
    assert!(!world.0.step(second).unwrap());
    let held = world.kernel().locks.holders(LockId::KsmThread);
    assert_eq!(held, [first]);
    assert!(world.0.run_until(first, "SP16-replace").unwrap());
    world.sound("a page lock is held");
    world.0.run_all().unwrap();
    world.sound("both passes are over");
    assert_eq!(world.page(task, start), world.page(task, start + 4096));
}

/// A small generator of schedules: the same on every host.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

#[test]
fn scans_among_writes_forks_exits_and_moves_keep_every_rule_after_every_step() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let profile = if seed % 4 == 3 { Profile::Repaired } else { Profile::Exact };
        let mut world = World::with(profile);
        let tasks = [world.spawn(), world.spawn()];
        if dice.below(2) == 0 {
            let limit = Some(5 + dice.below(4));
            let group = world.0.create_memcg("tight".into(), limit, MemcgId::ROOT).unwrap();
            tasks.iter().for_each(|&task| world.0.attach_memcg(group, task).unwrap());
        }
        let starts = tasks.map(|task| world.area(task, MERGEABLE, b"aabbc"));
        if dice.below(2) == 0 {
            world.scan();
        }
        if dice.below(3) == 0 {
            world.fork(tasks[0]);
        }
        let mut calls = vec![world.0.start(TaskId(0), Request::KsmScan, seed % 2 == 0).unwrap()];
        for (task, start) in tasks.into_iter().zip(starts) {
            let address = start + dice.below(5) * 4096;
            let request = match dice.below(12) {
                0 => Request::Write { address, data: vec![b'a' + dice.below(3) as u8; 4096] },
                1 => Request::Fork { name: "child".into() },
                2 => Request::Exit,
                3 => Request::Munmap { start, len: 3 * 4096 },
                4 => Request::Mlock { start, len: 3 * 4096, is_lock: true },
                5 => Request::Mprotect { start, len: 2 * 4096, protection: VmFlags::READ },
                6 => Request::SwapOut { address },
                7 => Request::KsmScan,
                10 => Request::Offline { first: Pfn(0), count: 16, timeout: 50 },
                8 => Request::Madvise { start, len: 4 * 4096, advice: Advice::Unmergeable },
                9 => Request::Mremap { start, len: 2 * 4096, new_len: 2 * 4096, to: Some(1 << 40) },
                _ => {
                    let request = move_pages::Request {
                        count: 1,
                        addresses: vec![address],
                        nodes: vec![NodeId(1)],
                        statuses_writable: 1,
                        ..move_pages::Request::default()
                    };
                    Request::MovePages { target: task, request }
                }
            };
            calls.push(world.0.start(task, request, seed % 3 == 0).unwrap());
        }
        loop {
            let ready: Vec<_> = world.0.ready().collect();
            if ready.is_empty() {
                // Nobody but the disk can go on, or nobody at all.
                world.0.run_all().unwrap();
                break;
            }
            let call = ready[dice.below(ready.len() as u64) as usize];
            world.0.step(call).unwrap();
            assert_eq!(
                world.0.audit(),
                [],
                "seed {seed}, call {call} at {:?}",
                world.0.flight(call).unwrap().at()
            );
        }
        assert!(calls.iter().all(|&call| world.0.flight(call).unwrap().is_done()), "seed {seed}");
        world.0.run(TaskId(0), Request::KsmScan).unwrap();
        assert_eq!(world.0.audit(), [], "seed {seed}, at the end");
    }
}
