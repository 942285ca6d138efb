//! Interleavings: look-ups and the tree, sleepers on a page lock, and locks held by others.

use super::*;
use crate::state::lock::Want;
use crate::step::LockId;

fn lookup(file: MappingId, page: u64) -> Request {
    Request::Lookup { file, page }
}

fn pinned(world: &World, call: CallId) -> Option<Pfn> {
    match world.machine.outcome(call).unwrap() {
        Outcome::Pinned(result) => result.ok(),
        other => panic!("a look-up ended as {other:?}"),
    }
}

#[test]
fn a_lookup_has_three_steps_and_ends_with_a_reference() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem::ext());
    world.run(read(file, 0, 1));
    let page = world.the_page(file, 0);
    let before = world.count(page);
    let call = world.start(lookup(file, 0));
    for (label, count) in [("SP9-1", before), ("SP9-3", before), ("SP9-4", before + 1)] {
        assert_eq!(world.machine.flight(call).unwrap().at(), label);
        assert_eq!(world.count(page), count);
        world.machine.step(call).unwrap();
        world.check();
    }
    assert_eq!(pinned(&world, call), Some(page));
    assert_eq!(world.kernel().pins[&page], 1);
}

#[test]
fn a_page_that_goes_between_slot_and_reference_is_not_taken() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, b"x"));
    world.machine.drain(None).unwrap();
    let call = world.start(lookup(file, 0));
    world.until(call, "SP9-3");
    world.run(truncate(file, 0));
    assert_eq!(world.go(call), State::Done);
    assert_eq!(pinned(&world, call), None);
}

#[test]
fn a_page_that_goes_after_the_reference_is_dropped_by_the_second_look() {
    let mut world = World::new();
    let free = world.free();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, b"x"));
    world.machine.drain(None).unwrap();
    let call = world.start(lookup(file, 0));
    world.until(call, "SP9-4");
    world.run(truncate(file, 0));
    assert_eq!(world.free(), free - 1, "the frame is not handed out while it is referenced (S04)");
    assert_eq!(world.go(call), State::Done);
    assert_eq!(pinned(&world, call), None);
    assert_eq!(world.free(), free);
}

#[test]
fn a_frozen_page_is_looked_for_again_once_the_tree_is_let_go() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem::ext());
    world.run(read(file, 0, 1));
    let page = world.the_page(file, 0);
    let somebody = CallId(77);
    let call = world.start(lookup(file, 0));
    let kernel = world.machine.kernel_mut();
    kernel.locks.note_held(LockId::Tree(file), somebody, Want::Exclusive);
    let count = kernel.frames[page].count();
    assert!(kernel.frames[page].freeze(count));
    world.machine.step(call).unwrap();
    world.machine.step(call).unwrap();
    assert_eq!(world.machine.flight(call).unwrap().state(), State::Waiting(LockId::Tree(file)));
    let kernel = world.machine.kernel_mut();
    kernel.frames[page].unfreeze(count);
    kernel.locks.release(LockId::Tree(file), somebody);
    world.run(Request::Drain);
    assert_eq!(world.go(call), State::Done);
    assert_eq!(pinned(&world, call), Some(page));
}

#[test]
fn nothing_is_added_to_a_tree_that_somebody_is_inside_of() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem::ext());
    let somebody = CallId(77);
    let kernel = world.machine.kernel_mut();
    kernel.locks.note_held(LockId::Tree(file), somebody, Want::Exclusive);
    let call = world.start(read(file, 0, 1));
    assert_eq!(world.go(call), State::Waiting(LockId::Tree(file)));
    assert_eq!(world.page(file, 0), None);
    world.machine.kernel_mut().locks.release(LockId::Tree(file), somebody);
    world.run(Request::Drain);
    world.machine.finish(call).unwrap();
    world.check();
    assert!(world.page(file, 0).is_some());
}

#[test]
fn a_truncator_asleep_on_a_page_lock_holds_a_reference_to_it() {
    let mut world = World::new();
    let file = world.file(2 * PAGE, FileSystem { io_ticks: Some(3), ..FileSystem::ext() });
    let reader = world.start(read(file, 0, 1));
    world.go(reader);
    world.machine.drain(None).unwrap();
    let page = world.the_page(file, 0);
    let before = world.count(page);
    let truncator = world.start(truncate(file, 0));
    assert_eq!(world.go(truncator), State::Waiting(LockId::Page(page)), "S24");
    assert_eq!(world.count(page), before + 1);
    world.machine.advance_time(3).unwrap();
    assert_eq!(world.go(truncator), State::Done);
    assert_eq!(world.page(file, 0), None);
    assert_eq!(world.go(reader), State::Done);
    assert_eq!(bytes_of(world.machine.outcome(reader).unwrap()), [], "the file has become shorter");
    world.machine.drain(None).unwrap();
    assert_eq!(world.free(), 128);
}

#[test]
fn two_readers_of_an_absent_page_read_it_once() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem::ext());
    let calls = [0, 1].map(|_| world.start(read(file, 0, 1)));
    for call in calls {
        world.until(call, "SP7-add");
    }
    world.machine.run_all().unwrap();
    world.check();
    assert_eq!(world.kernel().mappings[file].host.as_ref().unwrap().reads, 1);
    assert_eq!(world.kernel().mappings[file].tree.len(), 1);
    world.machine.drain(None).unwrap();
    assert_eq!(world.free(), 127, "the frame that came second is free again");
}

#[test]
fn a_writer_keeps_the_page_locked_while_it_copies() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem::ext());
    let writer = world.start(write(file, 0, b"w"));
    world.machine.advance_time(0).unwrap();
    while world.machine.flight(writer).unwrap().at() != "SP7-write-copy" {
        if world.go_once(writer) {
            world.machine.advance_time(1).unwrap();
        }
    }
    let page = world.the_page(file, 0);
    let reader = world.start(writeback(file, 0));
    assert_eq!(world.go(reader), State::Waiting(LockId::Page(page)));
    assert_eq!(world.go(writer), State::Done);
    assert_eq!(world.go(reader), State::Done);
    assert!(world.has(page, PageFlags::WRITEBACK));
}

impl World {
    /// One step; tells whether the call waits.
    fn go_once(&mut self, call: CallId) -> bool {
        let is_waiting = !self.machine.step(call).unwrap();
        self.check();
        is_waiting
    }
}
