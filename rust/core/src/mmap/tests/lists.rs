//! The order of areas that map a file, shared memory, and what unmapping counts (data-model 7.2,
//! supporting-paths 3, 6 and 15).

use super::*;
use crate::base::SwapEntry;
use crate::step::{Progress, Run};
use crate::zap::FileUnmapping;

#[test]
fn i74_a_child_stands_behind_its_parent_and_a_new_mapping_at_the_end() {
    let mut world = World::new();
    let (a, b) = (world.spawn(), world.spawn());
    let file = world.file("f", 2, FileSystem::ext());
    let at = world.map(a, file, SHARED);
    let bt = world.0.mmap_file(b, PAGE, None, R, file, PAGE).unwrap();
    let child = world.fork(a);
    let second = world.fork(a);
    let [ma, mb, mc, md] = [a, b, child, second].map(|task| world.mm(task));
    assert_eq!(world.mappers(file), [(ma, at), (mc, at), (md, at), (mb, bt)]);
    // The half that munmap cuts off is new, so it goes to the end and then away.
    world.munmap(child, at, 1);
    assert_eq!(world.mappers(file), [(ma, at), (mc, at + PAGE), (md, at), (mb, bt)]);
    let grandchild = world.fork(child);
    let mg = world.mm(grandchild);
    let order = [(ma, at), (mc, at + PAGE), (mg, at + PAGE), (md, at), (mb, bt)];
    assert_eq!(world.mappers(file), order, "behind its own group only");
    world.run(a, Request::Exit);
    assert_eq!(world.mappers(file), order[1..]);
}

#[test]
fn sp6_a_part_with_other_permissions_is_listed_at_the_end_until_it_merges_again() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 3, FileSystem::ext());
    let start = world.map(task, file, SHARED);
    let protect = |flags| Request::Mprotect { start: start + PAGE, len: PAGE, protection: flags };
    world.returned(task, protect(R)).unwrap();
    let mm = world.mm(task);
    // The part inside the range keeps the old area; below and above are new, in this order.
    let split = [(mm, start + PAGE), (mm, start), (mm, start + 2 * PAGE)];
    assert_eq!(world.mappers(file), split);
    world.returned(task, protect(RW)).unwrap();
    assert_eq!(world.mappers(file), [(mm, start)]);
    assert_eq!(world.spans(task), [(start, start + 3 * PAGE)]);
}

#[test]
fn sp6_mprotect_leaves_a_dirty_shared_entry_writable() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 2, FileSystem::ext());
    let start = world.map(task, file, SHARED);
    world.touch(task, start, 1, true);
    world.touch(task, start + PAGE, 1, false);
    let all = |protection| Request::Mprotect { start, len: 2 * PAGE, protection };
    world.returned(task, all(R)).unwrap();
    assert!(!world.entry(task, start).has(Entry::WRITABLE));
    world.returned(task, all(RW)).unwrap();
    assert!(world.entry(task, start).has(Entry::WRITABLE | Entry::DIRTY), "noticed already");
    assert!(!world.entry(task, start + PAGE).has(Entry::WRITABLE), "not noticed yet");
}

#[test]
fn sp3_fork_leaves_a_file_that_nobody_wrote_to_for_the_child_to_fault_in() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 3, FileSystem::ext());
    let start = world.map(task, file, RW);
    let shared = world.map(task, file, SHARED);
    world.touch(task, shared, 1, true);
    world.touch(task, start, 1, false);
    let child = world.fork(task);
    assert_eq!(world.resident(child), Resident::default());
    assert!(world.entry(child, start).is_none() && world.entry(child, shared).is_none());
    // Once one private page was written, the area is copied with its file pages and all.
    world.store(task, start + PAGE, 9);
    let second = world.fork(task);
    assert_eq!((world.resident(second).file, world.resident(second).anon), (1, 1));
    assert_eq!(world.page(second, start), world.page(task, start));
    assert_eq!(world.load(second, start + PAGE), 9);
    assert!(!world.entry(task, start + PAGE).has(Entry::WRITABLE), "shared copy-on-write now");
}

#[test]
fn shared_anonymous_memory_is_seen_by_the_child_and_goes_with_its_last_area() {
    let mut world = World::new();
    let task = world.spawn();
    let free = world.free_frames();
    let start = world.0.mmap(task, 3 * PAGE, None, SHARED).unwrap();
    let file = world.area(task, start).file.expect("a file without a name");
    assert!(world.area(task, start).flags.contains(VmFlags::MAYSHARE));
    world.store(task, start, 1);
    let child = world.fork(task);
    world.store(child, start, 2);
    assert_eq!(world.load(task, start), 2, "the same page");
    world.store(child, start + PAGE, 3);
    assert_eq!(world.load(task, start + PAGE), 3);
    world.munmap(task, start, 3);
    assert_eq!(world.kernel().mappings[file].tree.len(), 2, "the child still maps it");
    world.run(child, Request::Exit);
    assert!(world.kernel().mappings[file].tree.is_empty());
    world.drain();
    assert_eq!(world.free_frames(), free, "nothing leaks");
}

