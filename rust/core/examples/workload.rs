//! One workload of the core, again and again, and what a page of it costs.
//!
//! `cargo run --release --example workload -- move 262144 10` prints nanoseconds a page, fastest and
//! median round. Under `valgrind --tool=callgrind` the difference between two numbers of rounds, divided
//! by the pages, is instructions a page. Start with [`main`]; [`Work`] is what can be measured. The
//! tables of the project are made by `benchmarks/`, through Python; this is for looking closer.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

use std::time::Instant;

use pagemig_core::base::{
    CpuId, MachineSpec, Misuse, NodeId, NodeMask, PAGE_SIZE, Profile, TaskId,
};
use pagemig_core::fault::Pages;
use pagemig_core::machine::verbs::Birth;
use pagemig_core::machine::{Machine, Outcome, Request};
use pagemig_core::migrate::move_pages;
use pagemig_core::migrate::query::Question;
use pagemig_core::state::mapping::{Dirtying, FileSystem, Migrate, Release, Write};
use pagemig_core::state::mm::VmFlags;
use pagemig_core::state::task::Credentials;

/// What is done in a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Move,
    Query,
    Touch,
    Access,
    Pinned,
}

const SHARED: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::SHARED);

struct World {
    machine: Machine,
    task: TaskId,
    addresses: Vec<u64>,
    node: u8,
    state: u64,
}

impl World {
    fn new(pages: usize, contents: bool, file: Option<FileSystem>) -> Result<World, Misuse> {
        let room = (pages + pages / 8 + 4096) as u64;
        let spec = MachineSpec {
            profile: Profile::Exact,
            ..MachineSpec::simple(&[room, room], 1, contents)
        };
        let mut machine = Machine::new(&spec)?;
        let task = machine.spawn(Birth {
            name: "app".into(),
            credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
            mems_allowed: NodeMask(u64::MAX),
            cpu: CpuId(0),
            is_kernel_thread: false,
            has_stack: false,
        })?;
        let len = pages as u64 * PAGE_SIZE;
        let (start, is_write) = match file {
            None => (machine.mmap(task, len, None, VmFlags::READ | VmFlags::WRITE)?, true),
            Some(kind) => {
                let file = machine.create_file("file".into(), len, kind)?;
                (machine.mmap_file(task, len, None, SHARED, file, 0)?, false)
            }
        };
        let touch = Request::Touch(Pages::Range { start, pages, is_write });
        machine.run(task, touch)?;
        let addresses = (0..pages as u64).map(|page| start + page * PAGE_SIZE).collect();
        Ok(World { machine, task, addresses, node: 0, state: 88_172_645_463_325_252 })
    }

    fn shuffle(&mut self) {
        for at in (1..self.addresses.len()).rev() {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.addresses.swap(at, (self.state % (at as u64 + 1)) as usize);
        }
    }

    fn pin_all(&mut self) -> Result<(), Misuse> {
        for &address in &self.addresses {
            self.machine.run(self.task, Request::Pin { address, is_write: false })?;
        }
        Ok(())
    }

