//! How a call is sliced changes nothing but when it can be looked at.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::verbs::Birth;
use super::{Machine, Request, Slice};
use crate::base::{
    CpuId, CpusetId, MachineSpec, MappingId, NodeId, NodeMask, PAGE_SIZE, Pfn, TaskId,
};
use crate::cpuset::Change;
use crate::fault::Pages;
use crate::migrate::collect::Wanted;
use crate::migrate::move_pages;
use crate::migrate::query::Question;
use crate::migrate::target::Target;
use crate::mmap::Advice;
use crate::state::mapping::FileSystem;
use crate::state::mm::VmFlags;
use crate::state::policy::{Mode, Policy};
use crate::state::task::Credentials;

const START: u64 = 0x10_0000;
const PAGES: u64 = 3000;
const LEN: u64 = PAGES * PAGE_SIZE;
/// Where another area of as many pages is, with a hole before it.
const OTHER: u64 = START + LEN + 0x10_0000;
const MAY: VmFlags = VmFlags::MAYREAD.union(VmFlags::MAYWRITE);
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(MAY);
/// Fuel of a slice.
const SLICE: u64 = 700;

fn print(machine: &Machine) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.hash(&mut hasher);
    hasher.finish()
}

/// A machine with a task that has no memory yet.
fn empty(contents: bool) -> (Machine, TaskId) {
    let mut spec = MachineSpec::simple(&[8192, 8192], 2, contents);
    spec.swap_slots = 4096;
    let mut machine = Machine::new(&spec).unwrap();
    let task = machine.spawn(birth()).unwrap();
    (machine, task)
}

fn birth() -> Birth {
    Birth {
        name: "sliced".into(),
        credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    }
}

/// The same, and the task has so many pages on node 0.
fn heap() -> (Machine, TaskId) {
    let (mut machine, task) = empty(false);
    machine.mmap(task, LEN, Some(START), RW).unwrap();
    machine.run(task, touch(START)).unwrap();
    (machine, task)
}

/// The same with a file of as many bytes, that node 0 has in memory.
fn cached(kind: FileSystem) -> (Machine, TaskId, MappingId) {
    let (mut machine, task) = empty(false);
    let file = machine.create_file("f".into(), LEN, kind).unwrap();
    machine.run(task, Request::WriteFile { file, offset: 0, size: LEN, data: None }).unwrap();
    (machine, task, file)
}

fn touch(start: u64) -> Request {
    Request::Touch(Pages::Range { start, pages: PAGES as usize, is_write: true })
}

fn addresses() -> Vec<u64> {
    (0..PAGES).map(|page| START + page * PAGE_SIZE).collect()
}

fn move_pages(target: TaskId) -> Request {
    let request = move_pages::Request {
        count: PAGES,
        addresses: addresses(),
        nodes: vec![NodeId(1); PAGES as usize],
        fill_error: None,
        statuses_writable: PAGES,
        is_shared_too: false,
    };
    Request::MovePages { target, request }
}

fn mbind(len: u64, policy: Option<Policy>) -> Request {
    let wanted = Wanted {
        nodes: NodeMask(2),
        is_inverted: true,
        is_strict: true,
        may_move: true,
        is_shared_too: false,
        may_have_holes: policy.is_none(),
    };
    Request::Mbind { start: START, len, policy, wanted }
}

fn mlock(is_lock: bool) -> Request {
    Request::Mlock { start: START, len: LEN, is_lock }
}

fn advise(advice: Advice) -> Request {
    Request::Madvise { start: START, len: LEN, advice }
}

/// A machine and what is to be run in slices on it.
type Case = (Machine, TaskId, Request);

/// What a task does to its heap, or somebody to it.
fn of_a_heap() -> Vec<Case> {
    let (_, task) = heap();
    let question =
        Question { count: PAGES, addresses: addresses(), status_bytes_writable: 4 * PAGES };
    let (from, to) = (NodeMask(1), NodeMask(2));
    let frames = (100..2900).map(Pfn).collect();
    let policy = Policy { mode: Mode::Bind, nodes: to, ..Policy::default() };
    let requests = [
        touch(START),
        move_pages(task),
        Request::QueryPages { target: task, question },
        Request::MigratePages { target: task, from, to, is_shared_too: true },
        Request::MigrateFrames { frames, target: Target::Anywhere, is_offlining: false },
        Request::Fork { name: "child".into() },
        Request::Munmap { start: START, len: LEN },
        Request::Exit,
        mbind(LEN, Some(policy)),
        Request::Mprotect { start: START, len: LEN, protection: VmFlags::READ },
        mlock(true),
        Request::Mremap { start: START, len: LEN, new_len: LEN, to: Some(OTHER) },
        advise(Advice::DontNeed),
        Request::Offline { first: Pfn(512), count: 4096, timeout: 1000 },
    ];
    requests.into_iter().map(|request| (heap().0, task, request)).collect()
}

