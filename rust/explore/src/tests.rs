//! Races of one page: replayed, searched, counted.

use crate::*;
use pagemig_core::base::{CallId, CpuId, MachineSpec, NodeId, NodeMask, TaskId};
use pagemig_core::fault::Pages;
use pagemig_core::machine::verbs::Birth;
use pagemig_core::machine::{Machine, Request};
use pagemig_core::migrate::move_pages;
use pagemig_core::state::mm::VmFlags;
use pagemig_core::state::task::Credentials;
use pagemig_core::step::Schedule;

/// A task with one written page, a call that moves it, and one that reads it.
fn race() -> (Machine, [CallId; 2]) {
    let mut machine = Machine::new(&MachineSpec::simple(&[64, 64], 2, true)).unwrap();
    let birth = Birth {
        name: "racer".into(),
        credentials: Credentials::default(),
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: true,
    };
    let task: TaskId = machine.spawn(birth).unwrap();
    let start = machine.mmap(task, 4096, None, VmFlags::READ | VmFlags::WRITE).unwrap();
    machine.run(task, Request::Write { address: start, data: b"hello".to_vec() }).unwrap();
    let request = move_pages::Request {
        count: 1,
        addresses: vec![start],
        nodes: vec![NodeId(1)],
        statuses_writable: 1,
        ..move_pages::Request::default()
    };
    let mover = machine.start(task, Request::MovePages { target: task, request }, true).unwrap();
    let touch = Pages::Range { start, pages: 1, is_write: false };
    let reader = machine.start(task, Request::Touch(touch), true).unwrap();
    (machine, [mover, reader])
}

#[test]
fn a_schedule_is_followed_step_by_step_and_twice_alike() {
    let (machine, calls) = race();
    let schedule: Schedule = "12a1b".parse().unwrap();
    let run = || {
        let mut copy = machine.clone();
        copy.record(1000);
        replay(&mut copy, &calls, &schedule).unwrap();
        copy.run_all().unwrap();
        assert_eq!(copy.audit(), []);
        format!("{:?}", copy.kernel().recorder)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_schedule_that_cannot_be_followed_says_where() {
    let (machine, calls) = race();
    let fails =
        |text: &str| replay(&mut machine.clone(), &calls, &text.parse().unwrap()).unwrap_err();
    assert!(matches!(fails("1c"), ReplayError::UnknownCall { step: 0, letter: 'c', .. }));
    assert!(matches!(fails("5b"), ReplayError::Done { letter: 'b', .. }));
}

fn settings(strategy: Strategy) -> Settings {
    Settings {
        strategy,
        memory: 1 << 30,
        transitions: None,
        steps: 1_000_000,
        stops_at_first: false,
        reduces: true,
    }
}

#[test]
fn every_schedule_of_a_race_is_counted() {
    let (machine, calls) = race();
    let mut search = Exploration::new(
        machine,
        calls.to_vec(),
        settings(Strategy::Exhaustive { preemptions: None }),
    );
    while !search.advance(100) {}
    let report = search.report();
    assert_eq!(search.stop(), Some(Stop::Covered));
    assert_eq!(report.findings, []);
    assert!(report.is_exact && report.schedules > 100);
    assert_eq!(report.ends.iter().map(|end| end.schedules).sum::<u128>(), report.schedules);
}
