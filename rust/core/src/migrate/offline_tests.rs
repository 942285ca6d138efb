//! Memory offlining, through the machine; audited after every step.

use crate::base::{CpuId, Errno, MachineSpec, NodeId, NodeMask, PAGE_SIZE, Pfn, TaskId};
use crate::fault::Pages;
use crate::machine::verbs::Birth;
use crate::machine::{KERNEL_TASK, Machine, Outcome, Request};
use crate::state::frame::PageFlags;
use crate::state::mm::VmFlags;
use crate::state::policy::{Mode, Policy};
use crate::state::task::Credentials;
use crate::state::zone::Counter;

/// Nodes of 64 frames, in pageblocks of 16.
fn machine(nodes: usize) -> Machine {
    let mut spec = MachineSpec::simple(&vec![64; nodes], 1, false);
    spec.pageblock_frames = 16;
    Machine::new(&spec).unwrap()
}

/// A task on node 0 with `pages` written pages, on their lists; and where they are.
fn tenant(machine: &mut Machine, pages: usize) -> (TaskId, u64) {
    let birth = Birth {
        name: "tenant".into(),
        credentials: Credentials::default(),
        mems_allowed: machine.kernel().zones.nodes_with_memory(),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    let task = machine.spawn(birth).unwrap();
    let len = pages as u64 * PAGE_SIZE;
    let start = machine.mmap(task, len, None, VmFlags::READ | VmFlags::WRITE).unwrap();
    touch(machine, task, start, pages);
    machine.drain(None).unwrap();
    (task, start)
}

fn touch(machine: &mut Machine, task: TaskId, start: u64, pages: usize) {
    let pages = Pages::Range { start, pages, is_write: true };
    machine.run(task, Request::Touch(pages)).unwrap();
}

/// Where the pages of a task are.
fn places(machine: &Machine, task: TaskId, start: u64, pages: u64) -> Vec<u32> {
    let kernel = machine.kernel();
    let root = kernel.mms[kernel.tasks[task].mm.unwrap()].root;
    let page = |n| kernel.tables.entry(root, start + n * PAGE_SIZE);
    (0..pages).map(page).map(|entry| if entry.is_present() { entry.pfn().0 } else { 0 }).collect()
}

fn offline(first: u32, count: u32, timeout: u64) -> Request {
    Request::Offline { first: Pfn(first), count, timeout }
}

/// Runs a request to its end, step by step in fine mode, audited after each; and then once more on
/// a copy of the machine, straight through, which must come to the same.
fn run(machine: &mut Machine, task: TaskId, request: &Request) -> Result<(), Errno> {
    let mut copy = machine.clone();
    let call = machine.start(task, request.clone(), true).unwrap();
    while !machine.flight(call).unwrap().is_done() {
        assert!(machine.step(call).unwrap(), "alone, it waits for nothing");
        let at = machine.flight(call).unwrap().at();
        assert_eq!(machine.audit(), [], "before {at}");
    }
    let outcome = returned(&machine.outcome(call).unwrap());
    assert_eq!(returned(&copy.run(task, request.clone()).unwrap()), outcome);
    let last = machine.kernel().frames.len() as u32;
    let frames = |m: &Machine| (0..last).map(|n| m.kernel().frames[Pfn(n)]).collect::<Vec<_>>();
    assert_eq!(frames(machine), frames(&copy), "both modes leave the same");
    assert_eq!((machine.kernel().now, copy.audit()), (copy.kernel().now, vec![]));
    outcome
}

fn returned(outcome: &Outcome) -> Result<(), Errno> {
    match outcome {
        Outcome::Returned(result) => *result,
        other => panic!("{other:?}"),
    }
}

fn isolated(machine: &Machine) -> i64 {
    let counters = machine.kernel().zones.iter().map(|(_, zone)| zone.counters);
    counters.map(|c| c.get(Counter::IsolatedAnon) + c.get(Counter::IsolatedFile)).sum()
}

#[test]
fn i128_the_pages_move_away_and_the_frames_are_gone() {
    let mut machine = machine(2);
    let (task, start) = tenant(&mut machine, 40);
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(16, 16, 1000)), Ok(()));
    let expected: Vec<u32> = (0..16).chain(40..56).chain(32..40).collect();
    assert_eq!(places(&machine, task, start, 40), expected, "by the operator's policy: near by");
    let zones = &machine.kernel().zones;
    assert_eq!((zones.present(NodeId(0)), zones.present(NodeId(1))), (48, 64));
    assert!((16..32).all(|pfn| machine.kernel().frames[Pfn(pfn)].has(PageFlags::RESERVED)));
    machine.drain(None).unwrap();
    assert_eq!(machine.kernel().zones.iter().next().unwrap().1.free.count(), 8);
    assert_eq!((isolated(&machine), machine.kernel().now), (0, 0), "in no time");
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(16, 16, 1000)), Err(Errno::Busy), "again");
}

