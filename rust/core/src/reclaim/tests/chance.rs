//! Any calls of two processes in any order.

use super::racing::to_node_1;
use super::*;

/// A sequence of numbers that looks like chance and is always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }
}

/// Pages of the memory that each process has for itself, and of that which both share.
const OWN: u64 = 5;
const SHARED: u64 = 3;

/// Two processes, and what each of their pages should hold.
struct Pair {
    world: World,
    tasks: [TaskId; 2],
    /// Where their own and the shared memory start.
    starts: [u64; 2],
    bytes: [[u8; (OWN + SHARED) as usize]; 2],
    dice: Dice,
}

#[test]
fn whoever_runs_next_every_step_is_sound_and_no_byte_is_lost() {
    for seed in 0..40 {
        let mut pair = Pair::new(seed);
        for _ in 0..8 {
            pair.round();
        }
        pair.check();
    }
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let slots = if seed.is_multiple_of(3) { 4 } else { 32 };
        let mut world = World::written(slots, OWN, 2);
        let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::SHARED;
        let flags = flags | VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::MAYSHARE;
        let shared = world.machine.mmap(world.task, SHARED * PAGE_SIZE, None, flags).unwrap();
        let (starts, parent) = ([world.start, shared], world.task);
        let mut dice = Dice(seed);
        if dice.below(2) == 0 {
            world.swap_out(0);
        }
        let child = world.fork();
        let mut bytes = [[0; (OWN + SHARED) as usize]; 2];
        for row in &mut bytes {
            (0..OWN as usize).for_each(|page| row[page] = page as u8 + 1);
        }
        Pair { world, tasks: [parent, child], starts, bytes, dice }
    }

    /// The world as `who` sees page `page`, and that page's place there.
    fn view(&mut self, who: usize, page: u64) -> u64 {
        let is_own = page < OWN;
        self.world.task = self.tasks[who];
        self.world.start = self.starts[usize::from(!is_own)];
        if is_own { page } else { page - OWN }
    }

    /// Four calls at once, in any order; then a store.
    fn round(&mut self) {
        let calls: Vec<CallId> = (0..4).map(|at| self.any_call(at)).collect();
        self.run(&calls);
        let (who, page) = (self.dice.below(2) as usize, self.dice.below(OWN + SHARED));
        let byte = self.dice.below(255) as u8;
        let at = self.view(who, page);
        self.world.write(at, byte);
        self.bytes[who][page as usize] = byte;
        if page >= OWN {
            self.bytes[1 - who][page as usize] = byte;
        }
    }

    fn any_call(&mut self, at: u64) -> CallId {
        let (who, page) = (self.dice.below(2) as usize, self.dice.below(OWN + SHARED));
        let page = self.view(who, page);
        let address = self.world.at(page);
        let frame = match self.world.entry(page) {
            entry if entry.kind() == Kind::Present => entry.pfn(),
            _ => Pfn(self.dice.below(64) as u32),
        };
        let touched = |is_write| Pages::Range { start: address, pages: 1, is_write };
        let request = match (at, self.dice.below(4)) {
            (0, _) | (1, 0 | 1) => Request::SwapOut { address },
            (1, _) => Request::Reclaim { node: NodeId(0), pages: 8, is_anon: true },
            (2, _) => to_node_1(frame),
            (_, 0 | 1) => Request::Touch(touched(false)),
            (_, 2) => Request::Touch(touched(true)),
            (_, _) => Request::Drain,
        };
        self.world.start(request)
    }

    /// Steps the calls in any order, with an audit after each step, until all are done.
    fn run(&mut self, calls: &[CallId]) {
        let machine = &mut self.world.machine;
        loop {
            let ready: Vec<CallId> = machine.ready().collect();
            if !ready.is_empty() {
                machine.step(ready[self.dice.below(ready.len() as u64) as usize]).unwrap();
            } else if calls.iter().all(|&call| machine.flight(call).unwrap().is_done()) {
                break;
            } else {
                machine.advance_time(1).unwrap();
            }
            assert_eq!(machine.audit(), []);
        }
        calls.iter().for_each(|&call| machine.forget(call).unwrap());
    }

    fn check(&mut self) {
        for who in 0..2 {
            for page in 0..OWN + SHARED {
                let byte = self.bytes[who][page as usize];
                let at = self.view(who, page);
                self.world.holds(at, byte);
            }
        }
    }
}
