//! Pages of shmem that go to swap, and come back into their file.

use super::*;
use crate::base::SwapEntry;
use crate::filemap::PageWritten;
use crate::pagecache::tree;
use crate::step::{Me, Run};

/// A tmpfs file of one page, written and moved to swap; `settled`: and out of the swap cache.
fn swapped(world: &mut World, settled: bool) -> (MappingId, SwapEntry) {
    let file = world.file(0, FileSystem::tmpfs());
    world.run(write(file, 0, b"shared"));
    world.machine.drain(None).unwrap();
    let page = world.the_page(file, 0);
    let outcome = world.run(writeback(file, 0));
    assert!(matches!(outcome, Outcome::PageWritten(Ok(PageWritten::Started))));
    assert_eq!(world.page(file, 0), None);
    assert!(world.has(page, PageFlags::SWAPCACHE | PageFlags::WRITEBACK));
    assert_eq!([Counter::FilePages, Counter::Shmem].map(|c| world.counter(c)), [1, 0]);
    world.machine.advance_time(1).unwrap();
    if settled {
        leave_memory(world, page);
    }
    let slot = world.kernel().mappings[file].host.as_ref().unwrap().swapped[&0];
    assert_eq!((world.kernel().swaps.slot(slot).uses, settled), (1, settled));
    (file, slot)
}

/// As reclaim does: the clean page leaves the swap cache and is freed.
fn leave_memory(world: &mut World, page: Pfn) {
    let call = Me { call: CallId(0), task: world.task, cpu: CpuId(0), is_fine: false };
    let kernel = world.machine.kernel_mut();
    assert!(kernel.try_lock_page::<Run>(call, page));
    kernel.frames[page].get();
    assert!(tree::remove_mapping(kernel, page));
    kernel.unlock_page::<Run>(call, page);
    kernel.put_page(page);
    world.check();
}

#[test]
fn a_page_in_the_swap_cache_comes_back_without_a_read() {
    let mut world = World::new();
    let (file, slot) = swapped(&mut world, false);
    let page = world.kernel().mappings[MappingId::SWAPPER].tree.get(slot.neutral()).unwrap();
    assert_eq!(bytes_of(world.step_through(read(file, 0, 10))), b"shared");
    assert_eq!(world.the_page(file, 0), page);
    assert!(world.has(page, PageFlags::DIRTY) && !world.has(page, PageFlags::SWAPCACHE));
    assert!(world.kernel().swaps.slot(slot).is_free());
    assert_eq!([Counter::FilePages, Counter::Shmem].map(|c| world.counter(c)), [1, 1]);
}

#[test]
fn a_page_on_the_device_is_read_back_into_the_file() {
    let mut world = World::new();
    let free = world.free();
    let (file, slot) = swapped(&mut world, true);
    assert_eq!(world.free(), free, "nothing of it is in memory");
    assert_eq!(bytes_of(world.step_through(read(file, 0, 10))), b"shared");
    assert!(world.kernel().swaps.slot(slot).is_free());
    assert_eq!(world.counter(Counter::Shmem), 1);
    assert_eq!(world.kernel().swaps.free, 32);
}

#[test]
fn writing_a_part_of_a_swapped_page_keeps_the_rest() {
    let mut world = World::new();
    let (file, _) = swapped(&mut world, true);
    world.step_through(write(file, 2, b"_"));
    assert_eq!(bytes_of(world.run(read(file, 0, 10))), b"sh_red");
}

#[test]
fn truncation_frees_the_slots_beyond_the_end_and_cuts_the_page_at_it() {
    let mut world = World::new();
    let free = world.free();
    let (gone, _) = swapped(&mut world, true);
    world.step_through(truncate(gone, 0));
    assert_eq!(world.kernel().swaps.free, 32);
    assert!(world.kernel().mappings[gone].host.as_ref().unwrap().swapped.is_empty());
    let (cut, _) = swapped(&mut world, true);
    world.step_through(truncate(cut, 3));
    world.run(truncate(cut, 6));
    assert_eq!(bytes_of(world.run(read(cut, 0, 10))), b"sha\0\0\0");
    world.run(truncate(cut, 0));
    world.machine.drain(None).unwrap();
    assert_eq!(world.free(), free);
}

#[test]
fn two_readers_of_a_swapped_page_bring_it_back_once() {
    let mut world = World::new();
    let free = world.free();
    let (file, slot) = swapped(&mut world, true);
    let calls = [0, 1].map(|_| world.start(read(file, 0, 6)));
    for call in calls {
        world.until(call, "SP11-read");
    }
    world.machine.run_all().unwrap();
    world.check();
    for call in calls {
        assert_eq!(bytes_of(world.machine.outcome(call).unwrap()), b"shared");
    }
    assert!(world.kernel().swaps.slot(slot).is_free());
    world.machine.drain(None).unwrap();
    assert_eq!(world.free(), free - 1);
}