#[test]
fn a_node_without_frames_leaves_those_with_memory_and_every_cpuset() {
    let mut machine = machine(2);
    let (task, _) = tenant(&mut machine, 4);
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(64, 32, 1000)), Ok(()));
    assert_eq!(machine.kernel().zones.nodes_with_memory(), NodeMask(3));
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(96, 32, 1000)), Ok(()));
    assert_eq!(machine.kernel().zones.nodes_with_memory(), NodeMask(1));
    assert_eq!(machine.kernel().tasks[task].mems_allowed, NodeMask(1));
    assert_eq!(machine.kernel().cpusets.rows[0].mems, NodeMask(1));
}

#[test]
fn q25_a_page_in_frame_0_is_not_seen() {
    let mut machine = machine(1);
    let (task, start) = tenant(&mut machine, 4);
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(0, 16, 1000)), Err(Errno::Busy));
    assert_eq!(places(&machine, task, start, 4), [0, 1, 2, 3], "nothing was even tried");
    // With another owner of frame 0 the rest is seen, and only that one is in the way.
    machine.isolate(Pfn(0)).unwrap().unwrap();
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(0, 16, 1000)), Err(Errno::Busy));
    assert_eq!(places(&machine, task, start, 4)[1..], [16, 17, 18], "those had gone before");
}

#[test]
fn s42_a_pinned_page_keeps_it_until_time_is_up() {
    let mut machine = machine(2);
    let (task, start) = tenant(&mut machine, 20);
    machine.run(task, Request::Pin { address: start + 17 * PAGE_SIZE, is_write: true }).unwrap();
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(16, 16, 25)), Err(Errno::Again));
    assert_eq!(machine.kernel().now, 26, "one tick a round, until the deadline is behind us");
    assert_eq!(places(&machine, task, start, 20)[16..], [32, 17, 34, 35], "only it is still there");
    machine.drain(None).unwrap();
    assert!(machine.kernel().frames[Pfn(17)].has(PageFlags::LRU));
    assert_eq!(isolated(&machine), 0, "I-129");
    let (_, elsewhere) = tenant(&mut machine, 2);
    assert_eq!(places(&machine, TaskId(2), elsewhere, 2), [16, 18], "to be had again (I-129)");
}

#[test]
fn s42_a_frame_in_use_that_is_on_no_list_gives_ebusy_five_times() {
    let mut machine = machine(2);
    let (task, start) = tenant(&mut machine, 20);
    machine.isolate(Pfn(18)).unwrap().unwrap();
    let call = machine.start(KERNEL_TASK, offline(16, 16, 1000), false).unwrap();
    machine.finish(call).unwrap();
    assert_eq!(returned(&machine.outcome(call).unwrap()), Err(Errno::Busy));
    let rounds = machine.flight(call).unwrap().history().iter().filter(|at| **at == "SY7-5c");
    assert_eq!((rounds.count(), machine.kernel().now), (5, 4));
    assert_eq!(places(&machine, task, start, 20)[16..], [16, 17, 18, 19], "nothing was migrated");
    assert_eq!(isolated(&machine), 1, "that by hand");
    machine.putback(Pfn(18)).unwrap();
    // All four wait in pagevecs now, where nobody looks before the end.
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(16, 16, 1000)), Err(Errno::Busy));
    assert_eq!(machine.kernel().now, 4, "no round");
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(16, 16, 1000)), Ok(()), "it drained them");
}

#[test]
fn s42_with_only_such_frames_the_last_look_finds_them() {
    let mut machine = machine(2);
    tenant(&mut machine, 17);
    machine.isolate(Pfn(16)).unwrap().unwrap();
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(16, 16, 1000)), Err(Errno::Busy));
    assert_eq!(machine.kernel().now, 0, "no round at all");
}

#[test]
fn s48_a_signal_ends_it_between_two_rounds() {
    let mut machine = machine(2);
    let (task, start) = tenant(&mut machine, 17);
    machine.run(task, Request::Pin { address: start + 16 * PAGE_SIZE, is_write: true }).unwrap();
    let call = machine.start(task, offline(16, 16, u64::MAX), false).unwrap();
    assert!(machine.run_until(call, "MP-2").unwrap());
    machine.set_signal(task, true).unwrap();
    machine.finish(call).unwrap();
    assert_eq!(returned(&machine.outcome(call).unwrap()), Err(Errno::Interrupted));
    let passes = machine.flight(call).unwrap().history().iter().filter(|at| **at == "UM-18");
    assert_eq!(passes.count(), 0, "the ten passes are one label each at most");
    assert_eq!(
        (machine.kernel().now, machine.audit()),
        (1, vec![]),
        "the round was finished first"
    );
}

#[test]
fn what_is_no_whole_number_of_blocks_of_one_zone_is_einval() {
    let mut machine = machine(2);
    for (first, count) in [(8, 16), (16, 8), (48, 32)] {
        let result = run(&mut machine, KERNEL_TASK, &offline(first, count, 1));
        assert_eq!(result, Err(Errno::Invalid), "{first} {count}");
    }
    assert!(machine.run(KERNEL_TASK, offline(112, 32, 1)).is_err(), "beyond the machine");
    assert!(machine.run(KERNEL_TASK, offline(0, 0, 1)).is_err());
}

