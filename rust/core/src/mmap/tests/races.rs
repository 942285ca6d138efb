//! Address spaces changing while pages of theirs are on the move (concurrency 4).

use super::*;
use crate::base::NodeId;
use crate::migrate::target::Target;
use crate::step::LockId;

/// Begins to move a page to node 1, without any `mmap_sem`.
fn migrate(world: &mut World, page: Pfn) -> CallId {
    let target = Target::Preferably(NodeId(1));
    let request = Request::MigrateFrames { frames: vec![page], target, is_offlining: false };
    world.start(crate::machine::KERNEL_TASK, request)
}

/// Steps a migration until its entries are in place and the walk over them is through.
fn until_unmapped(world: &mut World, migrator: CallId, page: Pfn) {
    let is_walking = |world: &World| {
        let mut held = world.kernel().locks.held_by(migrator);
        held.any(|lock| matches!(lock, LockId::AnonVma(_) | LockId::FileMap(_)))
    };
    while world.kernel().frames[page].is_mapped() || is_walking(world) {
        assert!(world.step(migrator), "alone in there");
    }
}

/// A shared file page mapped by one task: (world, task, file, address, page).
fn shared_page(profile: Profile) -> (World, TaskId, MappingId, u64, Pfn) {
    let mut world = World::with(2, profile);
    let task = world.spawn();
    let file = world.file("f", 2, FileSystem::ext());
    let start = world.map(task, file, SHARED);
    world.store(task, start, 9);
    world.drain();
    let page = world.page(task, start);
    (world, task, file, start, page)
}

#[test]
fn s18_unmapping_a_file_page_on_the_move_leaks_a_file_page_of_the_counter() {
    for profile in [Profile::Exact, Profile::Repaired] {
        let (mut world, task, file, start, page) = shared_page(profile);
        let migrator = migrate(&mut world, page);
        until_unmapped(&mut world, migrator, page);
        assert!(world.entry(task, start).as_migration().is_some());
        world.munmap(task, start, 2);
        world.finish(migrator);
        let leak = i64::from(profile == Profile::Exact);
        assert_eq!((world.resident(task).file, world.resident(task).anon), (leak, 0), "Q16");
        assert_eq!(world.kernel().mms[world.mm(task)].file_drift, leak);
        let moved = world.kernel().mappings[file].tree.get(0).unwrap();
        assert_ne!(moved, page);
        assert_eq!(world.kernel().frames[moved].mapcount(), 0);
    }
}

#[test]
fn s18_a_page_that_has_lost_its_identity_already_is_counted_as_what_it_was() {
    let (mut world, task, _, start, page) = shared_page(Profile::Exact);
    let migrator = migrate(&mut world, page);
    // After MC-9 the old page belongs to nothing, and its entries are still there.
    while !world.kernel().frames[page].is_unowned() {
        assert!(world.step(migrator));
    }
    assert!(world.entry(task, start).as_migration().is_some());
    world.munmap(task, start, 2);
    world.finish(migrator);
    let mm = &world.kernel().mms[world.mm(task)];
    assert_eq!((mm.file_drift, mm.anon_drift), (1, 0));
}

#[test]
fn s19_the_other_mapping_comes_back() {
    let (mut world, task, file, start, page) = shared_page(Profile::Exact);
    let other = world.spawn();
    let there = world.map(other, file, SHARED);
    world.touch(other, there, 1, false);
    let migrator = migrate(&mut world, page);
    until_unmapped(&mut world, migrator, page);
    world.munmap(task, start, 2);
    world.finish(migrator);
    assert_eq!(world.frame(other, there).mapcount(), 1);
    assert_eq!(world.load(other, there), 9);
    assert_eq!(world.resident(task).file, 1, "Q16");
}

#[test]
fn s20_a_child_made_meanwhile_misses_a_page_of_a_private_file_mapping() {
    for profile in [Profile::Exact, Profile::Repaired] {
        let mut world = World::with(2, profile);
        let task = world.spawn();
        let file = world.file("f", 2, FileSystem::ext());
        let start = world.map(task, file, RW);
        world.touch(task, start, 1, false);
        world.store(task, start + PAGE, 4);
        world.drain();
        let page = world.page(task, start);
        let migrator = migrate(&mut world, page);
        until_unmapped(&mut world, migrator, page);
        let child = world.fork(task);
        assert!(world.entry(child, start).as_migration().is_some());
        world.finish(migrator);
        assert_eq!(world.frame(child, start).mapcount(), 2, "both found");
        let missing = i64::from(profile == Profile::Exact);
        assert_eq!(world.resident(child).file, 1 - missing);
        assert_eq!(world.kernel().mms[world.mm(child)].file_drift, -missing);
    }
}

