//! Soft offline, through the machine; audited after every step.

use crate::base::{CpuId, Errno, MachineSpec, NodeId, NodeMask, PAGE_SIZE, Pfn, Profile, TaskId};
use crate::fault::Pages;
use crate::machine::verbs::Birth;
use crate::machine::{KERNEL_TASK, Machine, Outcome, Request};
use crate::state::frame::PageFlags;
use crate::state::mm::VmFlags;
use crate::state::task::Credentials;
use crate::state::zone::Counter;

/// Two nodes of 32 frames; a task that has written four pages, which are in frames 0 to 3.
fn machine(profile: Profile) -> (Machine, u64) {
    let mut spec = MachineSpec::simple(&[32, 32], 1, false);
    (spec.pageblock_frames, spec.profile) = (16, profile);
    let mut machine = Machine::new(&spec).unwrap();
    let birth = Birth {
        name: "tenant".into(),
        credentials: Credentials::default(),
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    let task = machine.spawn(birth).unwrap();
    let start = machine.mmap(task, 8 * PAGE_SIZE, None, VmFlags::READ | VmFlags::WRITE).unwrap();
    touch(&mut machine, start, 4);
    machine.drain(None).unwrap();
    (machine, start)
}

const TASK: TaskId = TaskId(1);

fn touch(machine: &mut Machine, start: u64, pages: usize) {
    let pages = Pages::Range { start, pages, is_write: true };
    machine.run(TASK, Request::Touch(pages)).unwrap();
}

fn place(machine: &Machine, address: u64) -> Pfn {
    let kernel = machine.kernel();
    kernel.tables.entry(kernel.mms[kernel.tasks[TASK].mm.unwrap()].root, address).pfn()
}

/// Runs a soft offline to its end, step by step, audited after each.
fn retire(machine: &mut Machine, pfn: u32) -> Result<(), Errno> {
    let call = machine.start(KERNEL_TASK, Request::SoftOffline(Pfn(pfn)), true).unwrap();
    while !machine.flight(call).unwrap().is_done() {
        assert!(machine.step(call).unwrap(), "alone, it waits for nothing");
        assert_eq!(machine.audit(), [], "before {}", machine.flight(call).unwrap().at());
    }
    result(machine, call)
}

fn result(machine: &Machine, call: crate::base::CallId) -> Result<(), Errno> {
    match machine.outcome(call).unwrap() {
        Outcome::Returned(result) => result,
        other => panic!("{other:?}"),
    }
}

fn isolated(machine: &Machine) -> i64 {
    machine.kernel().zones.iter().next().unwrap().1.counters.get(Counter::IsolatedAnon)
}

fn free(machine: &Machine) -> u64 {
    machine.kernel().zones.iter().next().unwrap().1.free.count()
}

#[test]
fn the_page_moves_on_its_node_and_the_frame_is_withheld() {
    let (mut machine, start) = machine(Profile::Exact);
    assert_eq!(retire(&mut machine, 1), Ok(()));
    assert_eq!(place(&machine, start + PAGE_SIZE), Pfn(4));
    let frames = |machine: &Machine| machine.kernel().frames[Pfn(1)];
    assert!(frames(&machine).has(PageFlags::HWPOISON));
    assert_eq!(frames(&machine).count(), 1, "a pagevec has it still");
    machine.drain(None).unwrap();
    assert_eq!((frames(&machine).count(), free(&machine), machine.audit()), (0, 27, vec![]));
    touch(&mut machine, start + 4 * PAGE_SIZE, 1);
    assert_eq!(place(&machine, start + 4 * PAGE_SIZE), Pfn(5), "not frame 1 (I-01)");
    assert_eq!(retire(&mut machine, 1), Err(Errno::InputOutput), "it is nobody's");
    assert!(machine.run(TASK, Request::SoftOffline(Pfn(99))).is_err());
}

#[test]
fn q19_the_isolated_counter_ends_at_minus_one_unless_repaired() {
    for (profile, expected) in [(Profile::Exact, -1), (Profile::Repaired, 0)] {
        let (mut machine, _) = machine(profile);
        assert_eq!(retire(&mut machine, 1), Ok(()));
        assert_eq!(isolated(&machine), expected);
        let ledger = &machine.kernel().ledger;
        let zone = machine.kernel().zones.zone_of(Pfn(1));
        assert_eq!(ledger.drift(zone, Counter::IsolatedAnon), expected);
        assert_eq!(ledger.iter().count(), usize::from(expected != 0));
    }
}

#[test]
fn a_free_frame_is_poisoned_and_discarded_when_somebody_picks_it() {
    let (mut machine, start) = machine(Profile::Exact);
    assert_eq!(retire(&mut machine, 4), Ok(()));
    assert_eq!(retire(&mut machine, 4), Ok(()), "as often as you like");
    assert_eq!(free(&machine), 28, "it is counted still");
    touch(&mut machine, start + 4 * PAGE_SIZE, 1);
    assert_eq!((place(&machine, start + 4 * PAGE_SIZE), free(&machine)), (Pfn(5), 26));
    assert_eq!(machine.audit(), []);
    let copy = machine.clone();
    assert_eq!(copy.audit(), [], "a copy has the poison, too");
}

#[test]
fn a_page_in_a_pagevec_is_shaken_loose() {
    let (mut machine, start) = machine(Profile::Exact);
    touch(&mut machine, start + 4 * PAGE_SIZE, 1);
    assert!(!machine.kernel().frames[Pfn(4)].has(PageFlags::LRU));
    assert_eq!(retire(&mut machine, 4), Ok(()));
    assert_eq!(place(&machine, start + 4 * PAGE_SIZE), Pfn(5));
    // The old frame of a migration is free once it has been shaken out of its pagevec.
    assert_eq!(retire(&mut machine, 4), Err(Errno::InputOutput), "withheld by then");
}

#[test]
fn a_page_on_no_list_keeps_a_reference_for_ever() {
    let (mut machine, start) = machine(Profile::Exact);
    machine.isolate(Pfn(2)).unwrap().unwrap();
    assert_eq!(retire(&mut machine, 2), Err(Errno::InputOutput));
    assert_eq!(retire(&mut machine, 2), Err(Errno::InputOutput));
    assert_eq!(machine.kernel().frames[Pfn(2)].count(), 4, "entry, isolation, and two forgotten");
    machine.putback(Pfn(2)).unwrap();
    machine.run(TASK, Request::Munmap { start, len: 8 * PAGE_SIZE }).unwrap();
    machine.drain(None).unwrap();
    assert_eq!((machine.kernel().frames[Pfn(2)].count(), free(&machine)), (2, 31));
    assert_eq!(machine.audit(), []);
}

#[test]
fn a_poisoned_page_is_ebusy_and_a_pinned_one_eio() {
    let (mut machine, start) = machine(Profile::Exact);
    let kernel = machine.kernel_mut();
    kernel.zones.poison(&mut kernel.frames, Pfn(0));
    assert_eq!(retire(&mut machine, 0), Err(Errno::Busy));
    assert_eq!(machine.kernel().frames[Pfn(0)].count(), 1, "its reference went back");
    machine.run(TASK, Request::Pin { address: start + PAGE_SIZE, is_write: true }).unwrap();
    assert_eq!(retire(&mut machine, 1), Err(Errno::InputOutput));
    assert!(!machine.kernel().frames[Pfn(1)].has(PageFlags::HWPOISON));
    assert_eq!((place(&machine, start + PAGE_SIZE), isolated(&machine)), (Pfn(1), -1));
    machine.run(TASK, Request::Unpin(Pfn(1))).unwrap();
    machine.drain(None).unwrap();
    assert_eq!(retire(&mut machine, 1), Ok(()), "later, then");
    assert_eq!(isolated(&machine), -2);
}

#[test]
fn a_full_node_falls_back_and_a_full_machine_is_enomem() {
    let (mut machine, start) = machine(Profile::Exact);
    let rest = machine.mmap(TASK, 60 * PAGE_SIZE, None, VmFlags::READ | VmFlags::WRITE).unwrap();
    touch(&mut machine, rest, 28);
    machine.drain(None).unwrap();
    assert_eq!(retire(&mut machine, 1), Ok(()));
    assert_eq!(machine.kernel().zones.node_of(place(&machine, start + PAGE_SIZE)), NodeId(1));
    touch(&mut machine, rest, 59);
    machine.drain(None).unwrap();
    assert_eq!(retire(&mut machine, 2), Err(Errno::NoMemory));
    assert_eq!(isolated(&machine), -2, "MP-5 lowers it, too");
}

#[test]
fn q34_who_comes_second_waits_for_the_page_and_finds_it_gone_from_its_list() {
    let (mut machine, _) = machine(Profile::Exact);
    let request = Request::SoftOffline(Pfn(1));
    let first = machine.start(KERNEL_TASK, request.clone(), true).unwrap();
    assert!(machine.run_until(first, "SY8-invalidate").unwrap());
    let second = machine.start(KERNEL_TASK, request, true).unwrap();
    assert!(machine.run_until(second, "SY8-lock").unwrap());
    assert!(!machine.step(second).unwrap(), "the first has the page lock");
    assert_eq!(machine.audit(), []);
    assert!(machine.run_until(first, "UM-1").unwrap());
    machine.finish(second).unwrap();
    assert_eq!(result(&machine, second), Err(Errno::Busy));
    machine.finish(first).unwrap();
    assert_eq!((result(&machine, first), machine.audit()), (Ok(()), vec![]));
}

#[test]
fn an_offline_frame_and_the_zero_page_are_eio() {
    let (mut machine, _) = machine(Profile::Exact);
    let request = Request::Offline { first: Pfn(32), count: 16, timeout: 10 };
    machine.run(KERNEL_TASK, request).unwrap();
    assert_eq!(retire(&mut machine, 40), Err(Errno::InputOutput));
    assert!(!machine.kernel().frames[Pfn(40)].has(PageFlags::HWPOISON));
}
