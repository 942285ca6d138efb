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

#[test]
fn a_machine_that_is_written_over_is_the_other_one() {
    let (machine, [mover, reader]) = race();
    let after = |schedule: &str| {
        let mut copy = machine.clone();
        replay(&mut copy, &[mover, reader], &schedule.parse().unwrap()).unwrap();
        copy
    };
    let places = [after(""), after("5a"), after("14a1b"), after("14a1b4a"), after("28a")];
    for from in &places {
        for to in &places {
            let mut copy = from.clone();
            copy.copy_from(to);
            assert_eq!(copy.snapshot(), to.snapshot());
            assert_eq!(Fingerprint::of(&copy), Fingerprint::of(to));
            copy.run_all().unwrap();
            assert_eq!(copy.audit(), []);
        }
    }
}

#[test]
fn a_panic_is_a_finding_with_its_words() {
    let fallen = crate::point::guarded(|| -> u32 { panic!("page {} unlocked twice", 7) });
    assert_eq!(fallen.unwrap_err(), "page 7 unlocked twice");
    assert_eq!(crate::seen::without_numbers("page 17 of 4 twice"), "page # of # twice");
}

#[test]
fn a_sample_shrinks_what_it_finds() {
    let (machine, calls) = race();
    let found: Schedule = "3a1b1a".parse().unwrap();
    let trial = crate::shrinking::try_out(&machine, &calls, found.steps());
    assert_eq!(trial.schedule, found, "nothing is wrong, so all of it is followed");
    assert_eq!(trial.faults, []);
}
