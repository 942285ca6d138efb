//! Faults on files: who gets which page, and what is counted (supporting-paths 2.3 and 2.4).

use super::*;
use crate::base::{Errno, MemcgId};
use crate::state::frame::Owner;
use crate::state::mapping::Tag;
use crate::state::zone::Counter;

fn counter(world: &World, counter: Counter) -> i64 {
    world.kernel().zones.iter().map(|(_, zone)| zone.counters.get(counter)).sum()
}

#[test]
fn sp2_3_a_load_reads_the_page_in_and_the_next_mapper_finds_it() {
    let mut world = World::new();
    let (a, b) = (world.spawn(), world.spawn());
    let file = world.file("f", 2, FileSystem::ext());
    let (at, bt) = (world.map(a, file, R), world.map(b, file, R));
    assert_eq!(world.touch(a, at, 1, false).major, 1);
    assert_eq!(world.touch(b, bt, 1, false).minor, 1, "it is in the page cache now");
    let page = world.page(a, at);
    assert_eq!(world.page(b, bt), page);
    let frame = world.frame(a, at);
    assert_eq!((frame.mapcount(), frame.owner()), (2, Owner::File(file)));
    assert!(!world.entry(a, at).has(Entry::WRITABLE));
    assert_eq!((world.resident(a).file, world.resident(a).anon), (1, 0));
    assert_eq!(counter(&world, Counter::FileMapped), 1);
}

#[test]
fn sp2_3_beyond_the_end_of_the_file_there_is_a_bus_error() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::tmpfs());
    let start = world.0.mmap_file(task, 3 * PAGE, None, R, file, 0).unwrap();
    let tally = world.touch(task, start, 3, false);
    assert_eq!(tally.sigbus, [start + PAGE, start + 2 * PAGE]);
    assert_eq!(tally.sigsegv, []);
}

#[test]
fn sp2_3_a_private_store_gets_a_copy_and_the_file_stays_as_it_is() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::ext());
    let start = world.map(task, file, RW);
    assert_eq!(world.store(task, start, 7).major, 1);
    let frame = world.frame(task, start);
    assert!(frame.is_anon() && frame.has(PageFlags::SWAPBACKED), "{frame:?}");
    assert_eq!(frame.index(), 0, "its place in the file");
    assert!(world.entry(task, start).has(Entry::WRITABLE | Entry::DIRTY));
    assert_eq!((world.resident(task).file, world.resident(task).anon), (0, 1));
    let other = world.spawn();
    let there = world.map(other, file, R);
    assert_eq!(world.load(other, there), 0);
    assert_eq!(world.load(task, start), 7);
    assert!(!world.has(world.page(other, there), PageFlags::DIRTY));
}

#[test]
fn sp2_4_a_private_store_after_a_load_turns_a_file_page_into_an_anonymous_one() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::ext());
    let start = world.map(task, file, RW);
    world.touch(task, start, 1, false);
    let before = world.page(task, start);
    assert_eq!(world.store(task, start, 7).copy_on_write, 1);
    assert_ne!(world.page(task, start), before);
    assert_eq!(world.kernel().frames[before].mapcount(), 0);
    assert_eq!((world.resident(task).file, world.resident(task).anon), (0, 1));
    assert_eq!(counter(&world, Counter::FileMapped), 0);
}

#[test]
fn sp2_4_the_first_shared_store_dirties_the_page_that_the_file_accounts() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::ext());
    let start = world.map(task, file, SHARED);
    world.touch(task, start, 1, false);
    let page = world.page(task, start);
    assert!(!world.entry(task, start).has(Entry::WRITABLE), "the file wants notice");
    assert_eq!(world.store(task, start, 7).copy_on_write, 1);
    assert_eq!(world.page(task, start), page, "no copy: the page is the file's");
    assert!(world.entry(task, start).has(Entry::WRITABLE | Entry::DIRTY | Entry::ACCESSED));
    assert!(world.has(page, PageFlags::DIRTY));
    assert!(world.kernel().mappings[file].tree.has_tag(0, Tag::Dirty));
    assert_eq!(counter(&world, Counter::FileDirty), 1);
    assert_eq!(world.store(task, start, 8).hits, 1, "nobody is told of the second one");
}

#[test]
fn sp2_3_a_shared_store_to_shmem_needs_no_notice() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::tmpfs());
    let start = world.map(task, file, SHARED);
    world.touch(task, start, 1, false);
    let entry = world.entry(task, start);
    assert!(entry.has(Entry::WRITABLE) && !entry.has(Entry::DIRTY));
    assert_eq!(world.store(task, start, 1).hits, 1);
    assert!(world.entry(task, start).has(Entry::DIRTY));
    let page = world.page(task, start);
    assert!(!world.has(page, PageFlags::DIRTY), "only its entry knows");
    world.munmap(task, start, 1);
    assert!(world.has(page, PageFlags::DIRTY), "and tells when it goes");
    assert_eq!(counter(&world, Counter::FileMapped), 0);
}

#[test]
fn sp2_3_page_mkwrite_runs_without_the_page_lock_and_truncation_may_come_between() {
    let mut world = World::new();
    let (task, cutter) = (world.spawn(), world.spawn());
    let file = world.file("f", 1, noticing());
    let start = world.map(task, file, SHARED);
    let call = world.start(task, Request::Touch(Pages::Range { start, pages: 1, is_write: true }));
    world.until(call, "SP2.3-3-mkwrite");
    let cut = world.start(cutter, Request::Truncate { file, size: 0 });
    world.finish(cut);
    world.finish(call);
    let Outcome::Accessed(tally, _) = world.0.outcome(call).unwrap() else { panic!() };
    assert_eq!((tally.spurious, tally.sigbus.len()), (1, 1), "tried again, and there is no file");
    assert!(world.entry(task, start).is_none());
}