#[test]
fn a_block_that_somebody_else_takes_offline_is_ebusy_and_no_other_is_marked() {
    let mut machine = machine(1);
    tenant(&mut machine, 4);
    let first = machine.start(KERNEL_TASK, offline(32, 16, 1000), false).unwrap();
    assert!(machine.run_until(first, "SY7-5c").unwrap());
    let second = machine.start(KERNEL_TASK, offline(16, 32, 1000), false).unwrap();
    machine.finish(second).unwrap();
    assert_eq!(returned(&machine.outcome(second).unwrap()), Err(Errno::Busy));
    assert_eq!(machine.audit(), []);
    // A third, of another block, waits for KSM's mutex, and then has its turn.
    let third = machine.start(KERNEL_TASK, offline(16, 16, 1000), false).unwrap();
    assert!(!machine.run_until(third, "SY7-5a").unwrap());
    machine.run_all().unwrap();
    for call in [first, third] {
        assert_eq!(returned(&machine.outcome(call).unwrap()), Ok(()));
    }
    assert_eq!(machine.audit(), []);
    assert_eq!(machine.kernel().zones.present(NodeId(0)), 32);
}

#[test]
fn pages_go_where_the_policy_of_the_operator_says() {
    let mut machine = machine(3);
    let (task, start) = tenant(&mut machine, 20);
    let policy = Policy { mode: Mode::Bind, nodes: NodeMask(4), ..Policy::default() };
    machine.set_task_policy(task, policy).unwrap().unwrap();
    assert_eq!(run(&mut machine, task, &offline(16, 16, 1000)), Ok(()));
    assert_eq!(places(&machine, task, start, 20)[16..], [128, 129, 130, 131]);
}

#[test]
fn without_a_frame_elsewhere_it_fails_after_five_rounds() {
    let mut machine = machine(1);
    let (task, start) = tenant(&mut machine, 48);
    let (_, _) = tenant(&mut machine, 16);
    assert_eq!(run(&mut machine, KERNEL_TASK, &offline(16, 16, 1000)), Err(Errno::NoMemory));
    assert_eq!(machine.kernel().now, 4);
    assert_eq!(places(&machine, task, start, 48), (0..48).collect::<Vec<_>>());
}

#[test]
fn a_round_takes_256_pages_at_most() {
    let mut spec = MachineSpec::simple(&[1024], 1, false);
    spec.pageblock_frames = 512;
    let mut machine = Machine::new(&spec).unwrap();
    tenant(&mut machine, 1000);
    // Frames 512 to 811 stay in use; only 212 others would be free outside.
    let (mm, start) = (TaskId(1), machine.kernel().vmas.iter().next().unwrap().1.start);
    let unmap = Request::Munmap { start: start + PAGE_SIZE, len: 511 * PAGE_SIZE };
    machine.run(mm, unmap).unwrap();
    let call = machine.start(KERNEL_TASK, offline(512, 512, 1000), false).unwrap();
    machine.finish(call).unwrap();
    assert_eq!(returned(&machine.outcome(call).unwrap()), Ok(()));
    let history = machine.flight(call).unwrap().history();
    let scans = history.iter().filter(|at| **at == "SY7-5c").count();
    assert_eq!(scans, 3, "488 pages in two rounds, and a look that finds none");
    assert_eq!(machine.audit(), []);
}

#[test]
fn q34_programs_go_on_using_their_pages_meanwhile() {
    let mut machine = machine(2);
    let (task, start) = tenant(&mut machine, 24);
    machine.run(task, Request::Fork { name: "child".into() }).unwrap();
    let child = TaskId(2);
    let pages = Pages::Range { start: start + 14 * PAGE_SIZE, pages: 10, is_write: true };
    machine.start(KERNEL_TASK, offline(16, 16, 1000), true).unwrap();
    machine.start(task, Request::Touch(pages.clone()), true).unwrap();
    machine.start(child, Request::Touch(pages), true).unwrap();
    let len = 4 * PAGE_SIZE;
    machine.start(child, Request::Munmap { start: start + 20 * PAGE_SIZE, len }, true).unwrap();
    for turn in 0.. {
        let ready: Vec<_> = machine.ready().collect();
        if ready.is_empty() {
            break;
        }
        // Every call has its turn, at a pace of its own.
        machine.step(ready[turn % 7 % ready.len()]).unwrap();
        assert_eq!(machine.audit(), [], "after turn {turn}");
    }
    let calls: Vec<_> = machine.flights().map(|(id, flight)| (id, flight.is_done())).collect();
    assert!(calls.iter().all(|&(_, is_done)| is_done), "{calls:?}");
    assert_eq!(returned(&machine.outcome(calls[0].0).unwrap()), Ok(()));
    assert_eq!(machine.kernel().zones.present(NodeId(0)), 48);
}
