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