/// What needs more to be there before.
fn prepared() -> Vec<Case> {
    let mut cases = Vec::new();
    // A hole in the range is found when the pages below it have been isolated.
    let (mut machine, task) = heap();
    machine.mmap(task, LEN, Some(OTHER), RW).unwrap();
    let policy = Policy { mode: Mode::Bind, nodes: NodeMask(2), ..Policy::default() };
    cases.push((machine, task, mbind(OTHER + LEN - START, Some(policy))));
    // Pages that somebody holds are tried ten times and put back.
    let (mut machine, task) = heap();
    for address in addresses() {
        machine.run(task, Request::Pin { address, is_write: true }).unwrap();
    }
    cases.push((machine, task, mbind(LEN, Some(policy))));
    let (mut machine, task) = heap();
    machine.run(task, mlock(true)).unwrap();
    cases.push((machine.clone(), task, mlock(false)));
    cases.push((machine, task, Request::Exit));
    let (mut machine, task) = heap();
    let set = machine.create_cpuset("set".into(), NodeMask(1), true, CpusetId(0)).unwrap().unwrap();
    let change = |change| Request::ChangeCpuset { cpuset: set, change };
    machine.run(task, change(Change::Attach(task))).unwrap();
    cases.push((machine, task, change(Change::Mems(NodeMask(2)))));
    // All pages are alike.
    let (mut machine, task) = empty(true);
    machine.mmap(task, LEN, Some(START), RW).unwrap();
    machine.run(task, touch(START)).unwrap();
    machine.run(task, advise(Advice::Mergeable)).unwrap();
    cases.push((machine.clone(), task, Request::KsmScan));
    machine.run(task, Request::KsmScan).unwrap();
    cases.push((machine, task, advise(Advice::Unmergeable)));
    cases
}

/// Files, by themselves and mapped.
fn of_files() -> Vec<Case> {
    let mut cases = Vec::new();
    let (mut machine, task) = empty(false);
    let file = machine.create_file("f".into(), LEN, FileSystem::ext()).unwrap();
    let read = Request::ReadFile { file, offset: 0, size: LEN };
    let write = Request::WriteFile { file, offset: 0, size: LEN, data: None };
    cases.push((machine.clone(), task, read.clone()));
    cases.push((machine.clone(), task, write));
    machine.run(task, read).unwrap();
    let reclaim = Request::Reclaim { node: NodeId(0), pages: 8000, is_anon: false };
    cases.push((machine, task, reclaim));
    let (mut machine, task, file) = cached(FileSystem::ext());
    let cut = Request::Truncate { file, size: 100 };
    cases.push((machine.clone(), task, cut.clone()));
    machine.mmap_file(task, LEN, Some(START), RW | VmFlags::SHARED, file, 0).unwrap();
    machine.run(task, touch(START)).unwrap();
    cases.push((machine, task, cut));
    // Most of it is in swap.
    let (mut machine, task, file) = cached(FileSystem::tmpfs());
    machine.mmap_file(task, LEN, Some(START), RW | VmFlags::SHARED, file, 0).unwrap();
    machine.run(task, touch(START)).unwrap();
    for address in addresses() {
        machine.run(task, Request::SwapOut { address }).unwrap();
    }
    assert!(machine.kernel().swaps.free < 2000, "it was not swapped out");
    cases.push((machine, task, Request::Truncate { file, size: 0 }));
    // A nameless file is emptied with its last area.
    let (mut machine, task) = empty(false);
    let flags = RW | VmFlags::SHARED | VmFlags::MAYSHARE;
    machine.mmap(task, LEN, Some(START), flags).unwrap();
    machine.run(task, touch(START)).unwrap();
    cases.push((machine.clone(), task, Request::Munmap { start: START, len: LEN }));
    cases.push((machine, task, Request::Exit));
    cases
}

fn cases() -> impl Iterator<Item = Case> {
    of_a_heap().into_iter().chain(prepared()).chain(of_files())
}

#[test]
fn a_call_in_slices_has_the_same_effects_as_in_one_go() {
    for (mut whole, task, request) in cases() {
        let (verb, mut sliced) = (request.verb(), whole.clone());
        let outcome = whole.run(task, request.clone()).unwrap();
        let mut slices = 1;
        let mut slice = sliced.run_for(task, request, SLICE).unwrap();
        let other = loop {
            match slice {
                Slice::Stopped => panic!("nobody ended {verb}"),
                Slice::Done(outcome) => break outcome,
                Slice::Paused(paused) => {
                    assert_eq!(sliced.audit(), [], "{verb}, slice {slices}");
                    slice = sliced.resume_for(paused, SLICE).unwrap();
                    slices += 1;
                }
            }
        };
        assert!(slices >= 3, "{verb} came in {slices} slices");
        assert_eq!(format!("{outcome:?}"), format!("{other:?}"), "{verb}");
        assert_eq!(print(&whole), print(&sliced), "{verb}");
        assert_eq!(whole.audit(), []);
    }
}

