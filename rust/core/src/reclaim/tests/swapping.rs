//! Pages out and in, one call after the other.

use super::*;

#[test]
fn a_page_that_was_swapped_out_comes_back_with_its_bytes() {
    let mut world = World::written(8, 2, 1);
    let frames = world.machine.kernel().zones[crate::base::ZoneId(0)].free.count();
    assert!(world.swap_out(0));
    assert_eq!(world.entry(0), Entry::swap(SwapEntry::new(0, 1)));
    assert_eq!(world.slot(1), state(1, false));
    assert_eq!((world.resident(), world.cached()), ((1, 1), 0));
    assert_eq!(world.count(Counter::VmscanWrite), 1);
    assert_eq!(world.machine.kernel().zones[crate::base::ZoneId(0)].free.count(), frames + 1);
    assert_eq!(world.touch(0, false).major, 1);
    assert_eq!(world.slot(1), state(0, true), "a load leaves it in the swap cache");
    assert_eq!((world.resident(), world.cached()), ((2, 0), 1));
    world.holds(0, 1);
    world.holds(1, 2);
}

#[test]
fn a_store_to_a_page_that_comes_back_gives_its_slot_up() {
    let mut world = World::written(8, 1, 1);
    assert!(world.swap_out(0));
    assert_eq!(world.touch(0, true).major, 1);
    assert!(world.slot(1).is_free());
    assert!(world.entry(0).has(Entry::WRITABLE | Entry::DIRTY));
    assert!(world.has(world.page(0), PageFlags::DIRTY), "nothing else holds its bytes");
    world.holds(0, 1);
}

#[test]
fn a_page_stays_where_there_is_no_swap() {
    let mut world = World::written(0, 1, 1);
    let page = world.page(0);
    assert!(!world.swap_out(0));
    assert_eq!(world.page(0), page);
    assert!(world.has(page, PageFlags::ACTIVE | PageFlags::LRU), "no slot: activate");
    assert_eq!(world.count(Counter::IsolatedAnon), 0);
}

#[test]
fn the_lowest_free_slot_is_taken_first() {
    let mut world = World::written(3, 4, 1);
    assert!((0..3).all(|page| world.swap_out(page)));
    assert!(!world.swap_out(3), "all three slots are taken");
    assert_eq!(world.machine.kernel().swaps.free, 0);
    world.touch(1, true);
    assert!(world.swap_out(3));
    assert_eq!(world.entry(3), Entry::swap(SwapEntry::new(0, 2)), "that of page 1");
    (0..4).for_each(|page| world.holds(page, page as u8 + 1));
}

#[test]
fn a_full_swap_takes_the_slot_back_even_after_a_load() {
    let mut world = World::written(3, 2, 1);
    assert!(world.swap_out(0) && world.swap_out(1));
    assert!(world.machine.kernel().swaps.is_full());
    world.touch(0, false);
    assert!(!world.has(world.page(0), PageFlags::SWAPCACHE));
    assert!(world.slot(1).is_free());
}

#[test]
fn neighbouring_slots_are_read_ahead() {
    let mut world = World::written(32, 12, 2);
    assert!((0..12).all(|page| world.swap_out(page)));
    world.touch(4, true);
    assert_eq!(world.cached(), 6, "slots 1 to 7 but 5: slot 0 is the header");
    assert_eq!(world.slot(8), state(1, false), "another block");
    assert_eq!(world.count(Counter::InactiveAnon), 7, "all drained to the inactive list");
    assert_eq!(world.touch(5, false).minor, 1, "there already");
    assert_eq!(world.reclaim(32), 5, "clean pages of the swap cache are just dropped");
    assert_eq!(world.cached(), 1, "the one that is mapped and was used");
    (0..12).for_each(|page| world.holds(page, page as u8 + 1));
}

