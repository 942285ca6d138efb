//! Snapshots and hashes of whole machines: what is restored is the same, and goes on the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::verbs::Birth;
use super::{BadSnapshot, Machine, Request, Slice};
use crate::base::{CallId, CpuId, MachineSpec, MappingId, NodeId, NodeMask, TaskId};
use crate::fault::Pages;
use crate::migrate::move_pages;
use crate::state::mapping::FileSystem;
use crate::state::mm::VmFlags;
use crate::state::task::Credentials;

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
const PAGE: u64 = 4096;

fn fingerprint(machine: &Machine) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.hash(&mut hasher);
    hasher.finish()
}

fn spawn(machine: &mut Machine) -> TaskId {
    let birth = Birth {
        name: "app".into(),
        credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    machine.spawn(birth).unwrap()
}

/// A machine with swap and bytes, a task, and two pages that it has written.
fn stage() -> (Machine, TaskId, u64) {
    let simple = MachineSpec::simple(&[64, 64], 2, true);
    let mut machine = Machine::new(&MachineSpec { swap_slots: 8, ..simple }).unwrap();
    let task = spawn(&mut machine);
    let start = machine.mmap(task, 2 * PAGE, None, RW).unwrap();
    for at in 0..2 {
        let data = vec![7 + at as u8; 3];
        machine.run(task, Request::Write { address: start + at * PAGE, data }).unwrap();
    }
    machine.drain(None).unwrap();
    (machine, task, start)
}

/// A migration, a store to the page that it moves, and a read from a disk: all begun at once.
fn busy() -> (Machine, [CallId; 3]) {
    let (mut machine, task, start) = stage();
    let file = machine.create_file("file".into(), PAGE, FileSystem::ext()).unwrap();
    machine.record(1000);
    machine.run(task, Request::SwapOut { address: start + PAGE }).unwrap();
    let request = move_pages::Request {
        count: 1,
        addresses: vec![start],
        nodes: vec![NodeId(1)],
        statuses_writable: 4,
        ..move_pages::Request::default()
    };
    let calls = [
        Request::MovePages { target: task, request },
        Request::Touch(Pages::Range { start, pages: 2, is_write: true }),
        Request::ReadFile { file, offset: 0, size: 5 },
    ];
    let calls = calls.map(|request| machine.start(task, request, true).unwrap());
    (machine, calls)
}

#[test]
fn a_machine_restored_before_any_step_is_equal_and_makes_the_same_step() {
    let (mut machine, calls) = busy();
    let mut steps = 0;
    while machine.ready().next().is_some() || machine.flights().any(|(_, it)| !it.is_done()) {
        let bytes = machine.snapshot();
        let mut twin = Machine::restore(&bytes).unwrap();
        assert_eq!(twin.snapshot(), bytes);
        assert_eq!(fingerprint(&twin), fingerprint(&machine));
        assert_eq!(twin.audit(), machine.audit());
        let open = |call: &CallId| !machine.flight(*call).unwrap().is_done();
        let next = calls.iter().copied().filter(open).nth(steps % 2);
        let next = next.or_else(|| calls.iter().copied().find(open)).unwrap();
        let moved = machine.step(next).unwrap();
        assert_eq!(twin.step(next).unwrap(), moved);
        if !moved && machine.ready().next().is_none() {
            machine.run_all().unwrap();
            twin.run_all().unwrap();
        }
        assert_eq!(twin.snapshot(), machine.snapshot());
        steps += 1;
        assert!(steps < 1000, "it comes to an end");
    }
    assert!(steps > 20, "there were states half way: {steps}");
    for call in calls {
        machine.outcome(call).unwrap();
        machine.forget(call).unwrap();
    }
    assert_eq!(machine.audit(), []);
}

#[test]
fn steps_that_do_not_meet_lead_to_equal_machines_in_either_order() {
    let ends = [[0, 1], [1, 0]].map(|order| {
        let (mut machine, first, one) = stage();
        let second = spawn(&mut machine);
        let two = machine.mmap(second, PAGE, None, RW).unwrap();
        machine.run(second, Request::Write { address: two, data: vec![1] }).unwrap();
        machine.drain(None).unwrap();
        let calls = [(first, one), (second, two)].map(|(task, start)| {
            let request = Request::Mprotect { start, len: PAGE, protection: VmFlags::READ };
            machine.start(task, request, true).unwrap()
        });
        let before = fingerprint(&machine);
        for at in order {
            while machine.step(calls[at]).unwrap() {
                assert_ne!(fingerprint(&machine), before);
                if machine.flight(calls[at]).unwrap().is_done() {
                    break;
                }
            }
        }
        (fingerprint(&machine), machine.kernel().recorder.is_on())
    });
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn one_byte_of_memory_one_flag_or_one_step_makes_another_machine() {
    let (machine, task, start) = stage();
    let plain = fingerprint(&machine);
    let with = |request: Request| {
        let mut other = machine.try_clone().unwrap();
        assert_eq!(fingerprint(&other), plain, "a clone is equal");
        other.run(task, request).unwrap();
        fingerprint(&other)
    };
    let stored = with(Request::Write { address: start, data: vec![8] });
    let same = with(Request::Write { address: start, data: vec![7] });
    assert_eq!(same, plain, "the byte that was there");
    assert_ne!(stored, plain);
    assert_ne!(with(Request::Pin { address: start, is_write: false }), plain);
    let mut other = machine.try_clone().unwrap();
    let call = other.start(task, Request::Drain, true).unwrap();
    let begun = fingerprint(&other);
    assert_ne!(begun, plain);
    other.step(call).unwrap();
    assert_ne!(fingerprint(&other), begun);
}

#[test]
fn what_is_no_snapshot_is_refused_for_what_it_is() {
    let (machine, _) = busy();
    let bytes = machine.snapshot();
    let refused = |bytes: &[u8]| Machine::restore(bytes).map(|_| ()).unwrap_err();
    assert_eq!(refused(b"pagemig"), BadSnapshot::Foreign);
    assert_eq!(refused(b""), BadSnapshot::Foreign);
    let change = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        refused(&bytes)
    };
    assert_eq!(change(0), BadSnapshot::Foreign);
    assert!(matches!(change(9), BadSnapshot::Version { .. }));
    assert!(matches!(change(12), BadSnapshot::Length { .. }));
    assert!(matches!(change(20), BadSnapshot::Checksum { .. }));
    for at in (24..bytes.len()).step_by(101) {
        assert!(matches!(change(at), BadSnapshot::Checksum { .. }), "byte {at}");
    }
    for len in (8..bytes.len()).step_by(37) {
        assert!(matches!(refused(&bytes[..len]), BadSnapshot::Length { .. }), "{len} bytes");
    }
}

#[test]
fn a_forged_machine_is_restored_or_refused_and_nothing_is_asserted() {
    let (machine, ..) = stage();
    let mut head = machine.snapshot();
    let body = head.split_off(24);
    for at in 0..body.len().min(2000) {
        for byte in [0xff, 0x80, 0x7f] {
            let mut body = body.clone();
            body[at] = byte;
            let mut bytes = head[..20].to_vec();
            bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
            bytes.extend_from_slice(&body);
            if let Err(bad) = Machine::restore(&bytes) {
                assert!(matches!(bad, BadSnapshot::Nonsense(_)), "{bad}");
            }
        }
    }
}

#[test]
fn a_file_that_was_read_is_restored_with_its_pages() {
    let (mut machine, task, _) = stage();
    let file = machine.create_file("file".into(), PAGE, FileSystem::ext()).unwrap();
    let write = Request::WriteFile { file, offset: 0, size: 3, data: Some(b"abc".to_vec()) };
    machine.run(task, write).unwrap();
    let mut twin = Machine::restore(&machine.snapshot()).unwrap();
    let read = |machine: &mut Machine, file: MappingId| {
        format!("{:?}", machine.run(task, Request::ReadFile { file, offset: 0, size: 3 }).unwrap())
    };
    assert_eq!(read(&mut twin, file), read(&mut machine, file));
}

/// Ends `look` at its first question, its second, and so on, until it comes to something: how many
/// questions that took, and what it came to.
fn ended_everywhere<T>(look: impl Fn(&mut dyn FnMut() -> bool) -> Option<T>) -> (usize, T) {
    for most in 0.. {
        let mut questions = 0;
        let done = look(&mut || {
            questions += 1;
            questions <= most
        });
        assert!(questions <= most + 1, "nobody asks again whoever said no");
        if let Some(done) = done {
            assert_eq!(questions, most, "whoever said no gets nothing");
            return (questions, done);
        }
    }
    unreachable!("it ends when nobody ends it")
}

#[test]
fn a_look_that_is_ended_anywhere_comes_to_nothing_and_changes_nothing() {
    let mut machine = Machine::new(&MachineSpec::simple(&[4096, 64], 1, true)).unwrap();
    let task = spawn(&mut machine);
    let far = machine.mmap(task, 2500 * PAGE, None, RW).unwrap();
    machine.run(task, Request::Write { address: far, data: vec![3; 2500 * 4096] }).unwrap();
    let (print, whole) = (fingerprint(&machine), machine.snapshot());
    let (questions, kept) = ended_everywhere(|goes_on| machine.snapshot_while(goes_on).unwrap());
    assert!(questions > 2 && kept.concat() == whole);
    let (questions, twin) =
        ended_everywhere(|goes_on| Machine::restore_while(&whole, goes_on).unwrap());
    assert!(questions > 2 && fingerprint(&twin) == print);
    let (questions, twin) = ended_everywhere(|goes_on| machine.try_clone_while(goes_on).unwrap());
    assert!(questions > 1 && fingerprint(&twin) == print);
    // A call beside another begins with a copy.
    let mut beside = machine.clone();
    let waiting = Request::Touch(Pages::Range { start: far, pages: 1, is_write: true });
    beside.start(task, waiting, true).unwrap();
    let before = fingerprint(&beside);
    let beside = std::cell::RefCell::new(beside);
    let (questions, _) = ended_everywhere(|goes_on| {
        assert_eq!(fingerprint(&beside.borrow()), before);
        let drain = Request::Drain;
        let slice = beside.borrow_mut().run_for_while(task, drain, 1000, goes_on).unwrap();
        (!matches!(slice, Slice::Stopped)).then_some(slice)
    });
    assert!(questions > 1);
    let (questions, findings) = ended_everywhere(|goes_on| machine.audit_while(goes_on));
    assert!(questions > crate::audit::RULES.len() && findings.is_empty());
    assert_eq!(fingerprint(&machine), print);
}
