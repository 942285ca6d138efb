//! Memory cgroups as their users see them: through a machine, audited after every call.

use super::verbs::Birth;
use super::{Machine, Outcome, Request};
use crate::base::{
    CpuId, Errno, MachineSpec, MappingId, MemcgId, NodeId, NodeMask, Pfn, Profile, TaskId,
};
use crate::fault::Pages;
use crate::migrate::move_pages;
use crate::migrate::target::Target;
use crate::state::frame::PageFlags;
use crate::state::mapping::{FileSystem, Migrate};
use crate::state::memcg::{Memcg, RecordFlags};
use crate::state::mm::VmFlags;
use crate::state::pagetable::leaf_index;
use crate::state::task::Credentials;

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
const SHARED: VmFlags = RW.union(VmFlags::SHARED).union(VmFlags::MAYSHARE);
const PAGE: u64 = 4096;

struct World(Machine);

impl World {
    fn new(profile: Profile) -> World {
        let simple = MachineSpec::simple(&[64, 64], 2, true);
        World(Machine::new(&MachineSpec { profile, swap_slots: 16, ..simple }).unwrap())
    }

    /// A task in a new group with this limit.
    fn member(&mut self, limit: Option<u64>) -> (TaskId, MemcgId) {
        let name = format!("group{}", self.0.kernel().memcgs.iter().count());
        let group = self.0.create_memcg(name, limit, MemcgId::ROOT).unwrap();
        (self.task_in(group), group)
    }

    fn task_in(&mut self, group: MemcgId) -> TaskId {
        let birth = Birth {
            name: "app".into(),
            credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
            mems_allowed: NodeMask(3),
            cpu: CpuId(0),
            is_kernel_thread: false,
            has_stack: false,
        };
        let task = self.0.spawn(birth).unwrap();
        self.0.attach_memcg(group, task).unwrap();
        task
    }

    fn run(&mut self, task: TaskId, request: Request) -> Outcome {
        let outcome = self.0.run(task, request).unwrap();
        assert_eq!(self.0.audit(), []);
        outcome
    }

    /// Touches pages; whether there was memory for all of them.
    fn touch(&mut self, task: TaskId, start: u64, pages: usize, is_write: bool) -> bool {
        let pages = Pages::Range { start, pages, is_write };
        let Outcome::Accessed(tally, _) = self.run(task, Request::Touch(pages)) else {
            panic!("a touch gives a tally");
        };
        !tally.is_out_of_memory
    }

    fn anonymous(&mut self, task: TaskId, pages: usize) -> u64 {
        let start = self.0.mmap(task, pages as u64 * PAGE, None, RW).unwrap();
        assert!(self.touch(task, start, pages, true));
        self.0.drain(None).unwrap();
        start
    }

    /// A file of one page, mapped shared and written.
    fn mapped_file(&mut self, task: TaskId, kind: FileSystem) -> (MappingId, u64) {
        let file = self.0.create_file("file".into(), PAGE, kind).unwrap();
        let start = self.0.mmap_file(task, PAGE, None, SHARED, file, 0).unwrap();
        assert!(self.touch(task, start, 1, true));
        self.0.drain(None).unwrap();
        (file, start)
    }

    fn page(&self, task: TaskId, address: u64) -> Pfn {
        let kernel = self.0.kernel();
        let root = kernel.mms[kernel.tasks[task].mm.unwrap()].root;
        let leaf = kernel.tables.find_leaf(root, address).unwrap();
        kernel.tables.get(leaf, leaf_index(address)).normal_page().expect("a page is there")
    }

    fn request(&self, page: Pfn) -> Request {
        let target = Target::Preferably(NodeId(1));
        Request::MigrateFrames { frames: vec![page], target, is_offlining: false }
    }

    fn move_page(&mut self, page: Pfn) -> i32 {
        let request = self.request(page);
        let Outcome::Migrated(_, statuses, _) = self.run(TaskId(0), request) else {
            panic!("the engine reports");
        };
        self.0.drain(None).unwrap();
        assert_eq!(self.0.audit(), []);
        statuses[0]
    }

