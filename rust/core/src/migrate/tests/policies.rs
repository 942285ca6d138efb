//! Where the new frame of a page of a file comes from; and areas that move their own pages.

use super::*;
use crate::migrate::collect::Wanted;
use crate::state::policy::{Mode, Policy};
use crate::trace::EventKind;

fn bind(node: u8) -> Policy {
    Policy { mode: Mode::Bind, nodes: NodeMask(1 << node), ..Policy::default() }
}

fn node_of(world: &World, task: TaskId, address: u64) -> u8 {
    world.kernel().zones.node_of(world.entry(task, address).pfn()).0
}

/// `mbind` of the whole file as the task has it mapped.
fn mbind(world: &World, policy: Policy, may_move: bool) -> Request {
    let wanted = Wanted {
        nodes: policy.nodes,
        is_inverted: true,
        may_move,
        is_shared_too: may_move,
        ..Wanted::default()
    };
    Request::Mbind { start: world.at, len: 4 * PAGE_SIZE, policy: Some(policy), wanted }
}

#[test]
fn shared_memory_keeps_its_policy_by_offset_for_whoever_maps_it() {
    let mut world = World::new(FileSystem::tmpfs());
    world.run(world.task, mbind(&world, bind(1), false));
    let other = spawn(&mut world.machine);
    let offset = PAGE_SIZE;
    let there =
        world.machine.mmap_file(other, PAGE_SIZE, None, SHARED, world.file, offset).unwrap();
    world.touch(other, there, true);
    assert_eq!(node_of(&world, other, there), 1, "the other task has no policy of its own");
    let private = VmFlags::READ | VmFlags::WRITE;
    let copy =
        world.machine.mmap_file(other, PAGE_SIZE, None, private, world.file, offset).unwrap();
    world.touch(other, copy, true);
    assert_eq!(
        node_of(&world, other, copy),
        1,
        "a private copy, too: the method is that of the area"
    );
}

#[test]
fn other_files_take_the_policy_of_the_task_and_an_area_has_its_own_for_copies_only() {
    let mut world = World::new(ext());
    world.run(world.task, mbind(&world, bind(1), false));
    world.touch(world.task, world.at + PAGE_SIZE, true);
    assert_eq!(node_of(&world, world.task, world.at + PAGE_SIZE), 0, "page cache: the task's");
    let private = VmFlags::READ | VmFlags::WRITE;
    let copy = world.machine.mmap_file(world.task, 4 * PAGE_SIZE, None, private, world.file, 0);
    world.at = copy.unwrap();
    world.run(world.task, mbind(&world, bind(1), false));
    world.touch(world.task, world.at, true);
    assert_eq!(node_of(&world, world.task, world.at), 1);
}

#[test]
fn sy6_2_mbind_moves_pages_of_files_to_where_the_policy_at_their_place_says() {
    for kind in [FileSystem::tmpfs(), ext()] {
        let mut world = World::new(kind);
        assert_eq!(node_of(&world, world.task, world.at), 0);
        let request = mbind(&world, bind(1), true);
        let call = world.start(request);
        world.finish(call);
        assert_eq!(node_of(&world, world.task, world.at), 1);
        assert_eq!(world.load(world.task, world.at), b'a');
    }
}

#[test]
fn sy5_3_an_area_that_moves_its_own_pages_may_end_the_call() {
    for (value, result, node) in [(0, Ok(0), 1), (-16, Err(Errno::Busy), 0), (7, Ok(0), 0)] {
        let mut world = World::new(FileSystem { area_migrate: Some(value), ..ext() });
        world.machine.record(1000);
        let (from, to) = (NodeMask(1), NodeMask(2));
        let target = world.task;
        let request = Request::MigratePages { target, from, to, is_shared_too: true };
        let Outcome::Count(count) = world.run(target, request) else { panic!("a count") };
        assert_eq!(count, result, "a positive code is lost");
        assert_eq!(node_of(&world, target, world.at), node);
        let mut events = world.kernel().recorder.events();
        let call = events.find(|event| event.kind == EventKind::MigrateArea).unwrap();
        assert_eq!((call.value, call.address), (1, world.at), "Q20: the source comes first");
    }
}

#[test]
fn q11_and_vma_migratable_what_cannot_move_is_said_so() {
    let low = FileSystem { is_below_policy_zone: true, ..ext() };
    let mut world = World::new(low);
    assert_eq!(world.moves(), (Ok(()), -14), "no top-zone pages for this file");
    let mut world = World::new(ext());
    let page = world.page();
    world.machine.set_page_flag(page, PageFlags::RESERVED, true).unwrap();
    assert_eq!(world.moves(), (Ok(()), -2), "PG_reserved");
    world.machine.set_page_flag(page, PageFlags::RESERVED, false).unwrap();
}
