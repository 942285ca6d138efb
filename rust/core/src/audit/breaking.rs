//! Every rule is broken on purpose here, and must be found broken.

use std::collections::BTreeSet;

use super::RULES;
use crate::base::{
    AnonVmaId, CallId, CpuId, MachineSpec, MappingId, MemcgId, NodeMask, Pfn, RingId, TaskId, VmaId,
};
use crate::fault::Pages;
use crate::kernel::Kernel;
use crate::machine::verbs::Birth;
use crate::machine::{Machine, Request};
use crate::state::frame::{Owner, PageFlags};
use crate::state::io::Direction;
use crate::state::ksm::StableNode;
use crate::state::lock::Want;
use crate::state::lru::ListKind;
use crate::state::mapping::{BufferState, FileSystem, Tag};
use crate::state::memcg::{Record, RecordFlags};
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::shadow::Place;
use crate::state::swap::Swaps;
use crate::state::task::Credentials;
use crate::state::zone::Counter;
use crate::step::LockId;

/// One task that wrote four pages, drained onto their list; the address of the first. Then it read
/// page 0 of a file (frame 4) and wrote page 1 (frame 5).
fn sound_machine() -> (Machine, u64) {
    let mut machine = Machine::new(&MachineSpec::simple(&[32, 32], 1, false)).unwrap();
    let birth = Birth {
        name: "victim".into(),
        credentials: Credentials::default(),
        mems_allowed: NodeMask(3),
        cpu: CpuId(0),
        is_kernel_thread: false,
        has_stack: false,
    };
    let task: TaskId = machine.spawn(birth).unwrap();
    let start = machine.mmap(task, 4 * 4096, None, VmFlags::READ | VmFlags::WRITE).unwrap();
    let pages = Pages::Range { start, pages: 4, is_write: true };
    machine.run(task, Request::Touch(pages)).unwrap();
    let file = machine.create_file("file".into(), 8192, FileSystem::ext()).unwrap();
    machine.run(task, Request::ReadFile { file, offset: 0, size: 4096 }).unwrap();
    let write = Request::WriteFile { file, offset: 4096, size: 4096, data: None };
    machine.run(task, write).unwrap();
    machine.drain(None).unwrap();
    assert_eq!(machine.audit(), [], "sound before it is broken");
    (machine, start)
}

/// The rules that complain after `wreck` had its way.
fn broken_by(wreck: impl FnOnce(&mut Kernel, u64)) -> BTreeSet<&'static str> {
    let (mut machine, start) = sound_machine();
    wreck(machine.kernel_mut(), start);
    machine.audit().into_iter().map(|finding| finding.rule).collect()
}

/// The leaf table and slot of an address in the only address space.
fn set_entry(kernel: &mut Kernel, address: u64, change: impl FnOnce(Entry) -> Entry) {
    let root = kernel.mms.iter().next().unwrap().1.root;
    let leaf = kernel.tables.make_leaf(root, address).unwrap();
    let entry = kernel.tables.get(leaf, leaf_index(address));
    kernel.tables.set(leaf, leaf_index(address), change(entry));
}

/// A way to break a machine.
type Wreck = fn(&mut Kernel, u64);