#[test]
fn sp6_a_restricted_unmap_leaves_private_copies_and_an_unrestricted_one_does_not() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 3, FileSystem::ext());
    let start = world.map(task, file, RW);
    world.touch(task, start, 3, false);
    world.store(task, start + PAGE, 5);
    let me = crate::step::Me { call: CallId(0), task, cpu: CpuId(0), is_fine: false };
    let unmap = |world: &mut World, pages, even_copies| {
        let mut unmapping = FileUnmapping::new(file, pages, even_copies);
        let done = unmapping.advance::<Run>(world.0.kernel_mut(), me);
        assert_eq!(done, Progress::Done);
        world.sound("after unmap_mapping_range");
    };
    unmap(&mut world, 1..3, false);
    assert!(world.entry(task, start).is_present(), "outside the range");
    assert_eq!(world.load(task, start + PAGE), 5, "a private copy");
    assert!(world.entry(task, start + 2 * PAGE).is_none());
    unmap(&mut world, 0..2, true);
    assert_eq!(world.resident(task), Resident::default());
    assert_eq!(world.kernel().mappings[file].truncate_count, 2);
}

#[test]
fn sp6_unmapping_ages_a_used_page_unless_it_was_read_in_order() {
    let mut world = World::new();
    let (a, b) = (world.spawn(), world.spawn());
    let file = world.file("f", 2, FileSystem::ext());
    let at = world.0.mmap_file(a, PAGE, None, R, file, 0).unwrap();
    let sequential = R | VmFlags::SEQ_READ;
    let bt = world.0.mmap_file(b, PAGE, None, sequential, file, PAGE).unwrap();
    world.touch(a, at, 1, false);
    world.touch(b, bt, 1, false);
    let (used, read) = (world.page(a, at), world.page(b, bt));
    world.munmap(a, at, 1);
    world.munmap(b, bt, 1);
    assert!(world.has(used, PageFlags::REFERENCED));
    assert!(!world.has(read, PageFlags::REFERENCED));
}

#[test]
fn i80_fork_and_unmapping_count_the_users_of_a_swap_slot() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.0.mmap(task, 2 * PAGE, None, RW).unwrap();
    world.store(task, start, 4);
    world.drain();
    let entry = world.entry(task, start);
    let used = entry.without(Entry::ACCESSED);
    set_entry(&mut world, task, start, used);
    world.run(task, Request::SwapOut { address: start });
    let swapped: SwapEntry = world.entry(task, start).as_swap().expect("in swap");
    assert_eq!((world.resident(task).anon, world.resident(task).swap), (0, 1));
    let child = world.fork(task);
    assert_eq!(world.kernel().swaps.slot(swapped).uses, 2);
    assert_eq!(world.resident(child).swap, 1);
    assert!(world.kernel().swaps.mms.contains(&world.mm(child)));
    world.munmap(task, start, 2);
    assert_eq!(world.kernel().swaps.slot(swapped).uses, 1);
    assert_eq!(world.load(child, start), 4);
    let mm = world.mm(child);
    world.run(child, Request::Exit);
    assert!(world.kernel().swaps.slot(swapped).is_free());
    assert!(!world.kernel().swaps.mms.contains(&mm), "its number may come again");
}

/// Replaces one entry by hand.
fn set_entry(world: &mut World, task: TaskId, address: u64, entry: Entry) {
    let root = world.kernel().mms[world.mm(task)].root;
    let kernel = world.0.kernel_mut();
    let leaf = kernel.tables.find_leaf(root, address).unwrap();
    kernel.tables.set(leaf, crate::state::pagetable::leaf_index(address), entry);
}

#[test]
fn sp6_a_released_page_gives_its_swap_slot_back() {
    for cpus in [1, 2] {
        let mut world = World::with(cpus, Profile::Exact);
        let task = world.spawn();
        let start = world.0.mmap(task, PAGE, None, RW).unwrap();
        world.store(task, start, 4);
        world.drain();
        let entry = world.entry(task, start).without(Entry::ACCESSED);
        set_entry(&mut world, task, start, entry);
        world.run(task, Request::SwapOut { address: start });
        world.touch(task, start, 1, false);
        let page = world.page(task, start);
        assert!(world.has(page, PageFlags::SWAPCACHE), "read in, and the slot is kept");
        world.munmap(task, start, 1);
        let (_, cached) = world.kernel().mappings.iter().next().unwrap();
        assert!(cached.tree.is_empty(), "{cpus} CPUs");
        assert_eq!(world.kernel().swaps.free, world.kernel().swaps.total);
    }
}

#[test]
fn sp15_a_file_page_stays_locked_while_another_area_locks_it() {
    let mut world = World::new();
    let (a, b) = (world.spawn(), world.spawn());
    let file = world.file("f", 1, FileSystem::ext());
    let (at, bt) = (world.map(a, file, R), world.map(b, file, SHARED));
    let lock = |start, is_lock| Request::Mlock { start, len: PAGE, is_lock };
    world.returned(a, lock(at, true)).unwrap();
    world.returned(b, lock(bt, true)).unwrap();
    let page = world.page(a, at);
    world.returned(a, lock(at, false)).unwrap();
    assert!(world.has(page, PageFlags::MLOCKED), "found through i_mmap");
    world.munmap(b, bt, 1);
    assert!(!world.has(page, PageFlags::MLOCKED));
    world.drain();
    assert!(!world.has(page, PageFlags::UNEVICTABLE));
    assert_eq!(world.mappers(file).len(), 1);
}

#[test]
fn sp15_mlock_stops_at_the_end_of_the_file_but_the_area_stays_locked() {
    let mut world = World::new();
    let task = world.spawn();
    let file = world.file("f", 1, FileSystem::ext());
    let start = world.0.mmap_file(task, 3 * PAGE, None, R, file, 0).unwrap();
    let lock = Request::Mlock { start, len: 3 * PAGE, is_lock: true };
    assert!(world.returned(task, lock).is_err());
    assert!(world.area(task, start + 2 * PAGE).flags.contains(VmFlags::LOCKED));
    assert!(world.frame(task, start).has(PageFlags::MLOCKED));
    assert!(world.entry(task, start + PAGE).is_none());
}
