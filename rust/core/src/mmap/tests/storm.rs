//! Random operations of several processes on shared files, every one of them audited.

use super::*;
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

/// Where the areas of a storm lie: 24 pages that all processes use alike.
const BASE: u64 = 0x100_0000;
const PAGES: u64 = 24;

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