#[test]
fn readahead_passes_over_free_slots_of_its_block() {
    let mut world = World::written(32, 7, 1);
    assert!((0..7).all(|page| world.swap_out(page)));
    world.touch(2, true);
    assert!(world.slot(3).is_free());
    assert_eq!(world.reclaim(32), 6, "what was read ahead goes again");
    world.touch(5, false);
    let cached = |world: &World| (1..8).filter(|&at| world.slot(at).has_cache).collect::<Vec<_>>();
    assert_eq!(cached(&world), [1, 2, 4, 5, 6, 7]);
}

#[test]
fn a_congested_device_is_written_to_by_nobody_without_pf_swapwrite() {
    let mut world = World::written(8, 1, 1);
    world.machine.set_swap_device(Some(1), true);
    let page = world.page(0);
    assert!(!world.swap_out(0));
    assert_eq!(world.entry(0), Entry::swap(SwapEntry::new(0, 1)), "unmapped, but not written");
    assert!(world.has(page, PageFlags::SWAPCACHE | PageFlags::DIRTY | PageFlags::LRU));
    assert_eq!(world.count(Counter::VmscanWrite), 0);
    world.machine.set_swap_device(Some(1), false);
    let tally = world.touch(0, false);
    assert_eq!((tally.minor, tally.major), (1, 0));
    assert_eq!(world.page(0), page);
}

#[test]
fn a_locked_page_is_culled() {
    let mut world = World::written(8, 1, 1);
    world.run(Request::Mlock { start: world.start, len: PAGE_SIZE, is_lock: true });
    assert!(!world.swap_out(0));
    assert!(world.has(world.page(0), PageFlags::UNEVICTABLE | PageFlags::MLOCKED));
    assert_eq!(world.count(Counter::Unevictable), 1);
    assert_eq!(world.count(Counter::IsolatedAnon), 0);
}

#[test]
fn a_page_known_under_another_list_is_copied_when_it_comes_back() {
    // Q14: in an area with several links the page is re-pointed to the oldest when it is mapped.
    let mut world = World::written(8, 1, 2);
    world.task = world.fork();
    world.write(0, 9);
    world.machine.drain(None).unwrap();
    world.machine.set_swap_device(Some(1), true);
    let first = world.page(0);
    assert!(!world.swap_out(0), "congested: unmapped, but still in the swap cache");
    world.touch(0, false);
    assert_eq!(world.page(0), first, "known under the area's own list: used as it is");
    world.machine.drain(None).unwrap();
    assert!(!world.swap_out(0));
    world.touch(0, false);
    let copy = world.page(0);
    assert_ne!(copy, first, "known under the oldest list: copied");
    assert!(world.has(copy, PageFlags::DIRTY | PageFlags::UPTODATE | PageFlags::SWAPBACKED));
    assert!(!world.has(copy, PageFlags::SWAPCACHE | PageFlags::LOCKED));
    assert_eq!((world.slot(1), world.cached()), (state(0, true), 1));
    world.holds(0, 9);
}

#[test]
fn a_locked_area_takes_its_slots_back() {
    let mut world = World::written(8, 1, 2);
    assert!(world.swap_out(0));
    world.run(Request::Mlock { start: world.start, len: PAGE_SIZE, is_lock: true });
    assert!(world.slot(1).is_free());
    let page = world.page(0);
    assert!(world.has(page, PageFlags::MLOCKED | PageFlags::UNEVICTABLE | PageFlags::DIRTY));
    world.holds(0, 1);
}

#[test]
fn without_a_frame_a_page_stays_in_swap() {
    let mut world = World::new(8, 129, 1);
    world.write(0, 1);
    world.machine.drain(None).unwrap();
    assert!(world.swap_out(0));
    (1..129).for_each(|page| world.write(page, 2));
    assert!(world.touch(0, false).is_out_of_memory);
    assert_eq!(world.slot(1), state(1, false));
    assert!(world.swap_out(1));
    world.holds(0, 1);
}
