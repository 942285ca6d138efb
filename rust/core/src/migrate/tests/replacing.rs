//! MM, MC, BM: pages that change places in their file.

use super::*;
use crate::state::mapping::Tag;

#[test]
fn e2_a_dirty_page_with_dirty_buffers_moves_as_it_is() {
    let mut world = World::new(ext());
    let other = spawn(&mut world.machine);
    let there = world.machine.mmap_file(other, PAGE_SIZE, None, SHARED, world.file, 0).unwrap();
    world.store(other, there, b'b');
    let old = world.page();
    assert_eq!(world.counts(old), (4, 2), "cache, private, two entries");
    assert!(world.frame(old).has(PageFlags::DIRTY));
    let call = world.start(world.moving());
    world.until(call, "MM-2");
    assert_eq!(world.counts(old), (3, 0), "isolation, cache, private: what MM-4 expects");
    assert!(world.entry(other, there).as_migration().unwrap().1, "write flavour");
    world.until(call, "MM-6");
    world.until(call, "MM-9");
    assert_eq!(world.counts(old), (0, 0), "frozen (Y11)");
    world.until(call, "BM-3");
    let new = world.cached();
    assert_eq!((world.counts(old), world.counts(new)), ((2, 0), (2, 0)));
    let ring = crate::pagecache::buffers::ring_of(world.kernel(), old).unwrap();
    world.until(call, "MN-4");
    assert_eq!((world.counts(old), world.counts(new)), ((1, 0), (3, 0)), "after BM-4");
    assert_eq!(world.kernel().rings[ring].page, new, "BM-5");
    assert_eq!(world.ends(call), (Ok(()), 1));
    assert_eq!(world.counts(new), (5, 2));
    world.machine.drain(None).unwrap();
    assert_eq!(world.counts(new), (4, 2));
    for counter in [Counter::FileDirty, Counter::FilePages, Counter::FileMapped] {
        assert_eq!((world.counter(0, counter), world.counter(1, counter)), (0, 1), "{counter:?}");
    }
    assert!(world.kernel().mappings[world.file].tree.has_tag(0, Tag::Dirty), "I-67");
    let entry = world.entry(other, there);
    assert!(entry.has(Entry::WRITABLE) && !entry.has(Entry::DIRTY), "writable and clean (Q13)");
    assert!(world.frame(new).has(PageFlags::DIRTY), "I-111");
    assert_eq!(world.load(world.task, world.at), b'b');
}

#[test]
fn bm1_without_buffers_it_is_migrate_page() {
    let mut world = World::of(ext(), Profile::Exact, false);
    let page = world.page();
    let kernel = world.machine.kernel_mut();
    kernel.frames[page].set(PageFlags::LOCKED);
    assert!(crate::pagecache::buffers::try_to_free_buffers(kernel, page));
    kernel.frames[page].clear(PageFlags::LOCKED);
    assert_eq!(world.counts(page), (2, 1));
    assert_eq!(world.moves(), (Ok(()), 1));
    assert_eq!(world.cached(), world.page());
}

#[test]
fn mm4_private_2_expects_a_reference_that_nobody_has() {
    let mut world = World::new(FileSystem::tmpfs());
    let page = world.page();
    world.machine.set_page_flag(page, PageFlags::PRIVATE_2, true).unwrap();
    assert_eq!(world.moves(), (Ok(()), -11), "ten times");
    assert_eq!(world.page(), page);
    world.machine.drain(None).unwrap();
    world.machine.set_page_flag(page, PageFlags::PRIVATE_2, false).unwrap();
    assert_eq!(world.moves(), (Ok(()), 1));
    assert_eq!(world.counter(0, Counter::Shmem), 0, "MM-10");
    assert_eq!(world.counter(1, Counter::Shmem), 1);
}

/// One page that was swapped out and read back in: mapped, and still in the swap cache.
fn swapped_in(profile: Profile) -> World {
    let mut world = World::of(FileSystem::tmpfs(), profile, true);
    let flags = VmFlags::READ | VmFlags::WRITE;
    world.at = world.machine.mmap(world.task, PAGE_SIZE, None, flags).unwrap();
    world.store(world.task, world.at, b's');
    world.machine.drain(None).unwrap();
    world.run(world.task, Request::SwapOut { address: world.at });
    world.machine.advance_time(1).unwrap();
    world.run(world.task, Request::SwapOut { address: world.at });
    assert!(!world.entry(world.task, world.at).is_present(), "swapped out");
    world.touch(world.task, world.at, false);
    world.machine.drain(None).unwrap();
    world
}

