//! Changes of cpusets, through the machine; audited after every step.

use super::Change;
use crate::base::{
    CallId, CpuId, CpusetId, Errno, MachineSpec, NodeId, NodeMask, PAGE_SIZE, TaskId,
};
use crate::fault::Pages;
use crate::machine::verbs::Birth;
use crate::machine::{KERNEL_TASK, Machine, Outcome, Request};
use crate::migrate::collect::Wanted;
use crate::state::mm::VmFlags;
use crate::state::policy::{Asked, Mode, Policy};
use crate::state::task::Credentials;

const ROOT: CpusetId = CpusetId(0);

/// Four nodes of 32 frames.
fn machine() -> Machine {
    Machine::new(&MachineSpec::simple(&[32; 4], 1, false)).unwrap()
}

fn spawn(machine: &mut Machine, mems_allowed: u64) -> TaskId {
    let birth = Birth {
        name: "member".into(),
        credentials: Credentials::default(),
        mems_allowed: NodeMask(mems_allowed),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    machine.spawn(birth).unwrap()
}

fn create(
    machine: &mut Machine,
    name: &str,
    mems: u64,
    migrates: bool,
    parent: CpusetId,
) -> Result<CpusetId, Errno> {
    machine.create_cpuset(name.into(), NodeMask(mems), migrates, parent).unwrap()
}

/// Runs a change by `writer` step by step, audited after each.
fn change(
    machine: &mut Machine,
    writer: TaskId,
    cpuset: CpusetId,
    change: Change,
) -> Result<(), Errno> {
    let call = machine.start(writer, Request::ChangeCpuset { cpuset, change }, true).unwrap();
    while !machine.flight(call).unwrap().is_done() {
        assert!(machine.step(call).unwrap(), "alone, it waits for nothing");
        assert_eq!(machine.audit(), [], "before {}", machine.flight(call).unwrap().at());
    }
    result(machine, call)
}

fn result(machine: &Machine, call: CallId) -> Result<(), Errno> {
    match machine.outcome(call).unwrap() {
        Outcome::Returned(result) => result,
        other => panic!("{other:?}"),
    }
}

fn set(machine: &mut Machine, cpuset: CpusetId, mems: u64) -> Result<(), Errno> {
    change(machine, KERNEL_TASK, cpuset, Change::Mems(NodeMask(mems)))
}

fn attach(machine: &mut Machine, cpuset: CpusetId, task: TaskId) -> Result<(), Errno> {
    change(machine, KERNEL_TASK, cpuset, Change::Attach(task))
}

/// Maps and writes pages; returns where.
fn memory(machine: &mut Machine, task: TaskId, pages: usize) -> u64 {
    let len = pages as u64 * PAGE_SIZE;
    let start = machine.mmap(task, len, None, VmFlags::READ | VmFlags::WRITE).unwrap();
    touch(machine, task, start, pages);
    machine.drain(None).unwrap();
    start
}

fn touch(machine: &mut Machine, task: TaskId, start: u64, pages: usize) {
    let pages = Pages::Range { start, pages, is_write: true };
    machine.run(task, Request::Touch(pages)).unwrap();
}

fn nodes(machine: &Machine, task: TaskId, start: u64, pages: u64) -> Vec<u8> {
    let kernel = machine.kernel();
    let root = kernel.mms[kernel.tasks[task].mm.unwrap()].root;
    let node = |n| kernel.zones.node_of(kernel.tables.entry(root, start + n * PAGE_SIZE).pfn()).0;
    (0..pages).map(node).collect()
}

fn mems(machine: &Machine, task: TaskId) -> u64 {
    machine.kernel().tasks[task].mems_allowed.0
}

fn policy(mode: Mode, nodes: u64) -> Policy {
    Policy { mode, nodes: NodeMask(nodes), ..Policy::default() }
}

/// Gives a range of the task's memory a policy, without moving anything.
fn mbind(machine: &mut Machine, task: TaskId, start: u64, pages: u64, policy: Policy) {
    let len = pages * PAGE_SIZE;
    let request = Request::Mbind { start, len, policy: Some(policy), wanted: Wanted::default() };
    let Outcome::Returned(Ok(())) = machine.run(task, request).unwrap() else { panic!("mbind") };
}

fn area_policy(machine: &Machine, task: TaskId, start: u64) -> u64 {
    let kernel = machine.kernel();
    let area = kernel.mms[kernel.tasks[task].mm.unwrap()].find_vma(start).unwrap();
    kernel.vmas[area].policy.unwrap().nodes.0
}

#[test]
fn tasks_begin_in_the_root_unless_their_nodes_were_given_by_hand() {
    let mut machine = machine();
    let (one, two) = (spawn(&mut machine, 15), spawn(&mut machine, 3));
    let cpuset = |machine: &Machine, task| machine.kernel().tasks[task].cpuset;
    assert_eq!((cpuset(&machine, one), cpuset(&machine, two)), (Some(ROOT), None));
    let some = create(&mut machine, "some", 2, false, ROOT).unwrap();
    assert_eq!(attach(&mut machine, some, two), Ok(()));
    assert_eq!((cpuset(&machine, two), mems(&machine, two)), (Some(some), 2));
    let Outcome::Child(Ok(child)) =
        machine.run(two, Request::Fork { name: "child".into() }).unwrap()
    else {
        panic!("no child")
    };
    assert_eq!((cpuset(&machine, child), mems(&machine, child)), (Some(some), 2), "inherited");
    machine.set_mems_allowed(child, NodeMask(12)).unwrap();
    assert_eq!(cpuset(&machine, child), None);
    assert_eq!(set(&mut machine, some, 1), Ok(()));
    assert_eq!((mems(&machine, two), mems(&machine, child)), (1, 12));
    assert_eq!(attach(&mut machine, ROOT, child), Ok(()));
    assert_eq!(mems(&machine, child), 15);
}

#[test]
fn a_new_cpuset_is_refused_as_its_directory_and_its_nodes_would_be() {
    let mut machine = machine();
    let outer = create(&mut machine, "outer", 7, true, ROOT).unwrap();
    assert_eq!(create(&mut machine, "outer", 1, false, ROOT), Err(Errno::Exists));
    assert_eq!(create(&mut machine, "inner", 16, false, outer), Err(Errno::Invalid));
    assert_eq!(create(&mut machine, "inner", 8, false, outer), Err(Errno::Access));
    assert_eq!(create(&mut machine, "outer", 3, false, outer), Ok(CpusetId(2)), "another place");
    assert!(machine.create_cpuset("a/b".into(), NodeMask(1), false, ROOT).is_err());
    assert!(machine.create_cpuset("a".into(), NodeMask(1), false, CpusetId(9)).is_err());
    assert_eq!(machine.kernel().cpusets.rows.len(), 3, "nothing else was made");
    assert!(!machine.kernel().cpusets.rows[2].memory_migrate, "not inherited");
}

#[test]
fn sp18_new_nodes_are_refused_in_the_order_of_the_kernel() {
    let mut machine = machine();
    let outer = create(&mut machine, "outer", 7, false, ROOT).unwrap();
    let inner = create(&mut machine, "inner", 3, false, outer).unwrap();
    let task = spawn(&mut machine, 15);
    assert_eq!(attach(&mut machine, inner, task), Ok(()));
    assert_eq!(set(&mut machine, ROOT, 16), Err(Errno::Access), "the root comes first");
    assert_eq!(set(&mut machine, inner, 16 | 8), Err(Errno::Invalid), "then memory");
    assert_eq!(set(&mut machine, inner, 3), Ok(()), "then nothing at all");
    assert_eq!(set(&mut machine, outer, 8 | 1), Err(Errno::Busy), "then children");
    assert_eq!(set(&mut machine, inner, 8), Err(Errno::Access), "then the parent");
    assert_eq!(set(&mut machine, inner, 0), Err(Errno::NoSpace), "then the tasks");
    assert_eq!(mems(&machine, task), 3);
    let empty = create(&mut machine, "empty", 0, false, ROOT).unwrap();
    assert_eq!(attach(&mut machine, empty, task), Err(Errno::NoSpace));
    assert_eq!(machine.kernel().tasks[task].cpuset, Some(inner));
    assert_eq!(attach(&mut machine, outer, task), Ok(()));
    assert_eq!(set(&mut machine, inner, 0), Ok(()), "nobody is in it any more");
    let nobody = Request::ChangeCpuset { cpuset: inner, change: Change::Attach(TaskId(77)) };
    assert!(machine.run(KERNEL_TASK, nobody).is_err());
    let nowhere = Request::ChangeCpuset { cpuset: CpusetId(9), change: Change::Attach(task) };
    assert!(machine.run(KERNEL_TASK, nowhere).is_err());
}

#[test]
fn sp18_pages_follow_by_their_place_if_the_cpuset_says_so() {
    for migrates in [false, true] {
        let mut machine = machine();
        let one = create(&mut machine, "one", 0b0011, migrates, ROOT).unwrap();
        let task = spawn(&mut machine, 15);
        assert_eq!(attach(&mut machine, one, task), Ok(()));
        machine.set_task_policy(task, policy(Mode::Interleave, 3)).unwrap().unwrap();
        let start = memory(&mut machine, task, 4);
        let before = nodes(&machine, task, start, 4);
        assert!(before.contains(&0) && before.contains(&1));
        assert_eq!(set(&mut machine, one, 0b1100), Ok(()));
        let shift = if migrates { 2 } else { 0 };
        let expected: Vec<u8> = before.iter().map(|node| node + shift).collect();
        assert_eq!(nodes(&machine, task, start, 4), expected);
        assert_eq!(machine.kernel().tasks[task].policy.nodes, NodeMask(0b1100));
        let later = memory(&mut machine, task, 2);
        assert!(nodes(&machine, task, later, 2).iter().all(|node| *node >= 2), "new pages do");
        assert_eq!(mems(&machine, KERNEL_TASK), u64::MAX, "the writer's nodes are back");
    }
}

#[test]
fn sp18_attaching_goes_by_the_destination_and_leaves_other_nodes_alone() {
    let mut machine = machine();
    let from = create(&mut machine, "from", 0b0001, true, ROOT).unwrap();
    let stays = create(&mut machine, "stays", 0b0010, false, ROOT).unwrap();
    let to = create(&mut machine, "to", 0b0010, true, ROOT).unwrap();
    let task = spawn(&mut machine, 0b1000);
    let outside = memory(&mut machine, task, 2);
    assert_eq!(attach(&mut machine, from, task), Ok(()));
    assert_eq!(nodes(&machine, task, outside, 2), [0, 0], "from its old nodes to the new");
    machine.set_mems_allowed(task, NodeMask(0b1000)).unwrap();
    let outside = memory(&mut machine, task, 2);
    machine.set_mems_allowed(task, NodeMask(1)).unwrap();
    let inside = memory(&mut machine, task, 2);
    assert_eq!(attach(&mut machine, stays, task), Ok(()));
    assert_eq!(nodes(&machine, task, inside, 2), [0, 0], "the destination does not migrate");
    machine.set_mems_allowed(task, NodeMask(1)).unwrap();
    assert_eq!(attach(&mut machine, to, task), Ok(()));
    assert_eq!(nodes(&machine, task, inside, 2), [1, 1]);
    assert_eq!(nodes(&machine, task, outside, 2), [3, 3], "they were not on an old node");
    assert_eq!(attach(&mut machine, to, task), Ok(()), "it is there");
}

#[test]
fn sp18_policies_of_task_and_areas_are_bound_to_the_new_nodes() {
    let mut machine = machine();
    let one = create(&mut machine, "one", 0b0011, false, ROOT).unwrap();
    let task = spawn(&mut machine, 15);
    assert_eq!(attach(&mut machine, one, task), Ok(()));
    let start = memory(&mut machine, task, 4);
    let asked = |is_static, nodes| Some(Asked { is_static, nodes: NodeMask(nodes) });
    mbind(&mut machine, task, start, 1, policy(Mode::Bind, 0b10));
    let relative = Policy { asked: asked(false, 0b11), ..policy(Mode::Bind, 0b11) };
    mbind(&mut machine, task, start + PAGE_SIZE, 1, relative);
    let fixed = Policy { asked: asked(true, 0b1010), ..policy(Mode::Bind, 0b10) };
    mbind(&mut machine, task, start + 2 * PAGE_SIZE, 1, fixed);
    machine.set_task_policy(task, policy(Mode::Preferred, 0b01)).unwrap().unwrap();
    assert_eq!(set(&mut machine, one, 0b1100), Ok(()));
    let at = |n| area_policy(&machine, task, start + n * PAGE_SIZE);
    assert_eq!([at(0), at(1), at(2)], [0b1000, 0b1100, 0b1000]);
    // By way of the union: 0 is the first of {0,1} and of {0,1,2,3}, and of {2,3} in the end.
    assert_eq!(machine.kernel().tasks[task].policy.nodes, NodeMask(0b0100));
}

#[test]
fn sp18_the_interleave_of_the_writer_moves_on() {
    let mut machine = machine();
    let one = create(&mut machine, "one", 0b0011, false, ROOT).unwrap();
    let (task, writer) = (spawn(&mut machine, 15), spawn(&mut machine, 15));
    assert_eq!(attach(&mut machine, one, task), Ok(()));
    machine.set_task_policy(task, policy(Mode::Interleave, 0b11)).unwrap().unwrap();
    let next = |machine: &Machine, task| machine.kernel().tasks[task].next_interleave;
    assert_eq!(change(&mut machine, writer, one, Change::Mems(NodeMask(0b1100))), Ok(()));
    // First to the union, where node 0 is one of its nodes, then to {2,3}.
    assert_eq!(next(&machine, writer), NodeId(2));
    assert_eq!(next(&machine, task), NodeId(0), "not that of the task concerned");
}

#[test]
fn sp18_a_task_may_use_both_sets_between_the_two_steps() {
    let mut machine = machine();
    let one = create(&mut machine, "one", 0b0011, false, ROOT).unwrap();
    let task = spawn(&mut machine, 15);
    assert_eq!(attach(&mut machine, one, task), Ok(()));
    machine.set_task_policy(task, policy(Mode::Bind, 0b10)).unwrap().unwrap();
    let request = Request::ChangeCpuset { cpuset: one, change: Change::Mems(NodeMask(0b1100)) };
    let call = machine.start(KERNEL_TASK, request, true).unwrap();
    assert!(machine.run_until(call, "SP18-1-new").unwrap());
    assert_eq!(mems(&machine, task), 0b1111);
    let start = memory(&mut machine, task, 1);
    assert_eq!(nodes(&machine, task, start, 1), [1], "an allocation in between finds a node");
    machine.finish(call).unwrap();
    assert_eq!((mems(&machine, task), machine.audit()), (0b1100, vec![]));
}

#[test]
fn sp18_areas_are_rebound_under_mmap_sem_and_the_memory_outlives_its_task() {
    let mut machine = machine();
    let one = create(&mut machine, "one", 0b0011, true, ROOT).unwrap();
    let task = spawn(&mut machine, 15);
    assert_eq!(attach(&mut machine, one, task), Ok(()));
    let start = memory(&mut machine, task, 4);
    let request = Request::ChangeCpuset { cpuset: one, change: Change::Mems(NodeMask(0b1100)) };
    let call = machine.start(KERNEL_TASK, request, true).unwrap();
    assert!(machine.run_until(call, "SP18-2").unwrap());
    let munmap = Request::Munmap { start, len: PAGE_SIZE };
    let other = machine.start(task, munmap, true).unwrap();
    assert!(machine.run_until(other, "SP6-zap").unwrap(), "it has mmap_sem for writing");
    assert!(!machine.step(call).unwrap());
    machine.finish(other).unwrap();
    let exit = machine.start(task, Request::Exit, true).unwrap();
    machine.finish(exit).unwrap();
    assert_eq!(machine.audit(), [], "the change still uses the memory");
    machine.finish(call).unwrap();
    assert_eq!((result(&machine, call), machine.audit()), (Ok(()), vec![]));
    machine.drain(None).unwrap();
    let free: u64 = machine.kernel().zones.iter().map(|(_, zone)| zone.free.count()).sum();
    assert_eq!(free, 128, "its last user was the change");
}

#[test]
fn q23_pages_land_within_the_nodes_that_the_writer_has_for_the_while() {
    let mut machine = machine();
    let one = create(&mut machine, "one", 0b0001, true, ROOT).unwrap();
    let (task, writer) = (spawn(&mut machine, 15), spawn(&mut machine, 0b0001));
    assert_eq!(attach(&mut machine, one, task), Ok(()));
    let start = memory(&mut machine, task, 4);
    assert_eq!(change(&mut machine, writer, one, Change::Mems(NodeMask(0b0100))), Ok(()));
    assert_eq!(nodes(&machine, task, start, 4), [2; 4], "its own would have kept them on node 0");
    assert_eq!(mems(&machine, writer), 0b0001);
}

#[test]
fn a_writer_who_is_concerned_himself_ends_up_with_the_new_nodes() {
    let mut machine = machine();
    let one = create(&mut machine, "one", 0b0011, true, ROOT).unwrap();
    let (task, other) = (spawn(&mut machine, 15), spawn(&mut machine, 15));
    for member in [task, other] {
        assert_eq!(attach(&mut machine, one, member), Ok(()));
    }
    let start = memory(&mut machine, task, 3);
    assert_eq!(change(&mut machine, task, one, Change::Mems(NodeMask(0b1000))), Ok(()));
    assert_eq!((mems(&machine, task), mems(&machine, other)), (0b1000, 0b1000));
    assert_eq!(nodes(&machine, task, start, 3), [3; 3]);
}
