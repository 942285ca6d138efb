//! Any order of operations, against bytes kept beside the machine (I-114).

use super::*;

/// Numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }
}

/// One file, and what a program would find in it.
struct Shadow {
    file: MappingId,
    bytes: Vec<u8>,
}

fn request(dice: &mut Dice, shadow: &mut Shadow) -> Request {
    let file = shadow.file;
    let size = shadow.bytes.len() as u64;
    let page = dice.roll(8);
    match dice.roll(8) {
        0..=2 => {
            let data = vec![dice.roll(256) as u8; 1 + dice.roll(3 * PAGE) as usize];
            let offset = dice.roll(5 * PAGE);
            let end = offset as usize + data.len();
            if shadow.bytes.len() < end {
                shadow.bytes.resize(end, 0);
            }
            shadow.bytes[offset as usize..end].copy_from_slice(&data);
            write(file, offset, &data)
        }
        3 => {
            let to = if dice.roll(4) == 0 { size + dice.roll(PAGE) } else { dice.roll(size + 1) };
            shadow.bytes.resize(to as usize, 0);
            truncate(file, to)
        }
        4 | 5 => writeback(file, page),
        6 => invalidate(file, page),
        _ => read(file, dice.roll(size + PAGE), dice.roll(3 * PAGE)),
    }
}

fn play(seed: u64, kinds: &[FileSystem]) {
    let mut world = World::of(&[64, 64]);
    let mut dice = Dice(seed);
    let mut shadows: Vec<Shadow> = Vec::new();
    for kind in kinds {
        shadows.push(Shadow { file: world.file(0, kind.clone()), bytes: Vec::new() });
    }
    for _ in 0..400 {
        let at = dice.roll(shadows.len() as u64) as usize;
        let shadow = &mut shadows[at];
        let request = request(&mut dice, shadow);
        if dice.roll(2) == 0 {
            world.run(request);
        } else {
            world.step_through(request);
        }
        match dice.roll(4) {
            0 => world.machine.advance_time(dice.roll(3)).unwrap(),
            1 => world.machine.drain(None).unwrap(),
            _ => {}
        }
        world.check();
        let shadow = &shadows[at];
        let whole = bytes_of(world.run(read(shadow.file, 0, u64::MAX)));
        assert!(whole == shadow.bytes, "seed {seed}: file {} is not what it was", shadow.file);
    }
    for shadow in &shadows {
        world.run(truncate(shadow.file, 0));
    }
    world.machine.drain(None).unwrap();
    world.check();
    assert_eq!(world.free(), 128, "seed {seed}: frames are lost");
}

#[test]
fn whatever_is_done_to_files_their_bytes_are_what_was_written_and_no_frame_is_lost() {
    let slow = FileSystem { io_ticks: Some(4), buffer_bytes: 512, ..FileSystem::ext() };
    for seed in 0..12 {
        play(seed, &[FileSystem::ext(), slow.clone(), FileSystem::ramfs(), FileSystem::tmpfs()]);
    }
}