#[test]
fn sp2_4_page_mkwrite_of_a_mapped_page_sees_that_the_entry_changed() {
    let mut world = World::new();
    let (task, cutter) = (world.spawn(), world.spawn());
    let file = world.file("f", 1, noticing());
    let start = world.map(task, file, SHARED);
    world.touch(task, start, 1, false);
    let store = Request::Touch(Pages::Range { start, pages: 1, is_write: true });
    let (one, two) = (world.start(task, store.clone()), world.start(task, store));
    world.until(one, "SP2.4-3");
    world.finish(two);
    world.finish(one);
    let Outcome::Accessed(tally, _) = world.0.outcome(one).unwrap() else { panic!() };
    assert_eq!((tally.spurious, tally.copy_on_write), (1, 0), "the other thread was faster");
    assert!(world.has(world.page(task, start), PageFlags::DIRTY));
    // The page is cut off while the method runs.
    let again = world.fork(cutter);
    let there = world.map(again, file, SHARED);
    world.touch(again, there, 1, false);
    let store = Request::Touch(Pages::Range { start: there, pages: 1, is_write: true });
    let call = world.start(again, store);
    world.until(call, "SP2.4-3");
    let cut = world.start(cutter, Request::Truncate { file, size: 0 });
    world.finish(cut);
    world.finish(call);
    let Outcome::Accessed(tally, _) = world.0.outcome(call).unwrap() else { panic!() };
    assert_eq!(tally.sigbus, [there]);
}

#[test]
fn sp2_3_two_faults_on_an_absent_page_read_it_once() {
    let mut world = World::new();
    let (a, b) = (world.spawn(), world.spawn());
    let file = world.file("f", 1, FileSystem::ext());
    let (at, bt) = (world.map(a, file, R), world.map(b, file, RW));
    let load = Request::Touch(Pages::Range { start: at, pages: 1, is_write: false });
    let store = Request::Touch(Pages::Range { start: bt, pages: 1, is_write: true });
    let (one, two) = (world.start(a, load), world.start(b, store));
    while !(world.is_done(one) && world.is_done(two)) {
        let mut could = false;
        for call in [one, two] {
            could |= !world.is_done(call) && world.step(call);
        }
        assert!(could || world.passes_time(), "both wait for ever");
    }
    assert_eq!(world.kernel().mappings[file].tree.len(), 1);
    assert_eq!(world.load(b, bt), world.load(a, at));
    assert_ne!(world.page(a, at), world.page(b, bt), "the store went to a copy");
}

#[test]
fn sp17_a_pin_for_writing_dirties_a_page_that_nobody_wrote_to() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::tmpfs());
    let start = world.map(task, file, SHARED);
    world.touch(task, start, 1, false);
    let page = world.page(task, start);
    world.run(task, Request::Pin { address: start, is_write: true });
    assert!(world.has(page, PageFlags::DIRTY), "FOLL_TOUCH with FOLL_WRITE");
    world.run(task, Request::Unpin(page));
    let beyond = world.0.mmap_file(task, PAGE, None, RW, file, PAGE).unwrap();
    let Outcome::Pinned(refused) =
        world.run(task, Request::Pin { address: beyond, is_write: false })
    else {
        panic!()
    };
    assert_eq!(refused, Err(Errno::Fault), "beyond the end of the file");
}

#[test]
fn sp2_a_group_at_its_limit_gets_no_page_of_any_kind() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 2, FileSystem::ext());
    let private = world.map(task, file, RW);
    world.touch(task, private, 2, false);
    let heap = world.0.mmap(task, 2 * PAGE, None, RW).unwrap();
    world.touch(task, heap, 1, false);
    let group = world.0.create_memcg("g".into(), Some(0), MemcgId(0)).unwrap();
    world.0.attach_memcg(group, task).unwrap();
    for (address, what) in [
        (private, "a copy of a mapped page"),
        (heap, "a copy of the zero page"),
        (heap + PAGE, "a new anonymous page"),
    ] {
        let free = world.free_frames();
        assert!(world.touch(task, address, 1, true).is_out_of_memory, "{what}");
        assert_eq!(world.free_frames(), free, "nothing was kept for {what}");
    }
    let fresh = world.map(task, file, RW);
    assert!(world.touch(task, fresh, 1, true).is_out_of_memory, "a private copy at once");
    world.0.set_memcg_limit(group, None).unwrap().unwrap();
    assert_eq!(world.touch(task, heap, 2, true).copy_on_write, 1);
    assert_eq!(world.kernel().memcgs[group].usage, 2);
}

#[test]
fn q13_a_shared_page_comes_back_from_a_migration_without_dirt_and_as_writable_as_it_was() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::ext());
    let start = world.map(task, file, SHARED);
    world.touch(task, start, 1, true);
    world.drain();
    let before = world.page(task, start);
    let frames = vec![before];
    let target = crate::migrate::target::Target::Preferably(crate::base::NodeId(1));
    world.run(task, Request::MigrateFrames { frames, target, is_offlining: false });
    let (after, entry) = (world.page(task, start), world.entry(task, start));
    assert_ne!(after, before);
    assert!(entry.has(Entry::WRITABLE) && !entry.has(Entry::DIRTY) && !entry.has(Entry::ACCESSED));
    assert!(world.has(after, PageFlags::DIRTY), "the page knows");
    assert_eq!(world.resident(task).file, 1);
}
