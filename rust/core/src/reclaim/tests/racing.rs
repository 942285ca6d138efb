//! Swap beside whatever else happens to a page.

use super::*;

#[test]
fn a_page_used_while_it_is_reclaimed_stays() {
    let mut world = World::written(8, 1, 1);
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP12-add-to-swap").unwrap());
    world.touch(0, false);
    world.machine.finish(call).unwrap();
    world.sound();
    assert!(matches!(world.machine.outcome(call).unwrap(), Outcome::Freed(false)));
    let page = world.page(0);
    assert!(world.has(page, PageFlags::ACTIVE | PageFlags::SWAPCACHE), "SWAP_FAIL: activate");
    assert_eq!(world.slot(1), state(0, true));
}

/// A move of one frame's page to node 1.
pub(super) fn to_node_1(page: Pfn) -> Request {
    let target = Target::Preferably(NodeId(1));
    Request::MigrateFrames { frames: vec![page], target, is_offlining: false }
}

#[test]
fn a_mapped_page_of_the_swap_cache_is_moved_and_left_unmapped() {
    // E3, Q12, Q15, I-92
    let mut world = World::written(8, 1, 1);
    assert!(world.swap_out(0));
    world.touch(0, false);
    world.machine.drain(None).unwrap();
    let old = world.page(0);
    assert_eq!(world.machine.kernel().frames[old].count(), 2);
    assert_eq!((world.slot(1), world.resident()), (state(0, true), (1, 0)));
    let Outcome::Migrated(Ok(0), statuses, _) = world.run(to_node_1(old)) else { panic!("moved") };
    assert_eq!(statuses, [1]);
    assert_eq!(
        world.entry(0),
        Entry::swap(SwapEntry::new(0, 1)),
        "a swap entry, not a migration entry"
    );
    assert_eq!((world.slot(1), world.resident()), (state(1, true), (0, 1)));
    assert_eq!(world.count(Counter::Shmem), 0, "the sum over the zones is exact");
    let tally = world.touch(0, false);
    assert_eq!((tally.minor, tally.major), (1, 0));
    assert_eq!(world.machine.kernel().zones.node_of(world.page(0)), NodeId(1));
    world.holds(0, 1);
}

#[test]
fn a_page_read_ahead_and_never_mapped_is_moved_within_the_swap_cache() {
    // S28
    let mut world = World::written(8, 2, 2);
    assert!(world.swap_out(0) && world.swap_out(1));
    world.touch(0, true);
    let at = SwapEntry::new(0, 2).neutral();
    let found = |world: &World| world.machine.kernel().mappings[MappingId::SWAPPER].tree.get(at);
    let old = found(&world).unwrap();
    assert!(world.machine.kernel().frames[old].is_unowned());
    let Outcome::Migrated(Ok(0), statuses, _) = world.run(to_node_1(old)) else { panic!("moved") };
    assert_eq!(statuses, [1]);
    let new = found(&world).unwrap();
    assert!(new != old && world.machine.kernel().frames[new].is_unowned());
    assert_eq!(world.touch(1, false).minor, 1);
    assert_eq!(world.page(1), new);
    world.holds(1, 2);
}

#[test]
fn a_page_in_the_hands_of_reclaim_cannot_be_isolated() {
    // S14, S15
    let mut world = World::written(8, 1, 1);
    let page = world.page(0);
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP12-references").unwrap());
    assert_eq!(world.count(Counter::IsolatedAnon), 1);
    assert_eq!(world.machine.isolate(page).unwrap(), Err(Errno::Busy));
    world.machine.finish(call).unwrap();
    world.sound();
    assert_eq!(world.count(Counter::IsolatedAnon), 0);
    assert_eq!(world.entry(0).kind(), Kind::Swap);
}

#[test]
fn a_swap_fault_beside_a_migration_ends_on_the_page_that_is_there() {
    // S29
    for head_start in 0..40 {
        let mut world = World::written(8, 1, 2);
        assert!(world.swap_out(0));
        world.touch(0, false);
        world.machine.drain(None).unwrap();
        let old = world.page(0);
        let mover = world.start(to_node_1(old));
        for _ in 0..head_start {
            if !world.machine.flight(mover).unwrap().is_done() {
                world.machine.step(mover).unwrap();
                world.sound();
            }
        }
        let fault = world.start(Request::Read { address: world.start, size: ONE_PAGE });
        world.run_audited(&[fault, mover]);
        let Outcome::Accessed(_, data) = world.machine.outcome(fault).unwrap() else { panic!() };
        assert_eq!(data, vec![1; ONE_PAGE], "after {head_start} steps");
        world.machine.forget(mover).unwrap();
        world.machine.forget(fault).unwrap();
        world.holds(0, 1);
    }
}

