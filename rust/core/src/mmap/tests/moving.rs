//! `mremap` (supporting-paths 6): pages go along, and everybody still finds them.

use super::*;
use crate::base::Errno;

fn mremap(
    world: &mut World,
    task: TaskId,
    start: u64,
    pages: (u64, u64),
    to: Option<u64>,
) -> Result<u64, Errno> {
    let (len, new_len) = (pages.0 * PAGE, pages.1 * PAGE);
    match world.run(task, Request::Mremap { start, len, new_len, to }) {
        Outcome::Moved(result) => result,
        other => panic!("{other:?}"),
    }
}

/// An area of pages at 16 MiB, each with a byte of its own.
fn heap(world: &mut World, task: TaskId, pages: u64) -> u64 {
    let start = world.0.mmap(task, pages * PAGE, Some(0x100_0000), RW).unwrap();
    for at in 0..pages {
        world.store(task, start + at * PAGE, at as u8 + 1);
    }
    start
}

#[test]
fn sp6_a_range_that_shrinks_or_can_grow_stays_where_it_is() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 4);
    assert_eq!(mremap(&mut world, task, start, (4, 2), None), Ok(start));
    assert_eq!(world.spans(task), [(start, start + 2 * PAGE)]);
    assert_eq!(world.resident(task).anon, 2);
    assert_eq!(mremap(&mut world, task, start, (2, 5), None), Ok(start));
    assert_eq!(world.spans(task), [(start, start + 5 * PAGE)]);
    assert_eq!(world.load(task, start + PAGE), 2);
    assert_eq!(world.load(task, start + 2 * PAGE), 0);
    // Not the last part of its area: no room behind.
    let moved = mremap(&mut world, task, start, (2, 3), None).unwrap();
    assert_ne!(moved, start);
    assert_eq!(world.load(task, moved + PAGE), 2);
    assert_eq!(world.spans(task)[0], (start + 2 * PAGE, start + 5 * PAGE));
}

#[test]
fn sp6_pages_move_with_their_range_and_the_new_area_is_last_on_every_list() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 3);
    let child = world.fork(task);
    let pages: Vec<Pfn> = (0..3).map(|at| world.page(task, start + at * PAGE)).collect();
    let to = 0x300_0000;
    assert_eq!(mremap(&mut world, task, start, (3, 3), Some(to)), Ok(to));
    for (at, &page) in pages.iter().enumerate() {
        assert_eq!(world.page(task, to + at as u64 * PAGE), page);
    }
    let (area, oldest) = (world.area(task, to), world.area(child, start).oldest_anon_vma());
    assert_eq!(area.pgoff, start / PAGE, "the pages keep their index");
    let last = world.kernel().anon_vmas.areas(oldest.unwrap()).last().copied();
    assert_eq!(world.kernel().vmas[last.unwrap()].start, to, "behind the child, forked before");
    assert_eq!(world.spans(task), [(to, to + 3 * PAGE)]);
    assert_eq!(world.load(child, start + 2 * PAGE), 3);
}

#[test]
fn sp6_part_of_an_area_moves_over_what_was_at_the_destination() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 4);
    let file = world.file("f", 4, FileSystem::ext());
    let to = world.map(task, file, SHARED);
    world.touch(task, to, 4, true);
    assert_eq!(mremap(&mut world, task, start + PAGE, (2, 2), Some(to + PAGE)), Ok(to + PAGE));
    assert_eq!(world.load(task, to + PAGE), 2);
    assert_eq!(
        world.spans(task),
        [
            (start, start + PAGE),
            (start + 3 * PAGE, start + 4 * PAGE),
            (to, to + PAGE),
            (to + PAGE, to + 3 * PAGE),
            (to + 3 * PAGE, to + 4 * PAGE),
        ]
    );
    assert_eq!((world.resident(task).file, world.resident(task).anon), (2, 4));
}

#[test]
fn sp6_an_area_of_a_file_moves_and_the_file_still_finds_its_pages() {
    let mut world = World::new();
    let (task, other) = (world.spawn(), world.spawn());
    let file = world.file("f", 3, FileSystem::ext());
    let (start, there) = (world.map(task, file, SHARED), world.map(other, file, R));
    world.touch(task, start, 3, true);
    let to = start + 0x1000_0000;
    assert_eq!(mremap(&mut world, task, start, (3, 4), Some(to)), Ok(to));
    let (a, b) = (world.mm(task), world.mm(other));
    assert_eq!(world.mappers(file), [(b, there), (a, to)], "a new mapping, at the end");
    assert_eq!(world.resident(task).file, 3);
    world.run(other, Request::Truncate { file, size: 0 });
    assert_eq!(world.resident(task).file, 0);
}

#[test]
fn sp6_a_range_comes_back_to_its_neighbour_and_is_one_with_it_again() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 4);
    let to = 0x300_0000;
    mremap(&mut world, task, start + 2 * PAGE, (2, 2), Some(to)).unwrap();
    assert_eq!(world.spans(task).len(), 2);
    mremap(&mut world, task, to, (2, 2), Some(start + 2 * PAGE)).unwrap();
    assert_eq!(world.spans(task), [(start, start + 4 * PAGE)]);
    // From below as well, and into a gap between two parts.
    mremap(&mut world, task, start, (1, 1), Some(to)).unwrap();
    mremap(&mut world, task, to, (1, 1), Some(start)).unwrap();
    mremap(&mut world, task, start + PAGE, (1, 1), Some(to)).unwrap();
    mremap(&mut world, task, to, (1, 1), Some(start + PAGE)).unwrap();
    assert_eq!(world.spans(task), [(start, start + 4 * PAGE)]);
    assert_eq!(
        (0..4).map(|at| world.load(task, start + at * PAGE)).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
}

