//! `madvise`.

use super::*;
use crate::base::Errno;
use crate::mmap::Advice;

fn madvise(
    world: &mut World,
    task: TaskId,
    start: u64,
    pages: u64,
    advice: Advice,
) -> Result<(), Errno> {
    world.returned(task, Request::Madvise { start, len: pages * PAGE, advice })
}

#[test]
fn pages_that_are_not_needed_go_and_come_back_as_the_file_has_them() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 2, FileSystem::tmpfs());
    let (shared, private) = (world.map(task, file, SHARED), world.map(task, file, RW));
    world.store(task, shared, 1);
    world.store(task, private, 2);
    for start in [shared, private] {
        madvise(&mut world, task, start, 2, Advice::DontNeed).unwrap();
        assert!(world.entry(task, start).is_none());
        assert_eq!(world.load(task, start), 1, "the store to the copy is gone");
    }
    assert_eq!((world.resident(task).file, world.resident(task).anon), (2, 0));
}

#[test]
fn advice_about_a_hole_is_an_error_but_the_rest_is_done() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.0.mmap(task, 3 * PAGE, Some(0x100_0000), RW).unwrap();
    world.touch(task, start, 3, true);
    world.munmap(task, start + PAGE, 1);
    assert_eq!(madvise(&mut world, task, start, 4, Advice::DontNeed), Err(Errno::NoMemory));
    assert_eq!(world.resident(task).anon, 0);
    world.returned(task, Request::Mlock { start, len: PAGE, is_lock: true }).unwrap();
    assert_eq!(madvise(&mut world, task, start, 1, Advice::DontNeed), Err(Errno::Invalid));
    assert_eq!(world.resident(task).anon, 1, "locked pages stay");
}

#[test]
fn fork_leaves_out_what_it_is_told_to() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.0.mmap(task, 3 * PAGE, Some(0x100_0000), RW).unwrap();
    world.touch(task, start, 3, true);
    madvise(&mut world, task, start + PAGE, 1, Advice::DontFork).unwrap();
    let child = world.fork(task);
    assert_eq!(world.spans(child), [(start, start + PAGE), (start + 2 * PAGE, start + 3 * PAGE)]);
    madvise(&mut world, task, start + PAGE, 1, Advice::DoFork).unwrap();
    assert_eq!(world.spans(task), [(start, start + 3 * PAGE)], "alike again, and one again");
    let second = world.fork(task);
    assert_eq!(world.resident(second).anon, 3);
}

#[test]
fn only_private_memory_becomes_mergeable_and_merged_pages_come_back() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::tmpfs());
    let shared = world.map(task, file, SHARED);
    madvise(&mut world, task, shared, 1, Advice::Mergeable).unwrap();
    assert!(!world.area(task, shared).flags.contains(VmFlags::MERGEABLE), "ignored, no error");
    let start = world.0.mmap(task, 2 * PAGE, Some(0x100_0000), RW).unwrap();
    world.store(task, start, 7);
    world.store(task, start + PAGE, 7);
    madvise(&mut world, task, start, 2, Advice::Mergeable).unwrap();
    world.drain();
    for _ in 0..3 {
        world.run(task, Request::KsmScan);
    }
    assert_eq!(world.page(task, start), world.page(task, start + PAGE));
    madvise(&mut world, task, start + PAGE, 1, Advice::Unmergeable).unwrap();
    assert_ne!(world.page(task, start), world.page(task, start + PAGE));
    assert_eq!(world.load(task, start + PAGE), 7);
    assert!(world.area(task, start).flags.contains(VmFlags::MERGEABLE));
    assert!(!world.area(task, start + PAGE).flags.contains(VmFlags::MERGEABLE));
}