    fn group(&self, group: MemcgId) -> &Memcg {
        &self.0.kernel().memcgs[group]
    }

    fn usage(&self, group: MemcgId) -> u64 {
        self.group(group).usage
    }

    /// The ledgers of Q17 and Q18.
    fn ledgers(&self, group: MemcgId) -> (i64, u64) {
        (self.group(group).mapped_file_drift, self.group(group).leaked)
    }
}

#[test]
fn i100_pages_are_charged_up_to_the_limit_and_given_back_at_exit() {
    let mut world = World::new(Profile::Exact);
    let (task, group) = world.member(Some(3));
    let start = world.0.mmap(task, 5 * PAGE, None, RW).unwrap();
    assert!(!world.touch(task, start, 5, true), "the fourth page is refused");
    assert_eq!((world.usage(group), world.group(group).rss), (3, 3));
    assert!(world.touch(task, start + 3 * PAGE, 2, false), "the zero page is nobody's");
    world.run(task, Request::Munmap { start, len: PAGE });
    assert_eq!(world.usage(group), 2);
    assert!(world.touch(task, start + 3 * PAGE, 1, true), "the zero page is copied");
    world.run(task, Request::Exit);
    assert_eq!((world.usage(group), world.group(group).rss), (0, 0));
}

#[test]
fn sp13_a_charge_counts_for_every_group_above_and_the_fullest_one_refuses() {
    let mut world = World::new(Profile::Exact);
    let (_, parent) = world.member(Some(4));
    let children =
        ["a", "b"].map(|name| world.0.create_memcg(name.into(), Some(3), parent).unwrap());
    let tasks = children.map(|group| world.task_in(group));
    world.anonymous(tasks[0], 3);
    let start = world.0.mmap(tasks[1], 2 * PAGE, None, RW).unwrap();
    assert!(!world.touch(tasks[1], start, 2, true), "the parent is full");
    assert_eq!((world.usage(parent), children.map(|group| world.usage(group))), (4, [3, 1]));
    assert_eq!(world.usage(MemcgId::ROOT), 0, "the root's usage is not kept");
    assert_eq!(world.group(parent).rss, 0, "statistics are each group's own");
}

#[test]
fn i102_a_limit_is_not_lowered_below_the_usage() {
    let mut world = World::new(Profile::Exact);
    let (task, group) = world.member(None);
    world.anonymous(task, 3);
    assert_eq!(world.0.set_memcg_limit(group, Some(2)), Ok(Err(Errno::Busy)));
    assert_eq!(world.group(group).limit, None);
    assert_eq!(world.0.set_memcg_limit(group, Some(3)), Ok(Ok(())));
    let start = world.0.mmap(task, PAGE, None, RW).unwrap();
    assert!(!world.touch(task, start, 1, true));
    assert!(world.0.set_memcg_limit(MemcgId::ROOT, Some(1)).is_err());
    let unknown = world.0.create_memcg("x".into(), None, MemcgId(9)).unwrap_err();
    assert!(unknown.to_string().contains("no memory cgroup 9"), "{unknown}");
    assert!(world.0.create_memcg("group0".into(), None, MemcgId::ROOT).is_err(), "a name twice");
}

#[test]
fn sp13_fork_inherits_the_group_and_a_move_leaves_charges_behind() {
    let mut world = World::new(Profile::Exact);
    let (task, group) = world.member(None);
    let (_, other) = world.member(None);
    let start = world.anonymous(task, 2);
    let Outcome::Child(Ok(child)) = world.run(task, Request::Fork { name: "child".into() }) else {
        panic!("a fork gives a child");
    };
    assert_eq!(world.usage(group), 2, "shared pages are charged once");
    world.0.attach_memcg(other, child).unwrap();
    assert!(world.touch(child, start, 1, true));
    assert_eq!((world.usage(group), world.usage(other)), (2, 1), "the copy is the child's");
    world.run(task, Request::Exit);
    assert_eq!((world.usage(group), world.usage(other)), (1, 1), "the child still maps one");
    world.run(child, Request::Exit);
    assert_eq!((world.usage(group), world.usage(other)), (0, 0));
}

