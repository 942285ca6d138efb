//! Truncation: pages that go, the page that is cut, orphans, and pages that come back.

use super::*;
use crate::state::frame::Owner;
use crate::state::mapping::BufferState;

#[test]
fn pages_beyond_the_new_end_are_freed_and_the_last_one_is_cut() {
    let mut world = World::new();
    let free = world.free();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, &[9; 20 * 4096]));
    let cut = world.the_page(file, 2);
    world.step_through(truncate(file, 2 * PAGE + 1500));
    assert_eq!(world.kernel().mappings[file].tree.len(), 3);
    assert_eq!(world.counter(Counter::FileDirty), 3);
    assert_eq!(world.the_page(file, 2), cut);
    let dirty = |b: &Buffer| b.state.contains(BufferState::DIRTY);
    assert_eq!(
        world.buffers(cut).iter().map(dirty).collect::<Vec<_>>(),
        [true, true, false, false],
        "buffers that begin beyond the end need not be written"
    );
    world.machine.drain(None).unwrap();
    assert_eq!(world.free(), free - 3);
    world.run(truncate(file, 4 * PAGE));
    let bytes = bytes_of(world.run(read(file, 2 * PAGE, 2 * PAGE)));
    assert!(bytes[..1500].iter().all(|&byte| byte == 9));
    assert!(bytes[1500..].iter().all(|&byte| byte == 0), "zeroes, though nines were there once");
}

#[test]
fn what_was_on_disk_beyond_the_end_is_gone_too() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, &[9; 3 * 4096]));
    (0..3).for_each(|index| drop(world.run(writeback(file, index))));
    world.machine.advance_time(1).unwrap();
    world.run(truncate(file, PAGE + 10));
    world.run(truncate(file, 3 * PAGE));
    world.machine.drain(None).unwrap();
    (0..2).for_each(|index| assert!(is_yes(&world.run(invalidate(file, index)))));
    let bytes = bytes_of(world.run(read(file, 0, 3 * PAGE)));
    let nines = bytes.iter().take_while(|&&byte| byte == 9).count() as u64;
    assert_eq!(nines, PAGE + 10);
    assert!(bytes[nines as usize..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_page_whose_buffers_are_in_use_becomes_an_orphan() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, b"x"));
    world.machine.drain(None).unwrap();
    let page = world.the_page(file, 0);
    world.machine.hold_buffer(page, 1, false).unwrap();
    world.step_through(truncate(file, 0));
    assert_eq!(world.page(file, 0), None);
    assert_eq!(world.kernel().frames[page].owner(), Owner::None);
    assert!(world.has(page, PageFlags::PRIVATE | PageFlags::LRU));
    assert!(!world.has(page, PageFlags::DIRTY));
    assert_eq!(world.count(page), 1, "its buffers alone keep it (data-model 2.5)");
    assert!(world.buffers(page).iter().all(|b| !b.state.contains(BufferState::MAPPED)));
    assert_eq!([Counter::FilePages, Counter::FileDirty].map(|c| world.counter(c)), [0, 0]);
}

#[test]
fn a_page_under_writeback_is_left_to_the_second_pass_which_waits() {
    let mut world = World::new();
    let file = world.file(0, FileSystem { io_ticks: Some(7), ..FileSystem::ext() });
    world.run(write(file, 0, &[3; 2 * 4096]));
    world.run(writeback(file, 0));
    let page = world.the_page(file, 0);
    let call = world.start(truncate(file, 0));
    assert_eq!(world.go(call), State::Waiting(crate::step::LockId::Writeback(page)));
    assert_eq!(world.page(file, 1), None, "the first pass took the other one");
    assert_eq!(world.page(file, 0), Some(page));
    world.machine.advance_time(7).unwrap();
    assert_eq!(world.go(call), State::Done);
    assert_eq!(world.page(file, 0), None);
    let disk = &world.kernel().mappings[file].host.as_ref().unwrap().disk;
    assert!(disk.page(0).is_none(), "what was on its way to disk is beyond the end");
}

#[test]
fn a_truncated_page_of_an_unevictable_file_stays_listed_until_it_is_freed() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ramfs());
    world.run(write(file, 0, b"x"));
    world.machine.drain(None).unwrap();
    let page = world.the_page(file, 0);
    world.machine.isolate(page).unwrap().unwrap();
    world.machine.putback(page).unwrap();
    assert!(world.has(page, PageFlags::UNEVICTABLE), "a putback looks (E6)");
    let Outcome::Pinned(Ok(pinned)) = world.run(Request::Lookup { file, page: 0 }) else {
        panic!("it is there")
    };
    world.run(truncate(file, 0));
    assert!(world.has(page, PageFlags::UNEVICTABLE | PageFlags::LRU), "I-46");
    let free = world.free();
    world.run(Request::Unpin(pinned));
    assert_eq!(world.free(), free + 1);
}

#[test]
fn growing_changes_the_size_and_nothing_else() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, b"x"));
    let before = world.count(world.the_page(file, 0));
    world.step_through(truncate(file, 1 << 40));
    assert_eq!(world.kernel().mappings[file].pages_in_file(), 1 << 28);
    assert_eq!(world.count(world.the_page(file, 0)), before);
    assert_eq!(bytes_of(world.run(read(file, (1 << 40) - 1, 5))), [0]);
}
