//! How a call is sliced changes nothing but when it can be looked at.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::verbs::Birth;
use super::{Machine, Request, Slice};
use crate::base::{CpuId, MachineSpec, NodeId, NodeMask, PAGE_SIZE, Pfn, TaskId};
use crate::fault::Pages;
use crate::migrate::move_pages;
use crate::migrate::query::Question;
use crate::migrate::target::Target;
use crate::state::mm::VmFlags;
use crate::state::task::Credentials;

const START: u64 = 0x10_0000;
const PAGES: u64 = 3000;

fn print(machine: &Machine) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.hash(&mut hasher);
    hasher.finish()
}

/// A machine whose task has so many pages on node 0.
fn heap() -> (Machine, TaskId) {
    let mut machine = Machine::new(&MachineSpec::simple(&[8000, 8000], 2, false)).unwrap();
    let birth = Birth {
        name: "sliced".into(),
        credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    let task = machine.spawn(birth).unwrap();
    let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::MAYREAD | VmFlags::MAYWRITE;
    machine.mmap(task, PAGES * PAGE_SIZE, Some(START), flags).unwrap();
    machine.run(task, touch()).unwrap();
    (machine, task)
}

fn touch() -> Request {
    Request::Touch(Pages::Range { start: START, pages: PAGES as usize, is_write: true })
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

fn requests(task: TaskId) -> Vec<Request> {
    let question =
        Question { count: PAGES, addresses: addresses(), status_bytes_writable: 4 * PAGES };
    let (from, to) = (NodeMask(1), NodeMask(2));
    let frames = (100..2900).map(Pfn).collect();
    vec![
        touch(),
        move_pages(task),
        Request::QueryPages { target: task, question },
        Request::MigratePages { target: task, from, to, is_shared_too: true },
        Request::MigrateFrames { frames, target: Target::Anywhere, is_offlining: false },
        Request::Fork { name: "child".into() },
        Request::Munmap { start: START, len: PAGES * PAGE_SIZE },
        Request::Exit,
    ]
}

#[test]
fn a_call_in_slices_has_the_same_effects_as_in_one_go() {
    let task = heap().1;
    for request in requests(task) {
        let verb = request.verb();
        let (mut whole, mut sliced) = (heap().0, heap().0);
        let outcome = whole.run(task, request.clone()).unwrap();
        let mut slices = 1;
        let mut slice = sliced.run_for(task, request, 700).unwrap();
        let other = loop {
            match slice {
                Slice::Done(outcome) => break outcome,
                Slice::Paused(call) => {
                    assert_eq!(sliced.audit(), [], "{verb}, slice {slices}");
                    slice = sliced.resume_for(call, 700).unwrap();
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
    let task = heap().1;
    for request in requests(task) {
        let verb = request.verb();
        let mut machine = heap().0;
        let Slice::Paused(call) = machine.run_for(task, request, 700).unwrap() else {
            panic!("{verb} did not pause")
        };
        let is_over = machine.cut(call).unwrap();
        assert_eq!(is_over, matches!(verb, "touch" | "move_pages"), "{verb}");
        assert_eq!(machine.audit(), [], "{verb}, cut");
        assert_eq!(machine.flights().count(), usize::from(!is_over), "{verb}");
        machine.run_all().unwrap();
        assert_eq!(machine.audit(), [], "{verb}, finished");
    }
}

#[test]
fn a_cut_move_leaves_the_first_pages_moved_and_the_others_where_they_were() {
    let (mut machine, task) = heap();
    let Slice::Paused(call) = machine.run_for(task, move_pages(task), 700).unwrap() else {
        panic!("it did not pause")
    };
    let (done, total) = machine.done_of(call).unwrap().unwrap();
    assert!(machine.cut(call).unwrap());
    assert_eq!((done % 169, total), (0, PAGES), "whole chunks");
    assert_eq!(machine.kernel().cost.moves, done);
    assert_eq!(machine.kernel().cost.isolations, done, "no page was taken in vain");
}