#[test]
fn sp6_untouched_memory_is_indexed_as_if_it_had_been_made_there() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.0.mmap(task, 2 * PAGE, Some(0x100_0000), RW).unwrap();
    let to = start + 2 * PAGE;
    mremap(&mut world, task, start, (2, 2), Some(to)).unwrap();
    assert_eq!(world.area(task, to).pgoff, to / PAGE);
    assert_eq!(world.spans(task), [(to, to + 2 * PAGE)], "cut off what it had become one with");
    let file = world.file("f", 2, FileSystem::ext());
    let mapped = world.map(task, file, RW);
    mremap(&mut world, task, mapped + PAGE, (1, 1), Some(0x500_0000)).unwrap();
    assert_eq!(world.area(task, 0x500_0000).pgoff, 1, "a file's part stays that part");
}

#[test]
fn a_neighbour_that_nobody_wrote_to_takes_the_lists_of_the_pages_that_come() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 4);
    let to = 0x300_0000;
    mremap(&mut world, task, start + 2 * PAGE, (2, 2), Some(to)).unwrap();
    // An area with the index that would go on where the first two pages end.
    let child = world.fork(task);
    world.munmap(child, start, 2);
    let untouched = world.0.mmap(child, 2 * PAGE, Some(start), RW).unwrap();
    assert_eq!(world.area(child, untouched).anon_vma, None);
    mremap(&mut world, child, to, (2, 2), Some(start + 2 * PAGE)).unwrap();
    assert_eq!(world.spans(child), [(start, start + 4 * PAGE)]);
    assert!(world.area(child, start).anon_vma.is_some());
    assert_eq!(world.load(child, start + 3 * PAGE), 4);
}

#[test]
fn sp6_what_mremap_refuses_changes_nothing() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 2);
    let io = RW | VmFlags::DONTEXPAND;
    let fixed = world.0.mmap(task, 2 * PAGE, Some(0x200_0000), io).unwrap();
    let huge = world.0.mmap(task, 2 * PAGE, Some(0x400_0000), RW | VmFlags::HUGETLB).unwrap();
    let before = world.spans(task);
    for (at, pages, to, errno) in [
        (start, (2, 0), None, Errno::Invalid),
        (start, (2, 2), Some(start + PAGE), Errno::Invalid),
        (start, (2, 2), Some(0x800_0001), Errno::Invalid),
        (start, (2, 2), Some(crate::base::USER_END), Errno::Invalid),
        (start, (3, 4), None, Errno::Fault),
        (0x900_0000, (1, 2), None, Errno::Fault),
        (fixed, (2, 3), None, Errno::Fault),
        (huge, (2, 3), None, Errno::Invalid),
        (start, (2, 1 << 40), None, Errno::NoMemory),
    ] {
        assert_eq!(mremap(&mut world, task, at, pages, to), Err(errno), "{at:#x} {pages:?}");
        assert_eq!(world.spans(task), before);
    }
    assert_eq!(mremap(&mut world, task, 0x900_0000, (2, 2), None), Ok(0x900_0000), "nothing to do");
}

#[test]
fn sp15_a_locked_area_faults_in_what_it_has_more() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 2);
    world.returned(task, Request::Mlock { start, len: 2 * PAGE, is_lock: true }).unwrap();
    mremap(&mut world, task, start, (2, 3), None).unwrap();
    assert!(world.frame(task, start + 2 * PAGE).has(PageFlags::MLOCKED));
    let to = 0x300_0000;
    mremap(&mut world, task, start, (3, 4), Some(to)).unwrap();
    assert_eq!(world.kernel().mms[world.mm(task)].locked_vm, 4);
    for at in 0..4 {
        assert!(world.frame(task, to + at * PAGE).has(PageFlags::MLOCKED), "page {at}");
    }
    mremap(&mut world, task, to, (4, 1), None).unwrap();
    assert_eq!(world.kernel().mms[world.mm(task)].locked_vm, 1);
}

#[test]
fn sp6_merged_pages_are_given_back_before_their_area_moves() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.0.mmap(task, 2 * PAGE, Some(0x100_0000), RW | VmFlags::MERGEABLE).unwrap();
    world.store(task, start, 7);
    world.store(task, start + PAGE, 7);
    world.drain();
    for _ in 0..3 {
        world.run(task, Request::KsmScan);
    }
    assert!(world.frame(task, start).is_ksm(), "merged by now");
    let to = 0x300_0000;
    mremap(&mut world, task, start, (2, 2), Some(to)).unwrap();
    for at in [to, to + PAGE] {
        assert!(!world.frame(task, at).is_ksm());
        assert_eq!(world.load(task, at), 7);
    }
}

#[test]
fn sp6_a_move_without_room_for_a_table_is_undone() {
    let mut world = World::new();
    let task = world.spawn();
    let start = heap(&mut world, task, 2);
    // A pool of tables with no room for another one.
    let spare = world.spawn();
    let root = world.kernel().mms[world.mm(spare)].root;
    let kernel = world.0.kernel_mut();
    while kernel.tables.make_leaf(root, (kernel.tables.in_use() as u64) << 21).is_some() {}
    let outcome = world.0.run(
        task,
        Request::Mremap { start, len: 2 * PAGE, new_len: 3 * PAGE, to: Some(0x4000_0000) },
    );
    assert!(matches!(outcome.unwrap(), Outcome::Moved(Err(Errno::NoMemory))));
    world.sound("after the way back");
    assert_eq!(world.spans(task), [(start, start + 2 * PAGE)]);
    assert_eq!(world.resident(task).anon, 2);
}
