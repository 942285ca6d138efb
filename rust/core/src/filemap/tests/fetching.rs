//! Getting pages into memory: by reading, by writing, by the fault method.

use super::*;
use crate::base::{Errno, NodeId};
use crate::filemap::{PageIn, PageInError};
use crate::state::frame::Owner;
use crate::state::mapping::BufferState;
use crate::state::policy::{Mode as PolicyMode, Policy};
use crate::step::{Me, Progress, Run};

/// Runs the fault method for a page, and unlocks what it brought.
fn page_in(world: &mut World, file: MappingId, index: u64) -> Result<(Pfn, bool), PageInError> {
    let me = Me { call: CallId(0), task: world.task, cpu: CpuId(0), is_fine: false };
    let kernel = world.machine.kernel_mut();
    let mut call = PageIn::new(file, index);
    assert_eq!(call.advance::<Run>(kernel, me), Progress::Done);
    assert_eq!(call.held_page(), None, "from now on it is the caller's");
    let result = call.result();
    if let Ok(paged_in) = result {
        assert!(kernel.frames[paged_in.page].has(PageFlags::LOCKED));
        kernel.unlock_page::<Run>(me, paged_in.page);
        kernel.put_page(paged_in.page);
    }
    world.check();
    result.map(|paged_in| (paged_in.page, paged_in.is_major))
}

#[test]
fn reading_brings_a_page_in_with_four_clean_buffers_and_a_place_in_the_pagevec() {
    let mut world = World::new();
    let file = world.file(3 * PAGE, FileSystem::ext());
    assert_eq!(bytes_of(world.run(read(file, 0, 10))), [0; 10]);
    let page = world.the_page(file, 0);
    assert_eq!(world.count(page), 3, "slot, buffers, pagevec (data-model 2.3)");
    assert_eq!(world.kernel().frames[page].owner(), Owner::File(file));
    let known = BufferState::MAPPED | BufferState::UPTODATE;
    assert!(world.buffers(page).iter().all(|buffer| buffer.state == known && buffer.count == 0));
    assert_eq!(world.buffers(page).iter().map(|b| b.block).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(world.waiting(ListKind::InactiveFile), [page]);
    assert_eq!(world.counter(Counter::FilePages), 1);
    assert_eq!(world.counter(Counter::Shmem), 0);
}

#[test]
fn the_second_read_of_a_page_on_its_list_makes_it_active() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem::ext());
    world.run(read(file, 0, 1));
    let page = world.the_page(file, 0);
    assert!(world.has(page, PageFlags::REFERENCED));
    world.machine.drain(None).unwrap();
    world.run(read(file, 0, 1));
    assert!(world.has(page, PageFlags::ACTIVE) && !world.has(page, PageFlags::REFERENCED));
}

#[test]
fn shmem_is_zero_filled_swap_backed_and_not_a_major_fault() {
    let mut world = World::new();
    let file = world.file(2 * PAGE, FileSystem::tmpfs());
    let (page, is_major) = page_in(&mut world, file, 1).unwrap();
    assert!(!is_major);
    assert!(world.has(page, PageFlags::SWAPBACKED | PageFlags::UPTODATE));
    assert!(!world.has(page, PageFlags::DIRTY));
    assert_eq!(world.waiting(ListKind::ActiveAnon), [page]);
    assert_eq!(world.counter(Counter::Shmem), 1);
    assert_eq!(world.kernel().io.iter().len(), 0);
}

#[test]
fn the_fault_method_reads_once_and_finds_afterwards_and_keeps_to_the_size() {
    let mut world = World::new();
    let file = world.file(PAGE + 1, FileSystem::ext());
    let (page, is_major) = page_in(&mut world, file, 1).unwrap();
    assert!(is_major);
    assert_eq!(page_in(&mut world, file, 1), Ok((page, false)));
    assert_eq!(page_in(&mut world, file, 2), Err(PageInError::BusError));
    assert_eq!(world.count(page), 3);
}

#[test]
fn a_fault_reads_a_failed_page_once_more_and_read_does_not() {
    let mut world = World::new();
    let failing = |failing_reads| FileSystem { failing_reads, ..FileSystem::ext() };
    let (one, two, three) =
        (world.file(PAGE, failing(1)), world.file(PAGE, failing(2)), world.file(PAGE, failing(1)));
    assert!(page_in(&mut world, one, 0).unwrap().1, "the second read went well");
    assert!(!world.has(world.the_page(one, 0), PageFlags::ERROR));
    assert_eq!(page_in(&mut world, two, 0), Err(PageInError::BusError));
    let page = world.the_page(two, 0);
    assert!(world.has(page, PageFlags::ERROR) && !world.has(page, PageFlags::UPTODATE));
    let outcome = world.run(read(three, 0, 1));
    assert!(matches!(outcome, Outcome::FileRead(Err(Errno::InputOutput))));
    assert_eq!(bytes_of(world.run(read(three, 0, 1))), [0], "the page is there to be read again");
}