#[test]
fn every_step_of_a_swap_out_and_of_a_fault_beside_it_is_sound() {
    for head_start in 0..24 {
        let mut world = World::written(8, 2, 2);
        let out = world.start(Request::SwapOut { address: world.start });
        for _ in 0..head_start {
            if !world.machine.flight(out).unwrap().is_done() {
                if !world.machine.step(out).unwrap() {
                    world.machine.advance_time(1).unwrap();
                }
                world.sound();
            }
        }
        let read = Request::Read { address: world.start, size: ONE_PAGE };
        let fault = world.start(read);
        world.run_audited(&[fault, out]);
        let Outcome::Accessed(tally, data) = world.machine.outcome(fault).unwrap() else {
            panic!("an access")
        };
        assert_eq!(data, vec![1; ONE_PAGE], "after {head_start} steps");
        assert!(tally.sigbus.is_empty());
        for call in [out, fault] {
            world.machine.forget(call).unwrap();
        }
        world.sound();
        world.holds(0, 1);
        world.holds(1, 2);
    }
}

#[test]
fn a_write_that_never_ends_keeps_the_page() {
    let mut world = World::written(8, 1, 1);
    world.machine.set_swap_device(None, false);
    let request = Request::SwapOut { address: world.start };
    assert!(world.machine.run(world.task, request.clone()).is_err(), "it would wait for ever");
    assert_eq!(world.slot(1), state(0, false), "and nothing has changed");
    let call = world.start(request);
    assert!(world.machine.finish(call).is_err());
    world.sound();
    assert_eq!(world.machine.flight(call).unwrap().at(), "SP12-wait");
    assert_eq!(world.slot(1), state(1, true));
}

#[test]
fn a_page_enters_the_swap_cache_dirty_by_the_bare_flag() {
    // I-66: no tag; the write clears the flag, and no store was needed to set it.
    let mut world = World::written(8, 1, 2);
    let page = world.page(0);
    assert!(!world.has(page, PageFlags::DIRTY), "the entry is dirty, not the page");
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP5-walk").unwrap());
    assert!(world.has(page, PageFlags::DIRTY | PageFlags::SWAPCACHE));
    let index = &world.machine.kernel().mappings[MappingId::SWAPPER].tree;
    assert!(!index.is_tagged(crate::state::mapping::Tag::Dirty));
    world.machine.finish(call).unwrap();
    world.sound();
}

#[test]
fn a_page_that_somebody_holds_is_unmapped_but_not_written() {
    let mut world = World::written(8, 1, 2);
    let Outcome::Pinned(Ok(page)) =
        world.run(Request::Pin { address: world.start, is_write: false })
    else {
        panic!("a pin")
    };
    assert!(!world.swap_out(0));
    assert_eq!(world.count(Counter::VmscanWrite), 0);
    assert!(world.has(page, PageFlags::DIRTY | PageFlags::SWAPCACHE | PageFlags::LRU));
    assert_eq!(world.entry(0), Entry::swap(SwapEntry::new(0, 1)));
    world.run(Request::Unpin(page));
    world.holds(0, 1);
}

#[test]
fn a_page_dirtied_at_the_last_moment_stays() {
    let mut world = World::written(8, 1, 2);
    let page = world.page(0);
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP12-wait").unwrap());
    world.machine.advance_time(1).unwrap();
    assert!(world.machine.run_until(call, "SP12-freeze").unwrap());
    world.machine.kernel_mut().frames[page].set(PageFlags::DIRTY);
    world.machine.finish(call).unwrap();
    world.sound();
    assert!(matches!(world.machine.outcome(call).unwrap(), Outcome::Freed(false)));
    assert!(world.has(page, PageFlags::DIRTY | PageFlags::SWAPCACHE));
    assert_eq!(world.machine.kernel().frames[page].count(), 1, "the freeze was taken back");
}

#[test]
fn a_frozen_page_is_looked_for_until_it_is_gone() {
    // I-11, S03 for reclaim
    let mut world = World::written(8, 1, 2);
    let page = world.page(0);
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP12-wait").unwrap());
    world.machine.advance_time(1).unwrap();
    assert!(world.machine.run_until(call, "SP12-remove").unwrap());
    world.sound();
    assert_eq!(world.machine.kernel().frames[page].count(), 0);
    let fault = world.start(Request::Read { address: world.start, size: ONE_PAGE });
    for _ in 0..8 {
        world.machine.step(fault).unwrap();
        world.sound();
    }
    assert!(!world.machine.flight(fault).unwrap().is_done(), "the page is there, and is not");
    world.run_audited(&[call, fault]);
    let Outcome::Accessed(tally, data) = world.machine.outcome(fault).unwrap() else { panic!() };
    assert_eq!((tally.major, data), (1, vec![1; ONE_PAGE]));
}