#[test]
fn sp13_pages_from_before_the_first_group_are_never_charged_nor_those_of_the_root_counted() {
    let mut world = World::new(Profile::Exact);
    let early = world.task_in(MemcgId::ROOT);
    let start = world.anonymous(early, 1);
    let (_, group) = world.member(None);
    let page = world.page(early, start);
    assert_eq!(world.move_page(page), 1);
    let record = |world: &World, page| world.0.kernel().memcg_record(page);
    assert_eq!(record(&world, world.page(early, start)).flags, RecordFlags::empty());
    let late = world.anonymous(early, 1);
    let charged = record(&world, world.page(early, late));
    assert_eq!(charged.flags, RecordFlags::USED | RecordFlags::ACCT_LRU);
    assert_eq!((charged.owner, world.usage(MemcgId::ROOT)), (MemcgId::ROOT, 0));
    assert_eq!((world.group(MemcgId::ROOT).rss, world.usage(group)), (1, 0));
}

#[test]
fn i103_a_moved_or_returned_anonymous_page_is_charged_once() {
    for profile in [Profile::Exact, Profile::Repaired] {
        let mut world = World::new(profile);
        let (task, group) = world.member(Some(4));
        let start = world.anonymous(task, 3);
        let page = world.page(task, start);
        assert_eq!(world.move_page(page), 1);
        assert_eq!((world.usage(group), world.ledgers(group)), (3, (0, 0)), "success");
        world.run(task, Request::Pin { address: start + PAGE, is_write: false });
        let page = world.page(task, start + PAGE);
        assert_eq!(world.move_page(page), -11);
        assert_eq!((world.usage(group), world.ledgers(group)), (3, (0, 0)), "failure, restored");
    }
}

#[test]
fn i103_if_everyone_unmapped_the_page_meanwhile_its_charge_goes() {
    for profile in [Profile::Exact, Profile::Repaired] {
        let mut world = World::new(profile);
        let (task, group) = world.member(None);
        let start = world.anonymous(task, 2);
        let request = world.request(world.page(task, start));
        let mover = world.0.start(TaskId(0), request, false).unwrap();
        assert!(world.0.run_until(mover, "MM-1").unwrap());
        assert_eq!(world.usage(group), 2, "one for the old page went, one for the new one came");
        world.run(task, Request::Munmap { start, len: PAGE });
        world.0.finish(mover).unwrap();
        assert_eq!(world.0.audit(), []);
        assert_eq!(world.usage(group), 1, "{profile:?}");
        world.0.drain(None).unwrap();
        assert_eq!(world.0.audit(), [], "I-101");
    }
}

#[test]
fn s39_a_group_at_its_limit_ends_the_batch() {
    let mut world = World::new(Profile::Exact);
    let (task, group) = world.member(Some(2));
    let start = world.anonymous(task, 2);
    let request = move_pages::Request {
        count: 2,
        addresses: vec![start, start + PAGE],
        nodes: vec![NodeId(1); 2],
        statuses_writable: 2,
        ..move_pages::Request::default()
    };
    let Outcome::Statuses(result, _, _) =
        world.run(task, Request::MovePages { target: task, request })
    else {
        panic!("move_pages gives statuses");
    };
    assert_eq!(result, Err(Errno::NoMemory), "UM-5");
    let nodes =
        [0, 1].map(|at| world.0.kernel().zones.node_of(world.page(task, start + at * PAGE)));
    assert_eq!((nodes, world.usage(group)), ([NodeId(0); 2], 2));
}

#[test]
fn q17_a_migrated_mapped_file_page_is_lost_from_the_statistic_unless_repaired() {
    for (profile, drift) in [(Profile::Exact, 1), (Profile::Repaired, 0)] {
        let mut world = World::new(profile);
        let (task, group) = world.member(None);
        let (file, start) = world.mapped_file(task, FileSystem::ext());
        assert_eq!((world.usage(group), world.group(group).cache), (1, 1));
        assert_eq!(world.group(group).mapped_file, 1);
        assert_eq!(world.move_page(world.page(task, start)), 1);
        assert_eq!(world.ledgers(group), (drift, 0), "{profile:?}");
        assert_eq!(world.group(group).mapped_file, 1 - drift, "I-104");
        world.run(task, Request::Munmap { start, len: PAGE });
        assert_eq!(world.group(group).mapped_file, -drift);
        world.run(task, Request::Truncate { file, size: 0 });
        world.0.drain(None).unwrap();
        assert_eq!(world.0.audit(), []);
        assert_eq!((world.usage(group), world.group(group).cache), (0, 0));
    }
}