/// One way to break each rule, under its name.
const WRECKS: &[(&str, Wreck)] = &[
    ("no_store_is_lost", |kernel, start| {
        let mm = kernel.mms.iter().next().unwrap().0;
        kernel.shadow.watch();
        // Nothing is mapped there, so a load finds zeroes.
        kernel.shadow.store(Place::Own(mm, start + 0x10_0000), 7, &[1]);
    }),
    ("page_locks_have_owners", |kernel, _| kernel.frames[Pfn(0)].set(PageFlags::LOCKED)),
    ("nobody_sleeps_holding_a_spinlock", |kernel, _| {
        let page = LockId::Page(Pfn(0));
        kernel.locks.note_held(page, CallId(1), Want::Exclusive);
        kernel.locks.watch(page, CallId(2));
        kernel.locks.note_held(LockId::AnonVma(AnonVmaId(0)), CallId(2), Want::Exclusive);
    }),
    ("free_frames_are_blank", |kernel, _| {
        let zone = kernel.zones.zone_of(Pfn(0));
        kernel.zones[zone].free.give_back(2);
    }),
    ("references_add_up", |kernel, _| kernel.frames[Pfn(1)].get()),
    ("mapcount_matches_entries", |kernel, _| {
        kernel.frames[Pfn(1)].add_mapping();
    }),
    ("migration_entries_have_a_migrator", |kernel, start| {
        set_entry(kernel, start, |entry| Entry::migration(entry.pfn(), true));
    }),
    ("entries_lie_inside_areas", |kernel, start| {
        set_entry(kernel, start + 0x10_0000, |_| Entry::page(Pfn(0), Entry::PRESENT));
    }),
    ("entries_permit_no_more_than_areas", |kernel, start| {
        let mm = kernel.mms.iter().next().unwrap().1;
        let area = mm.area_at(&kernel.vmas, start).unwrap();
        kernel.vmas[area].flags.remove(VmFlags::WRITE);
    }),
    ("writable_private_pages_are_unshared", |kernel, _| {
        kernel.frames[Pfn(2)].set_owner(Owner::None);
    }),
    ("listed_pages_say_so", |kernel, _| kernel.frames[Pfn(3)].clear(PageFlags::ACTIVE)),
    ("waiting_pages_are_on_no_list", |kernel, _| {
        let Kernel { frames, zones, lru, .. } = kernel;
        frames[Pfn(3)].clear(PageFlags::ACTIVE);
        lru.add(frames, zones, CpuId(0), Pfn(3), ListKind::ActiveAnon);
    }),
    ("families_follow_owners", |kernel, _| {
        kernel.frames[Pfn(3)].clear(PageFlags::SWAPBACKED);
    }),
    ("cached_pages_know_their_place", |kernel, _| kernel.frames[Pfn(4)].set_index(1)),
    ("tags_follow_flags", |kernel, _| {
        kernel.mappings[MappingId(1)].tree.clear_tag(1, Tag::Dirty);
    }),
    ("buffers_belong_to_pages", |kernel, _| {
        let ring = RingId(kernel.frames[Pfn(4)].private);
        kernel.rings[ring].buffers[0].state |= BufferState::LOCK;
    }),
    ("transfers_have_pages", |kernel, _| {
        let transfer = kernel.io.number(Pfn(4), Direction::Write, None, false);
        kernel.io.submit(transfer);
    }),
    ("the_zero_page_is_held_once", |kernel, _| {
        let zero = kernel.frames.zero_page();
        kernel.frames[zero].get();
    }),
    ("address_spaces_are_in_order", |kernel, _| {
        let mm = kernel.mms.iter().next().unwrap().0;
        kernel.mms[mm].users += 1;
    }),
    ("tables_hang_together", |kernel, _| {
        kernel.tables.create();
    }),
    ("swap_writers_have_a_batch", |kernel, _| kernel.tasks[TaskId(1)].swap_writers = 1),
    ("zone_counters_count", |kernel, _| {
        kernel.zones.counters_of(Pfn(0)).add(Counter::IsolatedAnon, 1);
    }),
    ("resident_counters_count", |kernel, _| {
        let mm = kernel.mms.iter().next().unwrap().0;
        kernel.mms[mm].resident.anon -= 1;
    }),
    ("swap_slots_count_their_users", |kernel, start| {
        kernel.swaps = Swaps::new(4);
        let slot = kernel.swaps.allocate().unwrap();
        set_entry(kernel, start + 4 * 4096, |_| Entry::swap(slot));
    }),
    ("the_swap_cache_and_slots_agree", |kernel, _| {
        kernel.swaps = Swaps::new(4);
        kernel.swaps.allocate().unwrap();
    }),
    ("free_swap_slots_are_counted", |kernel, _| {
        kernel.swaps = Swaps::new(4);
        kernel.swaps.free = 3;
    }),
    ("entries_are_found_from_their_page", |kernel, _| {
        kernel.frames[Pfn(0)].set_index(7);
    }),
    ("every_frame_is_one_thing", |kernel, _| {
        let zone = kernel.zones.zone_of(Pfn(20));
        kernel.zones[zone].withheld.insert(Pfn(1));
    }),
    ("isolated_blocks_give_nothing_out", |kernel, _| {
        let zone = kernel.zones.zone_of(Pfn(20));
        kernel.zones[zone].blocks.set_kind(Pfn(20), crate::state::zone::MigrateType::Isolate);
    }),
    ("tasks_follow_their_cpuset", |kernel, _| {
        kernel.tasks[TaskId(1)].cpuset = Some(crate::base::CpusetId(0));
        kernel.tasks[TaskId(1)].mems_allowed = NodeMask(2);
    }),
    ("charges_add_up", |kernel, _| {
        let group = kernel.memcgs.create("full".into(), MemcgId::ROOT, Some(0), 64);
        kernel.memcgs[group].usage = 1;
    }),
    ("free_frames_are_not_charged", |kernel, _| {
        let owner = kernel.memcgs.create("leaky".into(), MemcgId::ROOT, None, 64);
        kernel.memcgs.set_record(Pfn(40), Record { flags: RecordFlags::USED, owner });
    }),
    ("mapped_files_are_counted", |kernel, _| {
        let group = kernel.memcgs.create("lossy".into(), MemcgId::ROOT, None, 64);
        kernel.memcgs[group].mapped_file = -1;
    }),
    ("merged_pages_are_read_only", |kernel, _| {
        kernel.frames[Pfn(0)].set_owner(Owner::Ksm(None));
    }),
    ("merged_pages_are_found", |kernel, _| {
        let node = StableNode { kpfn: Pfn(0), items: Vec::new(), strays: BTreeSet::new() };
        let node = kernel.ksm.nodes.insert(node);
        kernel.ksm.tree.insert(kernel.ksm.tree.len(), node);
        kernel.frames[Pfn(0)].set_owner(Owner::Ksm(Some(node)));
    }),
    ("merged_places_are_counted", |kernel, _| kernel.ksm.pages_sharing = 1),
    ("lists_and_areas_agree", |kernel, _| {
        let area: VmaId = kernel.vmas.iter().next().unwrap().0;
        kernel.vmas[area].links.push(AnonVmaId(0));
    }),
];

#[test]
fn every_rule_finds_what_breaks_it() {
    for (rule, wreck) in WRECKS {
        let found = broken_by(wreck);
        assert!(found.contains(rule), "{rule} did not notice; {found:?} did");
    }
}

#[test]
fn every_rule_is_broken_here_once() {
    let wrecked: BTreeSet<&str> = WRECKS.iter().map(|(rule, _)| *rule).collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(wrecked, rules);
}