#[test]
fn a_store_to_a_page_under_writeback_leaves_it_in_the_swap_cache() {
    let mut world = World::written(8, 1, 2);
    let page = world.page(0);
    world.machine.set_swap_device(None, false);
    let call = world.start(Request::SwapOut { address: world.start });
    assert!(world.machine.run_until(call, "SP12-wait").unwrap());
    assert_eq!(world.touch(0, true).minor, 1);
    assert_eq!((world.page(0), world.slot(1)), (page, state(0, true)));
    assert!(world.entry(0).has(Entry::WRITABLE | Entry::DIRTY), "it is the only user's");
    world.write(0, 5);
    world.run(Request::CompleteIo);
    world.machine.finish(call).unwrap();
    world.sound();
    assert!(matches!(world.machine.outcome(call).unwrap(), Outcome::Freed(false)), "in use again");
    world.holds(0, 5);
}

#[test]
fn two_threads_that_fault_at_once_map_the_page_once() {
    for head_start in 0..12 {
        let mut world = World::written(8, 1, 2);
        assert!(world.swap_out(0));
        let read = Request::Read { address: world.start, size: ONE_PAGE };
        let (first, second) = (world.start(read.clone()), world.start(read));
        for _ in 0..head_start {
            if !world.machine.step(first).unwrap() {
                world.machine.advance_time(1).unwrap();
            }
            world.sound();
        }
        world.run_audited(&[second, first]);
        let mut majors = 0;
        for call in [first, second] {
            let Outcome::Accessed(tally, data) = world.machine.outcome(call).unwrap() else {
                panic!("an access")
            };
            assert_eq!(data, vec![1; ONE_PAGE], "after {head_start} steps");
            majors += tally.major;
        }
        assert!((1..=2).contains(&majors), "who had to read had a major fault");
        assert_eq!((world.resident(), world.slot(1)), ((1, 0), state(0, true)));
    }
}

#[test]
fn a_slot_that_is_given_up_while_its_block_is_read_is_passed_over() {
    let mut world = World::written(8, 1, 2);
    let parent = world.task;
    let child = world.fork();
    world.write(0, 1);
    world.machine.drain(None).unwrap();
    assert!(world.swap_out(0));
    world.task = child;
    world.write(0, 2);
    world.machine.drain(None).unwrap();
    assert!(world.swap_out(0));
    assert_eq!((world.slot(1).uses, world.slot(2).uses), (1, 1));
    world.task = parent;
    let fault = world.start(Request::Read { address: world.start, size: ONE_PAGE });
    while !world.slot(1).has_cache {
        assert!(world.machine.step(fault).unwrap());
    }
    world.task = child;
    world.run(Request::Munmap { start: world.start, len: PAGE_SIZE });
    assert!(world.slot(2).is_free());
    world.run_audited(&[fault]);
    assert!(world.slot(2).is_free());
    let Outcome::Accessed(_, data) = world.machine.outcome(fault).unwrap() else { panic!() };
    assert_eq!(data, vec![1; ONE_PAGE]);
}

#[test]
fn a_scan_starts_a_write_and_a_later_one_frees_the_page() {
    let mut world = World::written(8, 1, 2);
    let page = world.page(0);
    world.machine.set_swap_device(Some(5), true);
    assert!(!world.swap_out(0), "unmapped, dirty, at the head of the inactive list");
    world.machine.set_swap_device(Some(5), false);
    assert_eq!(world.reclaim(32), 0);
    assert!(world.has(page, PageFlags::WRITEBACK | PageFlags::RECLAIM | PageFlags::LRU));
    assert_eq!(world.reclaim(32), 0, "under writeback: kept");
    world.machine.advance_time(5).unwrap();
    world.sound();
    assert!(!world.has(page, PageFlags::RECLAIM));
    assert_eq!(world.machine.kernel().lru.pagevec(CpuId(0), 5).pages(), [page], "to the tail");
    assert_eq!(world.reclaim(32), 1, "the drain at its start has let the page go");
    world.holds(0, 1);
}

#[test]
fn a_dirty_page_that_was_referenced_waits_for_the_next_scan() {
    let mut world = World::written(8, 1, 2);
    let page = world.page(0);
    world.machine.set_swap_device(Some(1), true);
    assert!(!world.swap_out(0), "unmapped, dirty, at the head of the inactive list");
    world.machine.set_swap_device(Some(1), false);
    world.machine.set_page_flag(page, PageFlags::REFERENCED, true).unwrap();
    assert_eq!(world.reclaim(32), 0);
    assert!(!world.has(page, PageFlags::WRITEBACK) && !world.has(page, PageFlags::REFERENCED));
    assert_eq!(world.reclaim(32), 0);
    assert!(world.has(page, PageFlags::WRITEBACK), "this time it is written");
}