#[test]
fn e3_a_page_of_the_swap_cache_leaves_its_swap_entry_and_comes_back_at_the_next_touch() {
    for (profile, drift) in [(Profile::Exact, 1), (Profile::Repaired, 0)] {
        let mut world = swapped_in(profile);
        let old = world.page();
        assert!(world.frame(old).has(PageFlags::SWAPCACHE));
        assert_eq!(world.counts(old), (2, 1));
        let shmem = [0, 1].map(|node| world.counter(node, Counter::Shmem));
        let call = world.start(world.moving());
        world.until(call, "MM-2");
        let slot = world.entry(world.task, world.at).as_swap().expect("Q12");
        assert_eq!((world.counts(old), world.kernel().swaps.slot(slot).uses), ((2, 0), 1));
        let resident = world.kernel().mms[world.kernel().tasks[world.task].mm.unwrap()].resident;
        assert_eq!((resident.anon, resident.swap), (0, 1), "I-92");
        assert_eq!(world.ends(call), (Ok(()), 1));
        let new = world.kernel().mappings[MappingId::SWAPPER].tree.get(slot.neutral()).unwrap();
        assert_eq!(world.counts(new), (2, 0), "slot, pagevec");
        assert_eq!(world.entry(world.task, world.at).as_swap(), Some(slot), "nothing maps it");
        let after = [0, 1].map(|node| world.counter(node, Counter::Shmem));
        assert_eq!(after, [shmem[0] - drift, shmem[1] + drift], "Q15");
        assert_eq!(world.kernel().ledger.iter().count() as i64, 2 * drift);
        world.touch(world.task, world.at, false);
        assert_eq!((world.page(), world.kernel().swaps.slot(slot).uses), (new, 0));
        assert_eq!(world.load(world.task, world.at), b's');
    }
}

#[test]
fn s27_what_truncation_left_loses_its_buffers_first_and_counts_as_moved() {
    for is_held in [true, false] {
        let mut world = World::new(ext());
        let page = world.page();
        world.machine.hold_buffer(page, 0, false).unwrap();
        world.run(world.task, Request::Truncate { file: world.file, size: 0 });
        world.machine.drain(None).unwrap();
        assert!(world.frame(page).is_unowned() && world.frame(page).has(PageFlags::PRIVATE));
        if !is_held {
            world.machine.release_buffer(page, 0).unwrap();
        }
        let (result, statuses, passes) = migrated(world.run(world.task, frames(&[page], true)));
        let expected = if is_held { (Ok(1), vec![-11], 10) } else { (Ok(0), vec![1], 2) };
        assert_eq!((result, statuses, passes), expected);
        if is_held {
            assert_eq!(world.counts(page), (2, 0), "private, pagevec");
            world.machine.release_buffer(page, 0).unwrap();
        }
        world.machine.drain(None).unwrap();
        world.sound();
    }
}

#[test]
fn s39_a_group_at_its_limit_ends_the_batch_and_every_page_goes_back() {
    let mut world = World::new(ext());
    let root = crate::base::MemcgId(0);
    let group = world.machine.create_memcg("box".into(), Some(2), root).unwrap();
    let poor = spawn(&mut world.machine);
    world.machine.attach_memcg(group, poor).unwrap();
    let flags = VmFlags::READ | VmFlags::WRITE;
    let start = world.machine.mmap(poor, 2 * PAGE_SIZE, None, flags).unwrap();
    let pages = Pages::Range { start, pages: 2, is_write: true };
    world.run(poor, Request::Touch(pages));
    world.machine.drain(None).unwrap();
    let before: Vec<_> = [start, start + PAGE_SIZE].map(|at| world.entry(poor, at)).into();
    let request = move_to(poor, &[start, start + PAGE_SIZE], 1);
    let call = world.start(request);
    world.finish(call);
    let outcome = world.machine.outcome(call).unwrap();
    let Outcome::Statuses(result, statuses, _) = outcome else { panic!("{outcome:?}") };
    assert_eq!((result, statuses.len()), (Err(Errno::NoMemory), 0), "UM-5");
    let after: Vec<_> = [start, start + PAGE_SIZE].map(|at| world.entry(poor, at)).into();
    assert_eq!(before, after, "no entry was touched");
    assert_eq!(world.counter(0, Counter::IsolatedAnon), 0);
    world.machine.set_memcg_limit(group, None).unwrap().unwrap();
    world.machine.drain(None).unwrap();
    world.run(poor, move_to(poor, &[start, start + PAGE_SIZE], 1));
    assert_eq!(world.kernel().memcgs[group].usage, 2, "I-103");
}