#[test]
fn no_memory_ends_a_write_where_it_got_to_and_a_fault_at_once() {
    let mut world = World::of(&[4]);
    let file = world.file(0, FileSystem::ramfs());
    let outcome = world.run(write(file, 100, &vec![7; 5 * PAGE as usize]));
    assert!(matches!(outcome, Outcome::FileWritten(Ok(bytes)) if bytes == 4 * PAGE - 100));
    assert_eq!(world.kernel().mappings[file].host.as_ref().unwrap().size, 4 * PAGE);
    let outcome = world.run(write(file, 4 * PAGE, &[7]));
    assert!(matches!(outcome, Outcome::FileWritten(Err(Errno::NoMemory))));
    world.run(truncate(file, 9 * PAGE));
    assert_eq!(page_in(&mut world, file, 8), Err(PageInError::NoMemory));
}

#[test]
fn pages_come_from_where_the_task_wants_them_and_shmem_from_where_the_file_wants_them() {
    let mut world = World::of(&[16, 16]);
    let interleave =
        Policy { mode: PolicyMode::Interleave, nodes: NodeMask(3), ..Policy::default() };
    world.machine.set_task_policy(world.task, interleave).unwrap().unwrap();
    let ext = world.file(4 * PAGE, FileSystem::ext());
    world.run(read(ext, 2 * PAGE, 2 * PAGE));
    let node = |world: &World, file, index| {
        let page = world.the_page(file, index);
        world.kernel().zones.node_of(page)
    };
    let [first, second] = [2, 3].map(|index| node(&world, ext, index));
    assert_eq!([first, second], [NodeId(0), NodeId(1)], "by the running count, from its start");
    let shm = world.file(4 * PAGE, FileSystem::tmpfs());
    world.run(read(shm, PAGE, PAGE));
    assert_eq!(node(&world, shm, 1), NodeId(1), "by the page's index");
    let bind = Policy { mode: PolicyMode::Bind, nodes: NodeMask(1), ..Policy::default() };
    let host = world.machine.kernel_mut().mappings[shm].host.as_mut().unwrap();
    host.policies.insert(3, (4, bind));
    world.run(read(shm, 3 * PAGE, PAGE));
    assert_eq!(node(&world, shm, 3), NodeId(0), "by the shared policy");
}

#[test]
fn a_stepped_read_leaves_the_page_locked_by_the_disk_until_the_transfer_ends() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem { io_ticks: Some(5), ..FileSystem::ext() });
    let reader = world.start(read(file, 0, PAGE));
    let state = world.go(reader);
    let page = world.the_page(file, 0);
    let lock = crate::step::LockId::Page(page);
    assert_eq!(state, State::Waiting(lock));
    assert_eq!(world.machine.holder(lock, reader), Some(CallId::DISK));
    let locked = BufferState::LOCK | BufferState::ASYNC_READ;
    assert!(world.buffers(page).iter().all(|buffer| buffer.state.contains(locked)));
    world.machine.advance_time(4).unwrap();
    assert_eq!(world.go(reader), State::Waiting(lock));
    world.machine.advance_time(1).unwrap();
    assert_eq!(world.go(reader), State::Done);
    assert!(world.has(page, PageFlags::UPTODATE));
    assert!(!world.has(page, PageFlags::LOCKED));
}

#[test]
fn a_read_that_never_ends_is_ended_by_hand() {
    let mut world = World::new();
    let file = world.file(PAGE, FileSystem { io_ticks: None, ..FileSystem::ext() });
    let reader = world.start(read(file, 0, 4));
    assert!(matches!(world.go(reader), State::Waiting(_)));
    world.machine.advance_time(1_000_000).unwrap();
    assert!(matches!(world.go(reader), State::Waiting(_)));
    assert!(is_yes(&world.run(Request::CompleteIo)));
    assert_eq!(world.go(reader), State::Done);
    assert!(!is_yes(&world.run(Request::CompleteIo)), "there is nothing left to end");
}
