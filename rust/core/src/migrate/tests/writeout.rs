//! FB, WO: pages of filesystems that cannot move them; and methods that refuse.

use super::*;
use crate::state::mapping::Written;
use crate::trace::EventKind;

#[test]
fn e6_a_clean_page_of_ramfs_moves_straight_to_the_unevictable_list() {
    let mut world = World::of(ramfs(), Profile::Exact, false);
    let old = world.page();
    assert_eq!(world.moves(), (Ok(()), 1));
    let new = world.page();
    assert_eq!(world.counts(new), (2, 1), "cache, entry: no pagevec");
    assert!(world.frame(new).has(PageFlags::UNEVICTABLE | PageFlags::LRU));
    assert_eq!(world.counter(1, Counter::Unevictable), 1, "I-68");
    assert_eq!(world.counts(old), (1, 0), "in the pagevec of its family");
    world.machine.drain(None).unwrap();
    assert_eq!(world.counter(0, Counter::InactiveFile), 0);
}

#[test]
fn q30_a_dirty_page_of_ramfs_is_refused_for_good_and_a_clean_one_moves() {
    let mut world = World::new(ramfs());
    assert_eq!(world.moves(), (Ok(()), -22), "WO-1");
    assert_eq!(world.counter(0, Counter::Unevictable), 1, "put back, and looked at");
    assert!(world.entry(world.task, world.at).has(Entry::WRITABLE));
    assert_eq!(world.load(world.task, world.at), b'a');
}

#[test]
fn e7_a_dirty_page_of_a_block_device_is_written_first() {
    let mut world = World::new(block_device());
    let page = world.page();
    let (result, statuses, passes) = migrated(world.run(world.task, frames(&[page], false)));
    assert_eq!((result, statuses), (Ok(0), vec![1]));
    assert_eq!(passes, 4, "written in pass 0, busy in 1 and 2, waited for in 3 (UM-6)");
    let new = world.page();
    assert!(!world.frame(new).has(PageFlags::PRIVATE | PageFlags::DIRTY), "FB-2");
    let host = world.kernel().mappings[world.file].host.as_ref().unwrap();
    assert_eq!((host.writes, host.disk.page(0).unwrap()[0]), (1, b'a'));
    assert_eq!(world.load(world.task, world.at), b'a');
}

#[test]
fn e7_stepped_it_is_the_same() {
    let mut world = World::new(block_device());
    assert_eq!(world.moves(), (Ok(()), 1));
}

/// Q29: after WO-3 of EXACT a store is not noticed; REPAIRED makes it fault.
#[test]
fn q29_entries_come_back_writable_on_a_page_that_counts_as_clean() {
    for (profile, is_writable) in [(Profile::Exact, true), (Profile::Repaired, false)] {
        let mut world = World::of(block_device(), profile, true);
        let old = world.page();
        world.store(world.task, world.at, b'b');
        let call = world.start(world.moving());
        world.until(call, "WO-3");
        assert!(world.entry(world.task, world.at).as_migration().unwrap().1, "write flavour");
        world.until(call, "WO-4");
        let entry = world.entry(world.task, world.at);
        assert_eq!((entry.has(Entry::WRITABLE), entry.pfn()), (is_writable, old));
        assert!(!world.frame(old).has(PageFlags::DIRTY), "WO-2");
        assert_eq!(world.ends(call), (Ok(()), 1));
    }
}

#[test]
fn e7_a_store_between_two_passes_has_the_page_written_again() {
    let mut world = World::new(block_device());
    let call = world.start(world.moving());
    world.until(call, "WO-5");
    let store = Request::Write { address: world.at, data: vec![b'c'] };
    let writer = world.machine.start(world.task, store, false).unwrap();
    world.finish(writer);
    assert_eq!(world.ends(call), (Ok(()), 1));
    let host = world.kernel().mappings[world.file].host.as_ref().unwrap();
    assert_eq!((host.writes, host.disk.page(0).unwrap()[0]), (2, b'c'));
}

/// Q31: UM-11 runs after WO-3, and finds nothing.
#[test]
fn q31_the_entries_are_restored_once_though_they_are_looked_for_twice() {
    let mut world =
        World::new(FileSystem { write_script: vec![Written::Fails(28)], ..block_device() });
    world.machine.record(1000);
    let call = world.start(world.moving());
    world.until(call, "WO-3");
    world.until(call, "UM-11");
    assert_eq!(world.ends(call), (Ok(()), -5), "whatever writepage returned, it is -EIO (WO-6)");
    let events = world.kernel().recorder.events();
    assert_eq!(events.filter(|event| event.kind == EventKind::Restore).count(), 1);
    assert_eq!(world.load(world.task, world.at), b'a');
}

#[test]
fn wo5_a_page_that_writepage_gives_back_locked_is_tried_again() {
    let script = vec![Written::Activates; 2];
    let mut world = World::new(FileSystem { write_script: script, ..block_device() });
    let page = world.page();
    let (result, _, passes) = migrated(world.run(world.task, frames(&[page], false)));
    assert_eq!((result, passes), (Ok(0), 4), "refused twice, written in pass 2, waited for in 3");
}

#[test]
fn s26_truncation_during_writeout_leaves_nothing_to_move() {
    let mut world = World::new(block_device());
    let page = world.page();
    let call = world.start(frames(&[page], false));
    world.until(call, "WO-5");
    assert!(!world.frame(page).has(PageFlags::LOCKED), "Y19");
    let truncate = Request::Truncate { file: world.file, size: 0 };
    let truncator = world.machine.start(world.task, truncate, true).unwrap();
    world.finish(truncator);
    world.finish(call);
    let (result, statuses, _) = migrated(world.machine.outcome(call).unwrap());
    assert_eq!((result, statuses), (Ok(0), vec![1]), "UM-2: freed, which counts as moved");
    world.machine.drain(None).unwrap();
    world.sound();
    assert_eq!(world.counter(0, Counter::FilePages), 0);
}

#[test]
fn fb2_buffers_in_use_keep_a_clean_page_where_it_is() {
    let mut world = World::of(block_device(), Profile::Exact, false);
    let page = world.page();
    world.machine.hold_buffer(page, 1, false).unwrap();
    assert_eq!(world.moves(), (Ok(()), -11));
    world.machine.release_buffer(page, 1).unwrap();
    world.machine.drain(None).unwrap();
    assert_eq!(world.moves(), (Ok(()), 1));
}

#[test]
fn a_method_that_refuses_is_believed_whatever_it_returns() {
    let returning = |value| FileSystem { migrate: Migrate::Returns(value), ..ext() };
    let failing = FileSystem { migrate: Migrate::Fail, ..ext() };
    for (kind, status) in [(failing, -5), (returning(-71), -71), (returning(3), 3)] {
        let mut world = World::new(kind);
        let page = world.page();
        assert_eq!(world.moves(), (Ok(()), status));
        assert_eq!(world.page(), page);
        world.machine.drain(None).unwrap();
        assert_eq!(migrated(world.run(world.task, frames(&[page], false))).0, Ok(1), "MP-6");
    }
    let mut world = World::new(returning(-12));
    assert_eq!(world.moves().0, Err(Errno::NoMemory), "fatal to the batch");
    world.machine.drain(None).unwrap();
    let page = world.page();
    assert!(world.frame(page).has(PageFlags::LRU), "put back by UM-16");
}