#[test]
fn s21_a_fork_waits_for_a_walk_over_the_file() {
    let (mut world, task, file, start, page) = shared_page(Profile::Exact);
    let migrator = migrate(&mut world, page);
    while world.kernel().locks.holders(LockId::FileMap(file)).is_empty() {
        assert!(world.step(migrator));
    }
    let fork = world.start(task, Request::Fork { name: "child".into() });
    while world.step(fork) {}
    assert_eq!(
        world.0.flight(fork).unwrap().state(),
        crate::machine::State::Waiting(LockId::FileMap(file))
    );
    world.finish(migrator);
    world.finish(fork);
    assert_eq!(world.mappers(file).len(), 2);
    assert_eq!(world.load(task, start), 9);
}

#[test]
fn s22_q27_a_shared_page_comes_back_read_only_after_mprotect_and_the_next_store_is_noticed() {
    let (mut world, task, _, start, page) = shared_page(Profile::Exact);
    let migrator = migrate(&mut world, page);
    until_unmapped(&mut world, migrator, page);
    assert!(world.entry(task, start).as_migration().unwrap().1, "the write flavour");
    let protect = |protection| Request::Mprotect { start, len: PAGE, protection };
    world.returned(task, protect(R)).unwrap();
    world.returned(task, protect(RW)).unwrap();
    assert!(!world.entry(task, start).as_migration().unwrap().1, "downgraded always");
    world.finish(migrator);
    assert!(!world.entry(task, start).has(Entry::WRITABLE));
    assert_eq!(world.store(task, start, 1).copy_on_write, 1);
}

#[test]
fn s25_truncation_takes_the_entries_away_and_then_the_new_page() {
    let (mut world, task, file, start, page) = shared_page(Profile::Exact);
    let cutter = world.spawn();
    let migrator = migrate(&mut world, page);
    while !world.kernel().frames[page].is_unowned() {
        assert!(world.step(migrator));
    }
    let cut = world.start(cutter, Request::Truncate { file, size: 0 });
    while world.step(cut) {}
    assert!(world.entry(task, start).is_none(), "cleared before it waits for the new page");
    world.finish(migrator);
    world.finish(cut);
    assert!(world.kernel().mappings[file].tree.is_empty());
    assert_eq!(world.kernel().mms[world.mm(task)].file_drift, 1, "one too high per entry");
}

#[test]
fn s37_a_page_locked_on_its_way_is_unevictable_when_it_arrives() {
    let (mut world, task, _, start, page) = shared_page(Profile::Exact);
    let migrator = migrate(&mut world, page);
    while !world.kernel().frames[page].is_unowned() {
        assert!(world.step(migrator));
    }
    let mlock = world.start(task, Request::Mlock { start, len: PAGE, is_lock: true });
    while world.step(mlock) {}
    // The lock call waits for the page; the migration for nobody.
    world.finish(migrator);
    world.finish(mlock);
    let after = world.page(task, start);
    assert_ne!(after, page);
    assert!(world.has(after, PageFlags::MLOCKED));
}

#[test]
fn s38_munlock_passes_over_an_entry_and_the_page_stays_unevictable() {
    let (mut world, task, _, start, page) = shared_page(Profile::Exact);
    world.returned(task, Request::Mlock { start, len: PAGE, is_lock: true }).unwrap();
    let migrator = migrate(&mut world, page);
    until_unmapped(&mut world, migrator, page);
    world.returned(task, Request::Mlock { start, len: PAGE, is_lock: false }).unwrap();
    world.finish(migrator);
    let after = world.page(task, start);
    assert!(world.has(after, PageFlags::MLOCKED | PageFlags::UNEVICTABLE), "legal");
    world.munmap(task, start, 1);
}

/// Steps a call until it must wait, whatever the rules say of the machine.
fn run_on(world: &mut World, call: CallId) {
    while !world.is_done(call) && world.0.step(call).unwrap() {}
}

/// An anonymous page at 16 MiB whose migration entry `mremap` is about to carry, or just carries.
fn carried(profile: Profile) -> (World, TaskId, CallId, CallId, u64, Pfn) {
    let mut world = World::with(2, profile);
    let task = world.spawn();
    let start = world.0.mmap(task, PAGE, Some(0x100_0000), RW).unwrap();
    world.store(task, start, 9);
    world.drain();
    let page = world.page(task, start);
    let migrator = migrate(&mut world, page);
    until_unmapped(&mut world, migrator, page);
    let to = 0x300_0000;
    let mremap = Request::Mremap { start, len: PAGE, new_len: PAGE, to: Some(to) };
    let mover = world.start(task, mremap);
    world.until(mover, "SP6-carry");
    (world, task, migrator, mover, to, page)
}

