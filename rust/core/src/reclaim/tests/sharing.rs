//! Pages in swap that several address spaces, groups or nobody at all have.

use super::racing::to_node_1;
use super::*;
use crate::base::MemcgId;

#[test]
fn a_child_shares_what_is_in_swap_and_each_gets_its_own_when_it_writes() {
    let mut world = World::written(8, 2, 2);
    let parent = world.task;
    assert!(world.swap_out(0) && world.swap_out(1));
    let child = world.fork();
    assert_eq!((world.slot(1).uses, world.slot(2).uses), (2, 2));
    world.task = child;
    assert_eq!(world.resident(), (0, 2));
    let tally = world.touch(0, true);
    assert_eq!((tally.major, tally.minor, tally.copy_on_write), (1, 0, 0), "read, then copied");
    world.write(0, 77);
    world.holds(1, 2);
    world.task = parent;
    world.holds(0, 1);
    world.holds(1, 2);
    world.write(1, 88);
    world.task = child;
    world.holds(0, 77);
    world.holds(1, 2);
}

#[test]
fn a_page_mapped_twice_is_swapped_out_for_both() {
    let mut world = World::written(8, 1, 2);
    let parent = world.task;
    let child = world.fork();
    assert!(world.swap_out(0));
    assert_eq!(world.slot(1), state(2, false));
    for task in [child, parent] {
        world.task = task;
        assert_eq!(world.resident(), (0, 1));
        world.holds(0, 1);
    }
    assert_eq!(world.slot(1), state(0, true), "both map it, and it is in the swap cache still");
}

#[test]
fn what_is_unmapped_gives_its_slot_back() {
    let mut world = World::written(8, 3, 2);
    assert!(world.swap_out(0) && world.swap_out(1) && world.swap_out(2));
    world.touch(0, false);
    world.machine.drain(None).unwrap();
    assert_eq!(world.slot(2), state(1, true), "read ahead");
    world.run(Request::Munmap { start: world.start, len: 3 * PAGE_SIZE });
    world.machine.drain(None).unwrap();
    world.sound();
    assert_eq!(world.machine.kernel().swaps.free, 8);
    assert_eq!((world.cached(), world.resident()), (0, (0, 0)));
    assert_eq!(world.count(Counter::InactiveAnon) + world.count(Counter::ActiveAnon), 0);
}

#[test]
fn a_page_whose_last_entry_goes_while_it_is_moved_stays_until_it_is_reclaimed() {
    // S30, S46, Q26
    let mut world = World::written(8, 1, 2);
    world.machine.set_swap_device(Some(1), true);
    let page = world.page(0);
    assert!(!world.swap_out(0), "in the swap cache, unmapped, not written");
    let mover = world.machine.start(crate::machine::KERNEL_TASK, to_node_1(page), true).unwrap();
    assert!(world.machine.run_until(mover, "UM-9").unwrap());
    world.run(Request::Exit);
    assert_eq!(world.slot(1), state(0, true), "its lock could not be had");
    world.machine.finish(mover).unwrap();
    world.sound();
    let Outcome::Migrated(Ok(0), statuses, _) = world.machine.outcome(mover).unwrap() else {
        panic!("moved")
    };
    assert_eq!((statuses, world.cached()), (vec![1], 1));
    world.machine.forget(mover).unwrap();
    world.machine.drain(None).unwrap();
    let reclaim = |node| Request::Reclaim { node: NodeId(node), pages: 32, is_anon: true };
    world.task = crate::machine::KERNEL_TASK;
    world.machine.set_swap_device(Some(1), false);
    world.run(reclaim(1));
    assert_eq!(world.cached(), 0, "swap-out found that nobody needs the slot");
    assert_eq!(world.machine.kernel().swaps.free, 8);
}

#[test]
fn a_group_pays_for_pages_in_memory_and_not_for_those_in_swap() {
    let mut world = World::new(8, 2, 1);
    let group = world.machine.create_memcg("g".into(), Some(2), MemcgId::ROOT).unwrap();
    world.machine.attach_memcg(group, world.task).unwrap();
    let usage = |world: &World| world.machine.kernel().memcgs[group].usage;
    world.write(0, 1);
    world.write(1, 2);
    assert_eq!(usage(&world), 2);
    assert!(world.swap_out(0));
    assert_eq!(usage(&world), 1);
    world.touch(0, false);
    assert_eq!(usage(&world), 2);
    assert!(world.swap_out(1));
    world.machine.set_memcg_limit(group, Some(1)).unwrap().unwrap();
    assert!(world.touch(1, false).is_out_of_memory, "the group is at its limit");
    assert_eq!((usage(&world), world.entry(1).kind()), (1, Kind::Swap));
    world.holds(0, 1);
}

#[test]
fn the_last_swap_entry_leaves_a_mapped_page_in_the_cache_unless_swap_is_full() {
    for (slots, stays) in [(8, true), (1, false)] {
        let mut world = World::written(slots, 1, 2);
        let parent = world.task;
        assert!(world.swap_out(0));
        let child = world.fork();
        world.touch(0, false);
        assert_eq!(world.slot(1), state(1, true), "one maps it, the other has it in swap");
        let page = world.page(0);
        world.task = child;
        world.run(Request::Munmap { start: world.start, len: PAGE_SIZE });
        world.task = parent;
        assert_eq!(world.has(page, PageFlags::SWAPCACHE), stays);
        assert_eq!(world.slot(1), state(0, stays));
        world.holds(0, 1);
    }
}