#[test]
fn a_call_that_is_cut_is_over_or_in_flight_and_can_be_finished() {
    const OVER: [&str; 4] = ["touch", "move_pages", "read_file", "write_file"];
    for (before, task, request) in cases() {
        let verb = request.verb();
        // After one slice, and after three.
        for slices in [0, 2] {
            let (mut machine, request) = (before.clone(), request.clone());
            let Slice::Paused(mut paused) = machine.run_for(task, request, SLICE).unwrap() else {
                panic!("{verb} did not pause")
            };
            for _ in 0..slices {
                match machine.resume_for(paused, SLICE / 8).unwrap() {
                    Slice::Paused(later) => paused = later,
                    Slice::Done(_) | Slice::Stopped => panic!("{verb} did not pause"),
                }
            }
            let is_over = machine.cut(paused).unwrap();
            assert_eq!(is_over, OVER.contains(&verb), "{verb}");
            assert_eq!(machine.audit(), [], "{verb}, cut");
            assert_eq!(machine.flights().count(), usize::from(!is_over), "{verb}");
            machine.run_all().unwrap();
            assert_eq!(machine.audit(), [], "{verb}, finished");
        }
    }
}

#[test]
fn a_call_beside_others_in_slices_has_the_same_effects_as_in_one_go() {
    for (mut whole, task, request) in of_a_heap().into_iter().take(4) {
        let other = whole.spawn(Birth { name: "other".into(), ..birth() }).unwrap();
        whole.mmap(other, PAGE_SIZE, Some(START), RW).unwrap();
        let one = Pages::Range { start: START, pages: 1, is_write: true };
        whole.start(other, Request::Touch(one), false).unwrap();
        let (verb, mut sliced) = (request.verb(), whole.clone());
        let outcome = whole.run(task, request.clone()).unwrap();
        let mut slice = sliced.run_for(task, request.clone(), SLICE).unwrap();
        let mut slices = 1;
        let other = loop {
            match slice {
                Slice::Stopped => panic!("nobody ended {verb}"),
                Slice::Done(outcome) => break outcome,
                Slice::Paused(paused) => {
                    slice = sliced.resume_for(paused, SLICE).unwrap();
                    slices += 1;
                }
            }
        };
        assert!(slices >= 3, "{verb} came in {slices} slices");
        assert_eq!(format!("{outcome:?}"), format!("{other:?}"), "{verb}");
        assert_eq!(print(&whole), print(&sliced), "{verb}");
        // Cut, it is a call in flight as the other.
        let (mut machine, _, _) = of_a_heap().swap_remove(0);
        machine.record(10);
        let Slice::Paused(paused) = machine.run_for(task, request, SLICE).unwrap() else {
            panic!("{verb} did not pause")
        };
        assert!(!machine.cut(paused).unwrap(), "{verb}");
        assert!(!machine.kernel().io.has_instant_reads);
        assert_eq!(machine.audit(), [], "{verb}, cut");
        machine.run_all().unwrap();
        assert_eq!(machine.audit(), [], "{verb}, finished");
    }
}

#[test]
fn stepping_in_portions_comes_to_the_same_as_in_one_go() {
    let (mut whole, task) = heap();
    let call = whole.start(task, move_pages(task), false).unwrap();
    let mut portions = whole.clone();
    assert!(whole.run_until(call, "DP-7").unwrap());
    let mut answers = Vec::new();
    while answers.last().is_none_or(Option::is_none) {
        answers.push(portions.run_until_for(call, "DP-7", 1000).unwrap());
    }
    assert!(answers.len() > 3 && answers.last() == Some(&Some(true)), "{}", answers.len());
    assert_eq!(print(&whole), print(&portions));
    whole.run_all().unwrap();
    while !portions.run_all_for(1).unwrap() {}
    assert_eq!(print(&whole), print(&portions));
}

#[test]
fn time_in_portions_ends_the_same_transfers() {
    let (mut whole, task, file) = cached(FileSystem { io_ticks: Some(5), ..FileSystem::ext() });
    for page in 0..PAGES {
        whole.run(task, Request::Writeback { file, page }).unwrap();
    }
    let on_their_way = whole.kernel().io.iter().count();
    let mut portions = whole.clone();
    whole.advance_time(9).unwrap();
    let until = portions.kernel().now + 9;
    let mut slices = 1;
    while !portions.advance_time_for(until, 500) {
        slices += 1;
    }
    assert!(on_their_way > 1000 && slices >= on_their_way / 500, "{on_their_way}, {slices}");
    assert_eq!(print(&whole), print(&portions));
}

#[test]
fn a_cut_move_leaves_the_first_pages_moved_and_the_others_where_they_were() {
    let (mut machine, task) = heap();
    let Slice::Paused(paused) = machine.run_for(task, move_pages(task), SLICE).unwrap() else {
        panic!("it did not pause")
    };
    let (done, total) = machine.done_of(paused.call()).unwrap().unwrap();
    assert!(machine.cut(paused).unwrap());
    assert_eq!((done % 169, total), (0, PAGES), "whole chunks");
    assert_eq!(machine.kernel().cost.moves, done);
    assert_eq!(machine.kernel().cost.isolations, done, "no page was taken in vain");
}