#[test]
fn s34_q21_an_entry_carried_past_the_walk_is_stranded() {
    let (mut world, task, migrator, mover, to, page) = carried(Profile::Exact);
    // Both peeks of the walk fall into the instant in which the entry is in neither table.
    run_on(&mut world, migrator);
    run_on(&mut world, mover);
    assert!(world.is_done(migrator) && world.is_done(mover));
    assert_eq!(world.entry(task, to).as_migration().map(|(named, _)| named), Some(page));
    let rules: Vec<&str> = world.0.audit().into_iter().map(|finding| finding.rule).collect();
    assert!(rules.contains(&"migration_entries_have_a_migrator"), "I-20 and I-21: {rules:?}");
}

#[test]
fn s34_repaired_keeps_the_walk_out_while_an_entry_is_carried() {
    let (mut world, task, migrator, mover, to, page) = carried(Profile::Repaired);
    while world.step(migrator) {}
    let waits = world.0.flight(migrator).unwrap().state();
    assert!(matches!(waits, crate::machine::State::Waiting(LockId::AnonVma(_))), "{waits:?}");
    world.finish(mover);
    world.finish(migrator);
    assert_ne!(world.page(task, to), page);
    assert_eq!(world.load(task, to), 9);
}

#[test]
fn s34_a_page_of_a_file_is_safe_because_the_move_holds_the_lock_of_the_file() {
    let (mut world, task, file, start, page) = shared_page(Profile::Exact);
    let migrator = migrate(&mut world, page);
    until_unmapped(&mut world, migrator, page);
    let to = start + 0x1000_0000;
    let mremap = Request::Mremap { start, len: 2 * PAGE, new_len: 2 * PAGE, to: Some(to) };
    let mover = world.start(task, mremap);
    world.until(mover, "SP6-carry");
    while world.step(migrator) {}
    let waits = world.0.flight(migrator).unwrap().state();
    assert_eq!(waits, crate::machine::State::Waiting(LockId::FileMap(file)));
    world.finish(mover);
    world.finish(migrator);
    assert_eq!(world.load(task, to), 9);
    assert_eq!(world.resident(task).file, 1);
}

#[test]
fn s34_merged_into_an_area_before_the_source_the_whole_walk_is_the_window() {
    let mut world = World::new();
    let task = world.spawn();
    let start = world.0.mmap(task, 2 * PAGE, Some(0x100_0000), RW).unwrap();
    world.store(task, start, 1);
    world.store(task, start + PAGE, 2);
    let far = 0x300_0000;
    let request =
        |from, to| Request::Mremap { start: from, len: PAGE, new_len: PAGE, to: Some(to) };
    world.run(task, request(start + PAGE, far));
    world.drain();
    let page = world.page(task, far);
    let migrator = migrate(&mut world, page);
    until_unmapped(&mut world, migrator, page);
    let mover = world.start(task, request(far, start + PAGE));
    world.until(mover, "SP6-move");
    // The walk has looked at the area that the range is one with now, but not at its source.
    let list = LockId::AnonVma(world.area(task, start).anon_vma.unwrap());
    while world.kernel().locks.holders(list).is_empty() {
        assert!(world.step(migrator));
    }
    assert!(world.step(migrator));
    run_on(&mut world, mover);
    run_on(&mut world, migrator);
    run_on(&mut world, mover);
    assert!(world.is_done(migrator) && world.is_done(mover));
    assert!(world.entry(task, start + PAGE).as_migration().is_some(), "stranded");
}

#[test]
fn a_file_cannot_be_mapped_in_the_middle_of_a_walk_over_it() {
    let (mut world, task, file, _, page) = shared_page(Profile::Exact);
    let migrator = migrate(&mut world, page);
    while world.kernel().locks.holders(LockId::FileMap(file)).is_empty() {
        assert!(world.step(migrator));
    }
    let refused = world.0.mmap_file(task, PAGE, None, R, file, 0);
    assert!(matches!(refused, Err(crate::base::Misuse::WouldWait { .. })), "{refused:?}");
    world.finish(migrator);
    assert!(world.0.mmap_file(task, PAGE, None, R, file, 0).is_ok());
}