    /// Makes the request of one round, runs it, and tells how long that took.
    fn round(&mut self, work: Work) -> Result<f64, Misuse> {
        let count = self.addresses.len() as u64;
        let addresses = self.addresses.clone();
        let request = match work {
            Work::Move | Work::Pinned => {
                self.node ^= u8::from(work == Work::Move);
                let nodes =
                    vec![NodeId(if work == Work::Move { self.node } else { 1 }); addresses.len()];
                let request = move_pages::Request {
                    count,
                    addresses,
                    nodes,
                    fill_error: None,
                    statuses_writable: count,
                    is_shared_too: false,
                };
                Request::MovePages { target: self.task, request }
            }
            Work::Query => Request::QueryPages {
                target: self.task,
                question: Question { count, addresses, status_bytes_writable: 4 * count },
            },
            Work::Access => {
                let writes = addresses.iter().map(|&address| address & 0x3000 == 0).collect();
                Request::Touch(Pages::List { addresses, writes })
            }
            Work::Touch => {
                let len = count * PAGE_SIZE;
                let flags = VmFlags::READ | VmFlags::WRITE;
                let start = self.machine.mmap(self.task, len, None, flags)?;
                let pages = addresses.len();
                Request::Touch(Pages::Range { start, pages, is_write: true })
            }
        };
        let unmap = match &request {
            Request::Touch(Pages::Range { start, .. }) => {
                Some(Request::Munmap { start: *start, len: count * PAGE_SIZE })
            }
            _ => None,
        };
        let begun = Instant::now();
        let outcome = self.machine.run(self.task, request)?;
        let elapsed = begun.elapsed().as_secs_f64();
        if let (Outcome::Statuses(result, statuses, _), true) = (&outcome, work == Work::Move) {
            assert_eq!(*result, Ok(()));
            assert!(statuses.iter().all(|&status| status == i32::from(self.node)), "all moved");
        }
        if let Some(unmap) = unmap {
            self.machine.run(self.task, unmap)?;
        }
        Ok(elapsed)
    }
}

/// A filesystem with four buffers a page.
fn ext() -> FileSystem {
    FileSystem {
        name: "ext".into(),
        migrate: Migrate::Buffers,
        write: Write::Buffers,
        dirtying: Dirtying::Buffers,
        release: Release::Buffers,
        accounts_dirty: true,
        is_swap_backed: false,
        buffer_bytes: 1024,
        ..FileSystem::tmpfs()
    }
}

/// What copying pages costs at least: from one area of memory to another, in order.
fn copy(pages: usize, rounds: usize) {
    const PAGE: usize = PAGE_SIZE as usize;
    let (source, mut target) = (vec![1_u8; pages * PAGE], vec![2_u8; pages * PAGE]);
    for _ in 0..rounds {
        let begun = Instant::now();
        for (from, to) in source.chunks_exact(PAGE).zip(target.chunks_exact_mut(PAGE)) {
            to.copy_from_slice(std::hint::black_box(from));
        }
        println!("copy: {:.1} ns a page", begun.elapsed().as_secs_f64() * 1e9 / pages as f64);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, pages, rounds] = args.as_slice() else {
        return Err("workload NAME PAGES ROUNDS, where NAME is one of: move, move-random, bytes, \
                    bytes-random, file, buffers, query, query-random, touch, copy, access, access-random, pinned"
            .into());
    };
    let (pages, rounds): (usize, usize) = (pages.parse()?, rounds.parse()?);
    if name == "copy" {
        copy(pages, rounds);
        return Ok(());
    }
    let (work, file, contents) = match name.trim_end_matches("-random") {
        "move" => (Work::Move, None, false),
        "bytes" => (Work::Move, None, true),
        "file" => (Work::Move, Some(FileSystem::tmpfs()), false),
        "buffers" => (Work::Move, Some(ext()), false),
        "query" => (Work::Query, None, false),
        "touch" => (Work::Touch, None, false),
        "access" => (Work::Access, None, false),
        "pinned" => (Work::Pinned, None, false),
        _ => return Err(format!("no workload {name:?}").into()),
    };
    let pages = if work == Work::Touch { pages / 2 } else { pages };
    let mut world = World::new(pages, contents, file)?;
    if work == Work::Pinned {
        world.pin_all()?;
    }
    let mut times = Vec::new();
    for _ in 0..rounds {
        if name.ends_with("-random") {
            world.shuffle();
        }
        times.push(world.round(work)? * 1e9 / pages as f64);
    }
    times.sort_by(f64::total_cmp);
    if let (Some(first), Some(median)) = (times.first(), times.get(times.len() / 2)) {
        println!("{name}: {first:.1} ns a page at best, {median:.1} in the median");
    }
    Ok(())
}
