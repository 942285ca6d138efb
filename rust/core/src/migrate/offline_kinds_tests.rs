//! Offlining and soft offline of pages that are not plain anonymous memory: files, orphans, the swap
//! cache, KSM. Audited after every step.

use crate::base::{CallId, CpuId, Errno, MachineSpec, MappingId, NodeMask, PAGE_SIZE, Pfn, TaskId};
use crate::fault::Pages;
use crate::machine::verbs::Birth;
use crate::machine::{KERNEL_TASK, Machine, Outcome, Request};
use crate::state::frame::{Owner, PageFlags};
use crate::state::mapping::{FileSystem, Migrate};
use crate::state::mm::VmFlags;
use crate::state::task::Credentials;

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
const TASK: TaskId = TaskId(1);

/// Two nodes of 64 frames in blocks of 16, with bytes and swap; the first block is full of a task's
/// own pages, so that what comes next is in the second.
fn machine() -> Machine {
    let mut spec = MachineSpec::simple(&[64, 64], 1, true);
    (spec.pageblock_frames, spec.swap_slots) = (16, 64);
    let mut machine = Machine::new(&spec).unwrap();
    spawn(&mut machine);
    area(&mut machine, TASK, RW, 16);
    machine
}

fn spawn(machine: &mut Machine) -> TaskId {
    let birth = Birth {
        name: "tenant".into(),
        credentials: Credentials::default(),
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    machine.spawn(birth).unwrap()
}

/// An area whose pages all begin with the byte 7.
fn area(machine: &mut Machine, task: TaskId, flags: VmFlags, pages: usize) -> u64 {
    let start = machine.mmap(task, pages as u64 * PAGE_SIZE, None, flags).unwrap();
    for page in 0..pages as u64 {
        let write = Request::Write { address: start + page * PAGE_SIZE, data: vec![7] };
        machine.run(task, write).unwrap();
    }
    machine.drain(None).unwrap();
    start
}

fn file(machine: &mut Machine, kind: FileSystem, pages: u64, is_dirty: bool) -> MappingId {
    let file = machine.create_file("file".into(), pages * PAGE_SIZE, kind).unwrap();
    let size = pages * PAGE_SIZE;
    machine.run(TASK, Request::ReadFile { file, offset: 0, size }).unwrap();
    if is_dirty {
        let data = Some(vec![9; size as usize]);
        machine.run(TASK, Request::WriteFile { file, offset: 0, size, data }).unwrap();
    }
    machine.drain(None).unwrap();
    file
}

/// The frames of a file's pages.
fn cached(machine: &Machine, file: MappingId) -> Vec<u32> {
    let tree = &machine.kernel().mappings[file].tree;
    (0..64).filter_map(|index| tree.get(index)).map(|page| page.0).collect()
}

/// Steps a call to its end, audited after each step; time passes while it waits.
fn finish(machine: &mut Machine, call: CallId) -> Result<(), Errno> {
    while !machine.flight(call).unwrap().is_done() {
        if !machine.step(call).unwrap() {
            machine.advance_time(1).unwrap();
        }
        assert_eq!(machine.audit(), [], "before {}", machine.flight(call).unwrap().at());
    }
    match machine.outcome(call).unwrap() {
        Outcome::Returned(result) => result,
        other => panic!("{other:?}"),
    }
}

/// Takes the second block offline.
fn offline(machine: &mut Machine, timeout: u64) -> Result<(), Errno> {
    let request = Request::Offline { first: Pfn(16), count: 16, timeout };
    let call = machine.start(KERNEL_TASK, request, true).unwrap();
    finish(machine, call)
}

fn retire(machine: &mut Machine, pfn: u32) -> Result<(), Errno> {
    let call = machine.start(KERNEL_TASK, Request::SoftOffline(Pfn(pfn)), true).unwrap();
    finish(machine, call)
}

fn page(machine: &Machine, task: TaskId, address: u64) -> Pfn {
    let kernel = machine.kernel();
    kernel.tables.entry(kernel.mms[kernel.tasks[task].mm.unwrap()].root, address).pfn()
}

#[test]
fn pages_of_files_move_dirty_or_clean() {
    for is_dirty in [false, true] {
        let mut machine = machine();
        let file = file(&mut machine, FileSystem::ext(), 4, is_dirty);
        assert_eq!(cached(&machine, file), [16, 17, 18, 19]);
        assert_eq!(offline(&mut machine, 1000), Ok(()));
        assert!(cached(&machine, file).iter().all(|pfn| !(16..32).contains(pfn)));
        let size = 4 * PAGE_SIZE;
        let read = machine.run(TASK, Request::ReadFile { file, offset: 0, size }).unwrap();
        let Outcome::FileRead(Ok(data)) = read else { panic!("{read:?}") };
        let expected = if is_dirty { 9 } else { 0 };
        assert!(data.len() == size as usize && data.iter().all(|&byte| byte == expected));
    }
}

#[test]
fn dirty_pages_that_must_be_written_first_are_waited_for() {
    let mut machine = machine();
    let kind = FileSystem {
        name: "block device".into(),
        migrate: Migrate::Fallback,
        io_ticks: Some(5),
        ..FileSystem::ext()
    };
    let file = file(&mut machine, kind, 3, true);
    machine.advance_time(100).unwrap();
    assert_eq!(offline(&mut machine, 1000), Ok(()));
    assert_eq!(machine.kernel().now, 105, "as long as a write takes, and no round more");
    assert_eq!(cached(&machine, file).len(), 3);
}

#[test]
fn s27_an_orphan_is_in_the_way_as_long_as_its_buffers_are_busy() {
    let mut machine = machine();
    let file = file(&mut machine, FileSystem::ext(), 1, true);
    let orphan = Pfn(cached(&machine, file)[0]);
    machine.hold_buffer(orphan, 0, false).unwrap();
    machine.run(TASK, Request::Truncate { file, size: 0 }).unwrap();
    machine.drain(None).unwrap();
    let frame = machine.kernel().frames[orphan];
    assert!(frame.is_unowned() && frame.has(PageFlags::PRIVATE) && frame.has(PageFlags::LRU));
    assert_eq!(offline(&mut machine, 3), Err(Errno::Again));
    machine.drain(None).unwrap();
    machine.release_buffer(orphan, 0).unwrap();
    assert_eq!(offline(&mut machine, 3), Ok(()));
    assert_eq!(machine.kernel().frames[orphan].flags(), PageFlags::RESERVED, "freed, then gone");
}

#[test]
fn s28_a_page_that_is_in_the_swap_cache_only_moves_with_its_slot() {
    let mut machine = machine();
    let start = area(&mut machine, TASK, RW, 1);
    machine.run(TASK, Request::SwapOut { address: start }).unwrap();
    let child = machine.run(TASK, Request::Fork { name: "child".into() }).unwrap();
    let Outcome::Child(Ok(child)) = child else { panic!("{child:?}") };
    // The parent's read brings it in, and the child's slot keeps it there.
    machine.run(TASK, Request::Read { address: start, size: 1 }).unwrap();
    machine.run(TASK, Request::Munmap { start, len: PAGE_SIZE }).unwrap();
    machine.drain(None).unwrap();
    let [(_, old)] = in_swap_cache(&machine)[..] else { panic!("one page") };
    let frame = machine.kernel().frames[old];
    assert!(frame.has(PageFlags::LRU) && !frame.is_mapped() && (16..32).contains(&old.0));
    assert_eq!(offline(&mut machine, 1000), Ok(()));
    let [(_, new)] = in_swap_cache(&machine)[..] else { panic!("it is cached still") };
    assert!(!(16..32).contains(&new.0));
    let read = machine.run(child, Request::Read { address: start, size: 1 }).unwrap();
    let Outcome::Accessed(tally, data) = read else { panic!("{read:?}") };
    assert_eq!((tally.major, data), (0, vec![7]), "found under its slot");
}

/// The pages in the swap cache, with their places in it.
fn in_swap_cache(machine: &Machine) -> Vec<(u64, Pfn)> {
    machine.kernel().mappings[MappingId::SWAPPER].tree.iter().collect()
}

/// Two tasks whose one page each was merged, and where those are.
fn merged(machine: &mut Machine) -> ([(TaskId, u64); 2], Pfn) {
    let flags = RW | VmFlags::MERGEABLE;
    let other = spawn(machine);
    let places = [TASK, other].map(|task| (task, area(machine, task, flags, 1)));
    machine.run(KERNEL_TASK, Request::KsmScan).unwrap();
    machine.run(KERNEL_TASK, Request::KsmScan).unwrap();
    machine.drain(None).unwrap();
    let [one, two] = places.map(|(task, start)| page(machine, task, start));
    assert_eq!(one, two, "merged");
    assert!(machine.kernel().frames[one].is_ksm());
    (places, one)
}

#[test]
fn s36_a_merged_page_moves_under_offlining_and_stays_merged() {
    let mut machine = machine();
    let (places, old) = merged(&mut machine);
    assert!((16..32).contains(&old.0));
    let Owner::Ksm(Some(node)) = machine.kernel().frames[old].owner() else { panic!("no node") };
    assert_eq!(retire(&mut machine, old.0), Err(Errno::InputOutput), "UM-4: not for soft offline");
    machine.drain(None).unwrap();
    assert_eq!(offline(&mut machine, 1000), Ok(()));
    let [new, other] = places.map(|(task, start)| page(&machine, task, start));
    assert!(new == other && !(16..32).contains(&new.0));
    assert_eq!(machine.kernel().frames[new].owner(), Owner::Ksm(Some(node)));
    assert_eq!(machine.kernel().ksm.nodes[node].kpfn, new);
    for (task, address) in places {
        let read = machine.run(task, Request::Read { address, size: 1 }).unwrap();
        assert!(matches!(read, Outcome::Accessed(_, data) if data == [7]));
    }
}

#[test]
fn stale_nodes_of_the_range_go_and_ksmd_waits_meanwhile() {
    let mut machine = machine();
    let (places, old) = merged(&mut machine);
    for (task, start) in places {
        machine.run(task, Request::Munmap { start, len: PAGE_SIZE }).unwrap();
    }
    assert!(machine.kernel().zones.is_free(old));
    assert_eq!(machine.kernel().ksm.nodes.iter().count(), 1, "nobody has looked yet");
    let request = Request::Offline { first: Pfn(16), count: 16, timeout: 9 };
    let call = machine.start(KERNEL_TASK, request, true).unwrap();
    assert!(machine.run_until(call, "SY7-5a").unwrap());
    let scan = machine.start(KERNEL_TASK, Request::KsmScan, true).unwrap();
    assert!(machine.finish(scan).is_err(), "the offliner has ksm_thread_mutex");
    assert_eq!(finish(&mut machine, call), Ok(()));
    assert_eq!(machine.kernel().ksm.nodes.iter().count(), 0, "step 9");
    machine.finish(scan).unwrap();
    assert_eq!(machine.audit(), []);
}

#[test]
fn soft_offline_drops_a_clean_page_of_a_file_and_moves_a_dirty_one() {
    let mut machine = machine();
    let one = file(&mut machine, FileSystem::ext(), 2, false);
    assert_eq!(retire(&mut machine, 16), Ok(()));
    assert_eq!(cached(&machine, one), [17], "invalidated");
    let frame = machine.kernel().frames[Pfn(16)];
    assert!(frame.has(PageFlags::HWPOISON) && machine.kernel().zones.is_free(Pfn(16)));
    let size = 2 * PAGE_SIZE;
    machine.run(TASK, Request::ReadFile { file: one, offset: 0, size }).unwrap();
    assert_eq!(cached(&machine, one), [18, 17], "read again, and not into frame 16");
    let write = Request::WriteFile { file: one, offset: PAGE_SIZE, size: 4, data: None };
    machine.run(TASK, write).unwrap();
    machine.drain(None).unwrap();
    assert_eq!(retire(&mut machine, 17), Ok(()));
    assert_eq!(cached(&machine, one), [18, 19], "moved");
    machine.drain(None).unwrap();
    assert_eq!(machine.kernel().frames[Pfn(17)].count(), 0);
    assert_eq!(machine.audit(), []);
}

#[test]
fn soft_offline_waits_for_a_write_to_end() {
    let mut machine = machine();
    let kind = FileSystem { io_ticks: Some(30), ..FileSystem::ext() };
    let file = file(&mut machine, kind, 1, true);
    let began = machine.kernel().now;
    machine.run(TASK, Request::Writeback { file, page: 0 }).unwrap();
    assert!(machine.kernel().frames[Pfn(16)].has(PageFlags::WRITEBACK));
    assert_eq!(retire(&mut machine, 16), Ok(()));
    assert_eq!((machine.kernel().now - began, cached(&machine, file).len()), (30, 0));
}

#[test]
fn mapped_pages_of_a_file_are_moved_and_not_dropped() {
    let mut machine = machine();
    let start = machine.mmap(TASK, PAGE_SIZE, None, RW | VmFlags::SHARED).unwrap();
    let pages = Pages::Range { start, pages: 1, is_write: false };
    machine.run(TASK, Request::Touch(pages)).unwrap();
    machine.drain(None).unwrap();
    let old = page(&machine, TASK, start);
    assert_eq!(retire(&mut machine, old.0), Ok(()));
    assert_ne!(page(&machine, TASK, start), old);
}