#[test]
fn q18_a_page_truncated_during_its_writeout_leaves_its_charge_on_the_discarded_frame() {
    for (profile, leaked) in [(Profile::Exact, 1), (Profile::Repaired, 0)] {
        let mut world = World::new(profile);
        let (task, group) = world.member(None);
        let blockdev = FileSystem { migrate: Migrate::Fallback, ..FileSystem::ext() };
        let (file, start) = world.mapped_file(task, blockdev);
        let request = world.request(world.page(task, start));
        let mover = world.0.start(TaskId(0), request, false).unwrap();
        assert!(world.0.run_until(mover, "WO-5").unwrap());
        let truncation = world.0.start(task, Request::Truncate { file, size: 0 }, false).unwrap();
        while !world.0.flight(truncation).unwrap().is_done() {
            if !world.0.step(truncation).unwrap() {
                world.0.advance_time(10).unwrap();
            }
            assert_eq!(world.0.audit(), []);
        }
        world.0.finish(mover).unwrap();
        world.0.drain(None).unwrap();
        assert_eq!(world.0.audit(), [], "{profile:?}");
        assert_eq!(world.ledgers(group), (0, leaked), "{profile:?}");
        assert_eq!(world.usage(group), leaked);
        let leaks: Vec<Pfn> = world.0.kernel().memcgs.leaks().collect();
        assert_eq!(leaks.len() as u64, leaked, "I-101");
        // Whoever gets the frame next is charged for by what was left on it.
        let all = world.0.mmap(task, 120 * PAGE, None, RW).unwrap();
        assert!(world.touch(task, all, 120, true));
        assert_eq!((world.usage(group), world.ledgers(group)), (120, (0, 0)));
        world.run(task, Request::Exit);
        assert_eq!(world.usage(group), 0);
    }
}

#[test]
fn sp13_a_swapped_page_leaves_usage_for_swapout_and_comes_back() {
    let mut world = World::new(Profile::Exact);
    let (task, group) = world.member(Some(2));
    let start = world.anonymous(task, 2);
    world.run(task, Request::SwapOut { address: start });
    world.0.drain(None).unwrap();
    let counted = |world: &World| {
        let group = world.group(group);
        (group.usage, group.rss, group.swapout)
    };
    assert_eq!(counted(&world), (1, 1, 1));
    let late = world.0.mmap(task, PAGE, None, RW).unwrap();
    assert!(world.touch(task, late, 1, true), "there is room again");
    assert!(!world.touch(task, start, 1, false), "and none to come back to");
    world.run(task, Request::Munmap { start: late, len: PAGE });
    assert!(world.touch(task, start, 1, false));
    assert_eq!(counted(&world), (2, 2, 0));
    world.run(task, Request::Exit);
    world.0.drain(None).unwrap();
    assert_eq!(world.0.audit(), []);
    assert_eq!(counted(&world).1, 0);
}

#[test]
fn sp16_a_merge_uncharges_the_page_that_goes_and_a_copy_is_the_writers() {
    let mut world = World::new(Profile::Exact);
    let (task, group) = world.member(None);
    let start = world.0.mmap(task, 3 * PAGE, None, RW | VmFlags::MERGEABLE).unwrap();
    world.run(task, Request::Write { address: start, data: vec![7; 3 * PAGE as usize] });
    world.0.drain(None).unwrap();
    assert_eq!(world.usage(group), 3);
    world.run(TaskId(0), Request::KsmScan);
    assert_eq!(world.usage(group), 1);
    assert_eq!(world.move_page(world.page(task, start)), -16, "UM-4: refused before UM-5");
    assert_eq!(world.usage(group), 1);
    world.run(task, Request::Write { address: start, data: vec![8] });
    assert_eq!(world.usage(group), 2);
}

