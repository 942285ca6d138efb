//! Random operations of several processes on shared files, every one of them audited.

use super::*;
use crate::base::NodeId;
use crate::migrate::target::Target;
use crate::mmap::Advice;

/// The same numbers on every host.
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn roll(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Where the areas of a storm lie: 10 pages that all processes use alike.
const BASE: u64 = 0x100_0000;
const PAGES: u64 = 10;

fn place(dice: &mut Dice) -> (u64, u64) {
    let first = dice.roll(PAGES);
    (BASE + first * PAGE, 1 + dice.roll((PAGES - first).min(6)))
}

fn random_request(dice: &mut Dice, files: &[MappingId]) -> Request {
    let (start, pages) = place(dice);
    let len = pages * PAGE;
    let file = files[dice.roll(files.len() as u64) as usize];
    let advice = [Advice::DontNeed, Advice::Mergeable, Advice::Unmergeable, Advice::DontFork];
    match dice.roll(20) {
        0..=6 => {
            let is_write = dice.roll(2) == 0;
            Request::Touch(Pages::Range { start, pages: pages as usize, is_write })
        }
        7 => Request::Munmap { start, len },
        8 | 9 => {
            let protection = [R, RW][dice.roll(2) as usize];
            Request::Mprotect { start, len, protection }
        }
        10 | 11 => {
            let (to, new_pages) = place(dice);
            let new_len = new_pages * PAGE;
            Request::Mremap { start, len, new_len, to: Some(to) }
        }
        12 => Request::Madvise { start, len, advice: advice[dice.roll(4) as usize] },
        13 => Request::Mlock { start, len, is_lock: dice.roll(2) == 0 },
        14 => Request::Truncate { file, size: dice.roll(8) * PAGE / 2 },
        15 => Request::SwapOut { address: start },
        16 => Request::KsmScan,
        17 => Request::Drain,
        18 => Request::ReadFile { file, offset: dice.roll(4) * PAGE, size: PAGE },
        _ => Request::WriteFile { file, offset: dice.roll(4) * PAGE, size: PAGE, data: None },
    }
}

fn storm(seed: u64, rounds: u32, profile: Profile) {
    let mut world = World::with(1 + (seed % 2) as usize, profile);
    let mut dice = Dice(seed);
    let mut tasks = vec![world.spawn()];
    let kinds = [FileSystem::ext(), FileSystem::tmpfs(), noticing()];
    let files: Vec<MappingId> = kinds
        .into_iter()
        .enumerate()
        .map(|(at, kind)| world.file(&format!("{at}"), 4, kind))
        .collect();
    for _ in 0..rounds {
        let at = dice.roll(tasks.len() as u64) as usize;
        let task = tasks[at];
        match dice.roll(8) {
            0 if tasks.len() < 4 => {
                let child = world.fork(task);
                tasks.push(child);
            }
            1 if tasks.len() > 1 && dice.roll(4) == 0 => {
                world.run(task, Request::Exit);
                tasks.remove(at);
            }
            2 | 3 => map_somewhere(&mut world, &mut dice, task, &files),
            _ => {
                let request = random_request(&mut dice, &files);
                world.run(task, request);
            }
        }
    }
    for task in tasks {
        world.run(task, Request::Exit);
    }
    for file in files {
        let task = world.spawn();
        world.run(task, Request::Truncate { file, size: 0 });
        world.run(task, Request::Exit);
    }
    world.drain();
    // A page whose last user left while it was being written stays in the swap cache for reclaim.
    while world.passes_time() {}
    let janitor = world.spawn();
    for node in [NodeId(0), NodeId(1)] {
        world.run(janitor, Request::Reclaim { node, pages: 64, is_anon: true });
    }
    world.run(janitor, Request::Exit);
    assert_eq!(world.free_frames(), 128, "seed {seed}: every frame came back");
    assert_eq!(world.kernel().swaps.free, world.kernel().swaps.total, "seed {seed}");
}

fn map_somewhere(world: &mut World, dice: &mut Dice, task: TaskId, files: &[MappingId]) {
    let (start, pages) = place(dice);
    let flags = [R, RW, SHARED, RW | VmFlags::MERGEABLE][dice.roll(4) as usize];
    // What overlaps is refused, and nothing has changed then.
    let _ = match dice.roll(4) {
        0 => world.0.mmap(task, pages * PAGE, Some(start), flags),
        at => {
            let (file, offset) = (files[at as usize - 1], dice.roll(4) * PAGE);
            world.0.mmap_file(task, pages * PAGE, Some(start), flags, file, offset)
        }
    };
    world.sound("after mmap");
}

#[test]
fn whatever_processes_do_to_shared_files_every_rule_holds_and_nothing_leaks() {
    for seed in 0..6 {
        storm(seed, 150, Profile::Exact);
    }
    storm(6, 150, Profile::Repaired);
}

/// Moves a few frames at random, whatever they are.
fn random_migration(dice: &mut Dice) -> Request {
    let mut frame = || Pfn((dice.roll(2) * 64 + dice.roll(24)) as u32);
    let frames = (0..6).map(|_| frame()).collect();
    let target = Target::Preferably(NodeId(dice.roll(2) as u8));
    Request::MigrateFrames { frames, target, is_offlining: false }
}

/// Several calls at once, one random step after the other, each audited.
fn tangle(seed: u64, rounds: u32, profile: Profile) {
    let mut world = World::with(1 + (seed % 2) as usize, profile);
    let mut dice = Dice(seed);
    let kinds = [FileSystem::ext(), FileSystem::tmpfs(), noticing()];
    let named = kinds.into_iter().enumerate();
    let files: Vec<_> = named.map(|(at, kind)| world.file(&format!("{at}"), 4, kind)).collect();
    let mut tasks = vec![world.spawn(), world.spawn()];
    for _ in 0..rounds {
        for _ in 0..2 {
            let task = tasks[dice.roll(tasks.len() as u64) as usize];
            map_somewhere(&mut world, &mut dice, task, &files);
        }
        world.drain();
        let mut calls = Vec::new();
        for _ in 0..2 + dice.roll(3) {
            let task = tasks[dice.roll(tasks.len() as u64) as usize];
            let (by, request) = match dice.roll(6) {
                0 | 1 => (crate::machine::KERNEL_TASK, random_migration(&mut dice)),
                2 if tasks.len() < 5 => (task, Request::Fork { name: "child".into() }),
                _ => (task, random_request(&mut dice, &files)),
            };
            // In EXACT, `mremap` may strand an entry (Q21).
            let may_strand = matches!(request, Request::Mremap { .. });
            if profile == Profile::Repaired || !may_strand {
                calls.push(world.start(by, request));
            }
        }
        tangle_up(&mut world, &mut dice, &calls, seed);
        for call in calls {
            if let Outcome::Child(Ok(child)) = world.0.outcome(call).unwrap() {
                tasks.push(child);
            }
            world.0.forget(call).unwrap();
        }
        if tasks.len() > 3 {
            let gone = tasks.remove(dice.roll(tasks.len() as u64) as usize);
            let call = world.start(gone, Request::Exit);
            world.finish(call);
        }
    }
}

/// Steps calls in random order until all are done.
fn tangle_up(world: &mut World, dice: &mut Dice, calls: &[CallId], seed: u64) {
    loop {
        let ready: Vec<CallId> = world.0.ready().filter(|call| calls.contains(call)).collect();
        if calls.iter().all(|&call| world.is_done(call)) {
            return;
        }
        if ready.is_empty() {
            let stuck = || calls.iter().map(|&call| world.0.flight(call).unwrap().state());
            let states: Vec<_> = stuck().collect();
            assert!(world.passes_time(), "seed {seed}: deadlock {states:?}");
        } else {
            world.step(ready[dice.roll(ready.len() as u64) as usize]);
        }
    }
}

#[test]
fn however_calls_of_several_processes_are_interleaved_every_rule_holds_at_every_step() {
    for seed in 0..8 {
        tangle(seed, 25, Profile::Exact);
        tangle(seed, 25, Profile::Repaired);
    }
}
