//! What others can do to a page in a file while it moves (concurrency 4).

use super::*;
use crate::machine::State;
use crate::step::LockId;

/// A look-up of the first page, stepped.
fn lookup(world: &mut World) -> CallId {
    let request = Request::Lookup { file: world.file, page: 0 };
    world.start(request)
}

fn found(world: &World, call: CallId) -> Pfn {
    match world.machine.outcome(call).unwrap() {
        Outcome::Pinned(Ok(page)) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn s01_a_reference_before_the_count_is_looked_at_costs_the_pass() {
    let mut world = World::new(ext());
    let page = world.page();
    let call = world.start(world.moving());
    world.until(call, "MM-5");
    let other = lookup(&mut world);
    world.finish(other);
    assert_eq!(found(&world, other), page);
    world.until(call, "UM-11");
    world.run(world.task, Request::Unpin(page));
    assert_eq!(world.ends(call), (Ok(()), 1), "the next pass succeeds");
}

#[test]
fn s02_a_reference_between_test_and_freeze_makes_the_freeze_fail() {
    let mut world = World::new(ext());
    let page = world.page();
    let call = world.start(world.moving());
    world.until(call, "MM-6");
    let other = lookup(&mut world);
    world.finish(other);
    assert_eq!(world.counts(page), (4, 0), "isolation, cache, private, and one more");
    world.machine.step(call).unwrap();
    assert!(world.machine.flight(call).unwrap().labels().contains(&"UM-11"));
    assert_eq!(world.cached(), page, "nothing was modified");
    world.run(world.task, Request::Unpin(page));
    assert_eq!(world.ends(call), (Ok(()), 1));
}

#[test]
fn s03_a_lookup_during_the_freeze_gets_no_reference_until_the_new_page_is_there() {
    let mut world = World::new(ext());
    let old = world.page();
    let call = world.start(world.moving());
    world.until(call, "MM-9");
    let other = lookup(&mut world);
    for _ in 0..9 {
        world.machine.step(other).unwrap();
        world.sound();
    }
    assert!(!world.machine.flight(other).unwrap().is_done(), "it tries again and again");
    assert_eq!(world.counts(old), (0, 0));
    world.until(call, "MN-4");
    world.finish(other);
    assert_eq!(found(&world, other), world.cached(), "the new page");
    assert_eq!(world.ends(call), (Ok(()), 1), "the migrator does not notice");
    assert_ne!(world.page(), old);
}

#[test]
fn s04_a_stale_reference_taken_after_the_swap_is_dropped_again() {
    let mut world = World::new(ext());
    let old = world.page();
    let call = world.start(world.moving());
    world.until(call, "MM-9");
    let other = lookup(&mut world);
    world.machine.step(other).unwrap();
    world.until(call, "BM-3");
    world.finish(other);
    assert_ne!(found(&world, other), old);
    assert_eq!(world.ends(call), (Ok(()), 1));
}

#[test]
fn s31_writeback_is_waited_for_in_forced_passes_only() {
    let mut world = World::new(ext());
    world.run(world.task, Request::Writeback { file: world.file, page: 0 });
    let page = world.page();
    assert!(world.frame(page).has(PageFlags::WRITEBACK));
    let call = world.start(world.moving());
    while world.machine.step(call).unwrap() {
        world.sound();
    }
    let waits = State::Waiting(LockId::Writeback(page));
    assert_eq!(world.machine.flight(call).unwrap().state(), waits, "UM-6, uninterruptible");
    let attempts = world.machine.flight(call).unwrap().history();
    assert_eq!(attempts.iter().filter(|&&label| label == "UM-4").count(), 4, "three gave up");
    assert!(world.entry(world.task, world.at).is_present(), "no entry is touched");
    world.machine.advance_time(1).unwrap();
    assert_eq!(world.ends(call), (Ok(()), 1));
}

#[test]
fn s33_a_locked_buffer_is_waited_for_past_the_point_of_no_return() {
    let mut world = World::new(ext());
    let old = world.page();
    world.machine.hold_buffer(old, 2, true).unwrap();
    let call = world.start(world.moving());
    while world.machine.step(call).unwrap() {
        world.sound();
    }
    let State::Waiting(LockId::Buffer(_)) = world.machine.flight(call).unwrap().state() else {
        panic!("it waits for the buffer: {:?}", world.machine.flight(call).unwrap().state());
    };
    world.sound();
    assert_ne!(world.cached(), old, "the slot holds the new page already");
    assert!(
        world.frame(old).has(PageFlags::LOCKED)
            && world.frame(world.cached()).has(PageFlags::LOCKED)
    );
    let reader = Request::ReadFile { file: world.file, offset: 0, size: 1 };
    let reader = world.machine.start(world.task, reader, true).unwrap();
    while world.machine.step(reader).unwrap() {}
    assert!(!world.machine.flight(reader).unwrap().is_done(), "W7: early finders wait");
    world.machine.release_buffer(old, 2).unwrap();
    assert_eq!(world.ends(call), (Ok(()), 1));
    world.finish(reader);
    world.sound();
    let ring = crate::pagecache::buffers::ring_of(world.kernel(), world.page()).unwrap();
    let buffers = &world.kernel().rings[ring].buffers;
    assert!(buffers.iter().all(|buffer| buffer.count == 0), "BM-8");
}

#[test]
fn s24_truncation_between_two_attempts_counts_as_moved() {
    let mut world = World::new(ext());
    let page = world.page();
    let call = world.start(frames(&[page], false));
    world.until(call, "UM-3");
    let truncate = Request::Truncate { file: world.file, size: 0 };
    let truncator = world.machine.start(world.task, truncate, true).unwrap();
    world.finish(truncator);
    world.finish(call);
    assert_eq!(migrated(world.machine.outcome(call).unwrap()).0, Ok(0));
    world.machine.drain(None).unwrap();
    world.sound();
}
