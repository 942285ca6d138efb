//! Dirtying and writing back: flags, tags, counters, buffers, and what can go wrong.

use super::*;
use crate::base::{Errno, Misuse};
use crate::filemap::PageWritten;
use crate::state::mapping::{BufferState, MappingFlags, Write, Written};

fn written(world: &mut World, request: Request) -> Result<PageWritten, Errno> {
    match world.run(request) {
        Outcome::PageWritten(result) => result,
        other => panic!("writing back ended as {other:?}"),
    }
}

#[test]
fn a_written_page_is_dirty_then_under_writeback_then_clean_and_on_disk() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, b"hello"));
    let page = world.the_page(file, 0);
    assert!(world.has(page, PageFlags::DIRTY | PageFlags::UPTODATE));
    assert!(world.buffers(page).iter().all(|b| b.state.contains(BufferState::DIRTY)));
    assert_eq!(world.tags(file, 0), [true, false]);
    assert_eq!(world.counter(Counter::FileDirty), 1);
    assert!(world.kernel().mappings[file].host.as_ref().unwrap().is_dirty);

    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Started));
    assert!(world.has(page, PageFlags::WRITEBACK) && !world.has(page, PageFlags::DIRTY));
    let going = BufferState::LOCK | BufferState::ASYNC_WRITE;
    assert!(world.buffers(page).iter().all(|b| b.state.contains(going)));
    assert_eq!(world.tags(file, 0), [false, true]);
    let counters = [Counter::FileDirty, Counter::Writeback].map(|c| world.counter(c));
    assert_eq!(counters, [0, 1]);
    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Nothing));

    world.machine.advance_time(1).unwrap();
    world.check();
    assert!(!world.has(page, PageFlags::WRITEBACK));
    assert!(world.buffers(page).iter().all(|b| !b.state.intersects(going | BufferState::DIRTY)));
    assert_eq!(world.tags(file, 0), [false, false]);
    let disk = &world.kernel().mappings[file].host.as_ref().unwrap().disk;
    assert_eq!(&disk.page(0).unwrap()[..6], b"hello\0");
}

#[test]
fn bytes_come_back_from_disk_after_the_page_was_dropped() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, PAGE - 2, b"abcd"));
    assert!(!is_yes(&world.run(invalidate(file, 0))), "dirty pages stay");
    for index in 0..2 {
        world.run(writeback(file, index));
        world.machine.advance_time(1).unwrap();
    }
    assert!(!is_yes(&world.run(invalidate(file, 0))), "a pagevec holds it still");
    world.machine.drain(None).unwrap();
    let free = world.free();
    assert!(is_yes(&world.run(invalidate(file, 0))) && is_yes(&world.run(invalidate(file, 1))));
    assert_eq!(world.free(), free + 2);
    assert_eq!(bytes_of(world.step_through(read(file, PAGE - 3, 9))), b"\0abcd");
}

#[test]
fn a_filesystem_without_buffers_writes_the_page_as_it_is() {
    let mut world = World::new();
    let plain = FileSystem { write: Write::Page, buffer_bytes: 0, ..FileSystem::ext() };
    let file = world.file(0, plain);
    world.run(write(file, 0, b"x"));
    let page = world.the_page(file, 0);
    assert!(!world.has(page, PageFlags::PRIVATE));
    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Started));
    assert!(world.has(page, PageFlags::WRITEBACK));
    world.machine.advance_time(1).unwrap();
    assert!(!world.has(page, PageFlags::WRITEBACK));
}

#[test]
fn writepage_can_fail_refuse_or_end_in_an_error_as_scripted() {
    let script = vec![Written::Fails(28), Written::Activates, Written::EndsInError];
    let mut world = World::new();
    let file = world.file(0, FileSystem { write_script: script, ..FileSystem::ext() });
    world.run(write(file, 0, b"x"));
    let page = world.the_page(file, 0);
    assert_eq!(written(&mut world, writeback(file, 0)), Err(Errno::NoSpace));
    assert!(!world.has(page, PageFlags::DIRTY) && !world.has(page, PageFlags::LOCKED));
    let flags = |world: &World| world.kernel().mappings[file].flags;
    assert_eq!(flags(&world), MappingFlags::ENOSPC);
    world.run(write(file, 0, b"x"));
    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Activated));
    assert!(world.has(page, PageFlags::DIRTY) && !world.has(page, PageFlags::LOCKED));
    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Started));
    world.machine.advance_time(1).unwrap();
    world.check();
    assert!(world.has(page, PageFlags::ERROR));
    assert_eq!(flags(&world), MappingFlags::ENOSPC | MappingFlags::EIO);
    assert!(world.buffers(page).iter().all(|b| b.state.contains(BufferState::WRITE_EIO)));
    assert!(world.kernel().mappings[file].host.as_ref().unwrap().disk.page(0).is_none());
}

#[test]
fn a_filesystem_that_cannot_write_says_so_and_changes_nothing() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ramfs());
    world.run(write(file, 0, b"x"));
    assert_eq!(written(&mut world, writeback(file, 0)), Err(Errno::Invalid));
    assert!(world.has(world.the_page(file, 0), PageFlags::DIRTY));
    assert_eq!(world.counter(Counter::FileDirty), 0, "it is not accounted (data-model 5.1)");
}