#[test]
fn q18_every_failed_attempt_on_a_shmem_page_in_the_swap_cache_leaves_a_charge_behind() {
    for (profile, leaked) in [(Profile::Exact, 3), (Profile::Repaired, 0)] {
        let mut world = World::new(profile);
        let (task, group) = world.member(None);
        let file = world.0.create_file("shm".into(), PAGE, FileSystem::tmpfs()).unwrap();
        world.run(task, Request::WriteFile { file, offset: 0, size: PAGE, data: None });
        world.0.drain(None).unwrap();
        let page = world.0.kernel().mappings[file].tree.get(0).expect("just written");
        world.run(task, Request::Writeback { file, page: 0 });
        let frame = &world.0.kernel().frames[page];
        let flags = PageFlags::SWAPCACHE | PageFlags::WRITEBACK;
        assert!(frame.is_unowned() && frame.flags().contains(flags));
        assert_eq!(world.usage(group), 1, "the charge is kept (data-model 8)");
        let Outcome::Migrated(_, statuses, report) = world.run(TaskId(0), world.request(page))
        else {
            panic!("the engine reports");
        };
        assert_eq!(
            (statuses, report.passes),
            (vec![1], 4),
            "UM-6 gives up three times, then waits"
        );
        world.0.drain(None).unwrap();
        assert_eq!(world.0.audit(), []);
        assert_eq!((world.usage(group), world.ledgers(group)), (1 + leaked, (0, leaked)));
        assert_eq!(world.group(group).cache as u64, 1 + leaked);
    }
}

#[test]
fn q18_a_frame_can_be_thrown_away_charged_twice_running() {
    let mut world = World::new(Profile::Exact);
    let (task, group) = world.member(None);
    let file = world.0.create_file("shm".into(), PAGE, FileSystem::tmpfs()).unwrap();
    world.run(task, Request::WriteFile { file, offset: 0, size: PAGE, data: None });
    world.0.drain(None).unwrap();
    let page = world.0.kernel().mappings[file].tree.get(0).expect("just written");
    world.run(task, Request::Writeback { file, page: 0 });
    world.run(TaskId(0), Request::CompleteIo);
    let reader = world.0.start(task, Request::ReadFile { file, offset: 0, size: 1 }, false);
    let reader = reader.unwrap();
    assert!(
        world.0.run_until(reader, "SP11-lock").unwrap(),
        "it has a reference, but not the lock"
    );
    for _ in 0..3 {
        assert_eq!(world.move_page(page), -11, "whoever holds a reference keeps it here");
        assert_eq!(world.ledgers(group), (0, 10), "the same ten frames, charged as they were");
        assert_eq!(world.usage(group), 11);
    }
    world.0.finish(reader).unwrap();
    world.0.drain(None).unwrap();
    assert_eq!(world.0.audit(), []);
}

#[test]
fn q18_a_new_page_that_is_truncated_before_its_charge_comes_is_charged_for_ever() {
    for (profile, leaked) in [(Profile::Exact, 1), (Profile::Repaired, 0)] {
        let mut world = World::new(profile);
        let (task, group) = world.member(None);
        let (file, start) = world.mapped_file(task, FileSystem::ext());
        let request = world.request(world.page(task, start));
        let mover = world.0.start(TaskId(0), request, false).unwrap();
        assert!(world.0.run_until(mover, "UM-14").unwrap(), "its lock is given back (MN-5)");
        world.run(task, Request::Truncate { file, size: 0 });
        world.0.finish(mover).unwrap();
        world.0.drain(None).unwrap();
        assert_eq!(world.0.audit(), [], "{profile:?}");
        assert_eq!((world.usage(group), world.ledgers(group)), (leaked, (0, leaked)));
        let leaks = world.0.kernel().memcgs.leaks().collect::<Vec<_>>();
        assert_eq!(leaks.len() as u64, leaked, "I-101");
        world.run(task, Request::Exit);
    }
}
