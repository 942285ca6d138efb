//! Reclaim of pages of files, and of shmem, which go to swap.

use super::*;
use crate::state::mapping::FileSystem;

impl World {
    fn file(&mut self, kind: FileSystem) -> MappingId {
        self.machine.create_file("file".into(), 4 * PAGE_SIZE, kind).unwrap()
    }

    /// Maps the file, shared, in place of the task's memory so far.
    fn map_file(&mut self, file: MappingId) {
        let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::SHARED;
        let flags = flags | VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::MAYSHARE;
        let len = 4 * PAGE_SIZE;
        self.start = self.machine.mmap_file(self.task, len, None, flags, file, 0).unwrap();
    }

    fn file_pages(&self, file: MappingId) -> u64 {
        self.machine.kernel().mappings[file].tree.len()
    }
}

#[test]
fn a_page_of_shmem_goes_to_swap_and_comes_back_into_its_file() {
    let mut world = World::new(8, 1, 2);
    let file = world.file(FileSystem::tmpfs());
    world.map_file(file);
    world.write(1, 42);
    world.machine.drain(None).unwrap();
    assert_eq!((world.file_pages(file), world.count(Counter::Shmem)), (1, 1));
    assert!(world.swap_out(1));
    let owned = Slot { uses: 1, has_cache: false, is_shmem: true };
    assert_eq!((world.slot(1), world.entry(1).kind()), (owned, Kind::None));
    let host = world.machine.kernel().mappings[file].host.as_ref().unwrap();
    assert_eq!(host.swapped.get(&1), Some(&SwapEntry::new(0, 1)));
    assert_eq!((world.file_pages(file), world.count(Counter::Shmem), world.cached()), (0, 0, 0));
    world.holds(1, 42);
    assert_eq!((world.file_pages(file), world.count(Counter::Shmem)), (1, 1));
    assert!(world.slot(1).is_free());
}

#[test]
fn a_page_of_shmem_stays_where_there_is_no_slot() {
    let mut world = World::new(0, 1, 1);
    let file = world.file(FileSystem::tmpfs());
    world.map_file(file);
    world.write(0, 42);
    world.machine.drain(None).unwrap();
    let page = world.page(0);
    assert!(!world.swap_out(0));
    assert!(world.has(page, PageFlags::ACTIVE | PageFlags::DIRTY), "AOP_WRITEPAGE_ACTIVATE");
    assert!(!world.has(page, PageFlags::RECLAIM));
    assert_eq!((world.file_pages(file), world.entry(0).kind()), (1, Kind::None));
    world.holds(0, 42);
}

#[test]
fn a_clean_page_of_a_file_is_dropped_and_a_dirty_one_is_written_first() {
    let mut world = World::new(0, 1, 2);
    let file = world.file(FileSystem::ext());
    world.map_file(file);
    world.touch(0, false);
    world.write(1, 7);
    world.machine.drain(None).unwrap();
    assert!(world.swap_out(0));
    assert_eq!((world.file_pages(file), world.count(Counter::VmscanWrite)), (1, 0));
    assert!(world.swap_out(1));
    assert_eq!((world.file_pages(file), world.count(Counter::VmscanWrite)), (0, 1));
    assert_eq!(world.count(Counter::FileDirty), 0);
    world.holds(1, 7);
    world.holds(0, 0);
}

#[test]
fn a_page_of_a_file_is_kept_the_first_time_it_was_used_and_activated_the_second() {
    let mut world = World::new(0, 1, 2);
    let file = world.file(FileSystem::ext());
    world.map_file(file);
    world.touch(0, false);
    world.machine.drain(None).unwrap();
    let page = world.page(0);
    let scan = Request::Reclaim {
        node: world.machine.kernel().zones.node_of(page),
        pages: 4,
        is_anon: false,
    };
    for flags in [PageFlags::REFERENCED, PageFlags::REFERENCED | PageFlags::ACTIVE] {
        assert!(!world.has(page, PageFlags::ACTIVE));
        world.touch(0, false);
        world.run(scan.clone());
        assert!(world.has(page, flags | PageFlags::LRU));
    }
    assert_eq!(world.count(Counter::ActiveFile), 1);
}

#[test]
fn an_unevictable_page_is_culled() {
    let mut world = World::new(0, 1, 2);
    let file = world.file(FileSystem::ramfs());
    world.map_file(file);
    world.touch(0, false);
    world.machine.drain(None).unwrap();
    assert_eq!(world.count(Counter::InactiveFile), 1);
    assert!(!world.swap_out(0));
    assert_eq!((world.count(Counter::InactiveFile), world.count(Counter::Unevictable)), (0, 1));
}

#[test]
fn a_write_that_fails_leaves_its_mark_on_the_file() {
    use crate::state::mapping::{MappingFlags, Written};
    let mut world = World::new(0, 1, 2);
    let script = vec![Written::Activates, Written::Fails(28), Written::EndsInError];
    let file = world.file(FileSystem { write_script: script, ..FileSystem::ext() });
    world.map_file(file);
    let flags = |world: &World| world.machine.kernel().mappings[file].flags;
    world.write(0, 1);
    world.machine.drain(None).unwrap();
    let page = world.page(0);
    assert!(!world.swap_out(0));
    assert!(world.has(page, PageFlags::ACTIVE | PageFlags::DIRTY), "AOP_WRITEPAGE_ACTIVATE");
    assert!(flags(&world).is_empty());
    world.swap_out_through(page);
    assert_eq!(flags(&world), MappingFlags::ENOSPC);
    world.write(1, 2);
    world.machine.drain(None).unwrap();
    world.swap_out(1);
    assert!(flags(&world).contains(MappingFlags::EIO));
}

impl World {
    /// Maps the page again by a load and swaps it out.
    fn swap_out_through(&mut self, page: Pfn) {
        self.touch(0, false);
        assert_eq!(self.page(0), page);
        self.swap_out(0);
    }
}