#[test]
fn a_buffer_locked_by_somebody_else_is_left_out_and_the_page_stays_dirty() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, &[1; 4096]));
    let page = world.the_page(file, 0);
    world.machine.hold_buffer(page, 2, true).unwrap();
    world.check();
    assert!(matches!(world.machine.hold_buffer(page, 2, true), Err(Misuse::Other(_))));
    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Started));
    assert!(world.has(page, PageFlags::DIRTY | PageFlags::WRITEBACK));
    assert_eq!(world.tags(file, 0), [true, true]);
    world.machine.advance_time(1).unwrap();
    let dirty = |b: &Buffer| b.state.contains(BufferState::DIRTY);
    assert_eq!(
        world.buffers(page).iter().map(dirty).collect::<Vec<_>>(),
        [false, false, true, false]
    );
    world.machine.release_buffer(page, 2).unwrap();
    assert!(matches!(world.machine.release_buffer(page, 2), Err(Misuse::Other(_))));
    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Started));
    world.machine.advance_time(1).unwrap();
    assert!(!world.has(page, PageFlags::DIRTY));
    world.check();
}

#[test]
fn a_page_with_nothing_to_submit_is_not_under_writeback_afterwards() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, b"x"));
    let page = world.the_page(file, 0);
    (0..4).for_each(|at| world.machine.hold_buffer(page, at, true).unwrap());
    assert_eq!(written(&mut world, writeback(file, 0)), Ok(PageWritten::Started));
    assert!(world.has(page, PageFlags::DIRTY) && !world.has(page, PageFlags::WRITEBACK));
    assert_eq!(world.counter(Counter::FileDirty), 1);
}

#[test]
fn a_reclaimed_page_goes_to_its_lists_tail_when_its_writeback_ends() {
    let mut world = World::new();
    let file = world.file(0, FileSystem::ext());
    world.run(write(file, 0, &[1; 3 * 4096]));
    world.machine.drain(None).unwrap();
    let pages: Vec<Pfn> = (0..3).map(|index| world.the_page(file, index)).collect();
    let newest = pages[2];
    world.run(writeback(file, 2));
    world.machine.set_page_flag(newest, PageFlags::RECLAIM, true).unwrap();
    world.machine.advance_time(1).unwrap();
    world.check();
    assert!(!world.has(newest, PageFlags::RECLAIM));
    assert_eq!(world.kernel().lru.pagevec(CpuId(0), 5).pages(), [newest]);
    world.machine.drain(None).unwrap();
    world.check();
    let zone = world.kernel().zones.zone_of(newest);
    let list = world.kernel().lru.list(zone, ListKind::InactiveFile);
    let order: Vec<Pfn> = list.pages(&world.kernel().frames).collect();
    assert_eq!(order, [pages[1], pages[0], newest]);
}

#[test]
fn writing_a_part_reads_the_rest_and_writing_all_does_not() {
    let mut world = World::new();
    let file = world.file(4 * PAGE, FileSystem::ext());
    let reads = |world: &World| world.kernel().mappings[file].host.as_ref().unwrap().reads;
    world.step_through(write(file, PAGE, &[1; 4096]));
    assert_eq!(reads(&world), 0);
    world.step_through(write(file, 10, b"in"));
    assert_eq!(reads(&world), 1);
    world.step_through(write(file, 5 * PAGE + 10, b"beyond"));
    assert_eq!(reads(&world), 1, "there is nothing to read beyond the end");
    assert_eq!(bytes_of(world.run(read(file, 5 * PAGE + 8, 9))), b"\0\0beyond");
}

#[test]
fn impossible_files_and_sizes_are_refused_and_nothing_is_made() {
    let mut world = World::new();
    let refuse = |world: &mut World, name: &str, size, kind: FileSystem| {
        let refused = world.machine.create_file(name.into(), size, kind);
        assert!(matches!(refused, Err(Misuse::Other(_))), "{refused:?}");
    };
    let file = world.file(0, FileSystem::ext());
    let ext = FileSystem::ext;
    refuse(&mut world, "file1", 0, ext());
    refuse(&mut world, "", 0, ext());
    refuse(&mut world, "long", (1 << 51) + 1, ext());
    refuse(&mut world, "odd", 0, FileSystem { buffer_bytes: 3000, ..ext() });
    refuse(&mut world, "bare", 0, FileSystem { buffer_bytes: 0, ..ext() });
    refuse(&mut world, "swap", 0, FileSystem { is_swap_backed: false, ..FileSystem::tmpfs() });
    refuse(&mut world, "count", 0, FileSystem { accounts_dirty: true, ..FileSystem::tmpfs() });
    refuse(&mut world, "script", 0, FileSystem { write_script: vec![Written::Fails(0)], ..ext() });
    assert_eq!(world.kernel().mappings.iter().count(), 2);
    let beyond = world.run(write(file, 1 << 51, b"x"));
    assert!(matches!(beyond, Outcome::FileWritten(Err(Errno::TooBig))));
    let beyond = world.run(truncate(file, (1 << 51) + 1));
    assert!(matches!(beyond, Outcome::Returned(Err(Errno::TooBig))));
    let nobody = world.machine.run(world.task, read(MappingId(0), 0, 1));
    assert!(matches!(nobody, Err(Misuse::Other(_))), "the swap cache is no file");
}
