//! The machine as one value: every store in one struct. Cloning it is a snapshot.
//!
//! This is the floor between nouns and verbs: rooms below take the stores they touch, rooms
//! above take a `&mut Kernel`. There are no verbs here, only the shortcuts that spell out which
//! stores a nouns' function wants ([`Kernel::put_page`]) and the taking of locks in either
//! mode ([`hold`]).

mod allocate;
mod allowed;
mod bytes;
mod charge;
mod cost;
mod hold;
mod ledger;
mod watch;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;

pub use bytes::Found;
pub use charge::ChargeKind;
pub use cost::Cost;
pub use ledger::Ledger;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::base::{Bugs, CpuId, Errno, Lookout, MachineSpec, Misuse, MmId, Pfn, Profile};
use crate::state::cpuset::Cpusets;
use crate::state::frame::{Contents, FrameTable, PageFlags};
use crate::state::io::IoQueue;
use crate::state::ksm::Ksm;
use crate::state::lock::Locks;
use crate::state::lru::{self, ListKind, Lru};
use crate::state::mapping::{Mappings, Rings};
use crate::state::memcg::Memcgs;
use crate::state::mm::{Mms, Vmas};
use crate::state::pagetable::Tables;
use crate::state::rmap::AnonVmas;
use crate::state::shadow::Shadow;
use crate::state::swap::Swaps;
use crate::state::task::Tasks;
use crate::state::zone::{Counter, Zones};
use crate::step::{Fuel, Me, Mode};
use crate::trace::{Event, EventKind, Recorder};

/// Everything there is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kernel {
    /// Page descriptors. A snapshot keeps them apart, as far as they were ever touched.
    #[serde(skip)]
    pub frames: FrameTable,
    /// Bytes of the pages, where the machine has them; kept apart, too.
    #[serde(skip)]
    pub contents: Contents,
    /// Zones, free frames, counters.
    pub zones: Zones,
    /// Aging lists and pagevecs.
    pub lru: Lru,
    /// Page tables.
    pub tables: Tables,
    /// Address spaces.
    pub mms: Mms,
    /// Their areas.
    pub vmas: Vmas,
    /// Reverse map of anonymous memory.
    pub anon_vmas: AnonVmas,
    /// The page cache: files, and the swap cache.
    pub mappings: Mappings,
    /// Buffers of pages.
    pub rings: Rings,
    /// Transfers on their way.
    pub io: IoQueue,
    /// Swap devices.
    pub swaps: Swaps,
    /// Merged pages.
    pub ksm: Ksm,
    /// Who pays for which page.
    pub memcgs: Memcgs,
    /// Which nodes groups of tasks may use.
    pub cpusets: Cpusets,
    /// Processes.
    pub tasks: Tasks,
    /// Locks between calls in flight.
    pub locks: Locks,
    /// Pages held by hand: how many references each (supporting-paths 17).
    pub pins: BTreeMap<Pfn, u32>,
    /// Pages taken off the LRU by hand.
    pub isolated_by_hand: Vec<Pfn>,
    /// What happened.
    pub recorder: Recorder,
    /// How often each elementary operation was done.
    pub cost: Cost,
    /// How far documented quirks have carried counters off.
    pub ledger: Ledger,
    /// Steps made so far by stepped calls.
    pub steps: u64,
    /// Virtual time, in ticks.
    pub now: u64,
    /// Which behaviour is modelled.
    pub profile: Profile,
    /// Which rules are broken on purpose. Only stepped calls look: [`Kernel::has_bug`].
    pub bugs: Bugs,
    /// What was stored where, if anybody wants to know.
    pub shadow: Shadow,
    /// How far a call that runs through goes before it pauses. Nothing follows from that.
    #[serde(skip)]
    pub fuel: Fuel,
}

impl Kernel {
    /// A machine with no task and all memory free.
    pub fn new(spec: &MachineSpec) -> Result<Kernel, Misuse> {
        spec.check()?;
        let zones = Zones::new(spec);
        let len = zones.iter().map(|(_, zone)| zone.free.len()).sum();
        let too_big = || Misuse::BadMachine(format!("this host has no room for {len} frames"));
        if !Swaps::has_room_for(spec.swap_slots) {
            let slots = spec.swap_slots;
            return Err(Misuse::BadMachine(format!(
                "this host has no room for {slots} swap slots"
            )));
        }
        Ok(Kernel {
            frames: FrameTable::new(len).ok_or_else(too_big)?,
            contents: Contents::new(len + 1, spec.contents).ok_or_else(too_big)?,
            lru: Lru::new(&zones),
            zones,
            tables: Tables::new(len),
            mms: Mms::default(),
            vmas: Vmas::default(),
            anon_vmas: AnonVmas::default(),
            mappings: Mappings::default(),
            rings: Rings::default(),
            io: IoQueue::default(),
            swaps: Swaps::new(spec.swap_slots),
            ksm: Ksm::default(),
            memcgs: Memcgs::default(),
            cpusets: Cpusets::new(spec.zones.iter().map(|zone| zone.node).collect()),
            tasks: Tasks::default(),
            locks: Locks::default(),
            pins: BTreeMap::new(),
            isolated_by_hand: Vec::new(),
            recorder: Recorder::default(),
            cost: Cost::default(),
            ledger: Ledger::default(),
            steps: 0,
            now: 0,
            profile: spec.profile,
            bugs: Bugs::empty(),
            shadow: Shadow::default(),
            fuel: Fuel::default(),
        })
    }

    /// Drops a reference to a page and frees it if that was the last.
    #[inline]
    pub fn put_page(&mut self, pfn: Pfn) {
        lru::put_page(&mut self.frames, &mut self.zones, &mut self.lru, pfn);
    }

    /// Takes a page off its LRU list and counts it as isolated.
    ///
    /// The caller owns one new reference. Fails with `Busy` when the page is on no list.
    #[inline]
    pub fn isolate_page(&mut self, pfn: Pfn) -> Result<(), Errno> {
        lru::isolate(&mut self.frames, &mut self.zones, &mut self.lru, pfn)?;
        let family = Counter::isolated(self.frames[pfn].is_file_family());
        self.zones.counters_of(pfn).add(family, 1);
        self.cost.isolations += 1;
        Ok(())
    }

    /// Uncounts an isolated page and puts it back (PB-2 and PB-3).
    #[inline]
    pub fn put_back_isolated(&mut self, cpu: CpuId, pfn: Pfn) {
        let family = Counter::isolated(self.frames[pfn].is_file_family());
        self.zones.counters_of(pfn).add(family, -1);
        self.put_back(cpu, pfn);
    }

    /// The same for a page that a migration gave up before it tried.
    pub fn put_back_untried<M: Mode>(&mut self, me: Me, pfn: Pfn) {
        self.put_back_isolated(me.cpu, pfn);
        self.note::<M>(me, EventKind::PutBack, Some(pfn), 0, 0);
    }

    /// The same for a page that a migration is done with (MP-5, UM-16).
    #[inline]
    pub fn put_back_migrated<M: Mode>(&mut self, me: Me, pfn: Pfn) {
        if self.has_bug::<M>(Bugs::ISOLATED_LEFT) {
            self.put_back(me.cpu, pfn);
        } else {
            self.put_back_isolated(me.cpu, pfn);
        }
        self.note::<M>(me, EventKind::PutBack, Some(pfn), 0, 0);
    }

    /// Sends a page that is on no list to where it belongs and drops the caller's reference.
    #[inline]
    pub fn put_back(&mut self, cpu: CpuId, pfn: Pfn) {
        lru::putback(&mut self.frames, &mut self.zones, &mut self.lru, cpu, pfn);
    }

    /// Sends a page that is on no list, and whose list is known, to wait for it; the pagevec takes over
    /// the caller's reference.
    #[inline]
    pub fn put_back_as(&mut self, cpu: CpuId, pfn: Pfn, kind: ListKind) {
        self.lru.additions(cpu).add(&mut self.frames, &mut self.zones, pfn, kind);
    }

    /// Drains one CPU's pagevecs.
    pub fn drain(&mut self, cpu: CpuId) {
        self.cost.drains += 1;
        self.lru.drain(&mut self.frames, &mut self.zones, cpu);
    }

    /// Drains all CPUs' pagevecs.
    pub fn drain_all(&mut self) {
        self.cost.drains += self.zones.cpus() as u64;
        self.lru.drain_all(&mut self.frames, &mut self.zones);
    }

    /// Sets PG_mlocked of a locked page and moves it to the unevictable list, if it is on any
    /// (`mlock_vma_page`).
    pub fn set_mlocked(&mut self, cpu: CpuId, pfn: Pfn) {
        if self.frames[pfn].has(PageFlags::MLOCKED) {
            return;
        }
        self.frames[pfn].set(PageFlags::MLOCKED);
        self.zones.counters_of(pfn).add(Counter::Mlock, 1);
        if lru::isolate(&mut self.frames, &mut self.zones, &mut self.lru, pfn).is_ok() {
            self.put_back(cpu, pfn);
        }
    }

    /// Clears PG_mlocked of a locked page and moves it to an evictable list if that is possible
    /// (supporting-paths 8).
    pub fn clear_mlocked(&mut self, cpu: CpuId, pfn: Pfn) {
        if !self.frames[pfn].take(PageFlags::MLOCKED) || self.frames[pfn].is_unowned() {
            return;
        }
        self.zones.counters_of(pfn).add(Counter::Mlock, -1);
        if lru::isolate(&mut self.frames, &mut self.zones, &mut self.lru, pfn).is_ok() {
            self.put_back(cpu, pfn);
        }
    }

    /// Whether a rule is broken on purpose: never, for a call that runs through.
    #[inline(always)]
    pub fn has_bug<M: Mode>(&self, bug: Bugs) -> bool {
        M::STEPS && self.bugs.contains(bug)
    }

    /// Burns the fuel for `pages`; tells whether a call that runs through shall pause. A stepped call
    /// never does.
    #[inline(always)]
    pub fn pauses<M: Mode>(&mut self, pages: usize) -> bool {
        !M::STEPS && self.fuel.burn(pages)
    }

    /// One more user of an address space (`get_task_mm`).
    pub fn get_mm(&mut self, mm: MmId) {
        self.mms[mm].users += 1;
    }

    /// Records an event of a stepped call; a call that runs through records nothing.
    #[inline(always)]
    pub fn note<M: Mode>(
        &mut self,
        me: Me,
        kind: EventKind,
        pfn: Option<Pfn>,
        address: u64,
        value: i64,
    ) {
        if M::STEPS && self.recorder.is_on() {
            self.recorder.push(Event {
                time: self.steps,
                task: me.task,
                call: me.call,
                kind,
                label: "",
                pfn,
                address,
                value,
            });
        }
    }
}

impl Kernel {
    /// A copy of what was ever touched: an untouched frame is all zeroes in both. None, if that was over
    /// early.
    ///
    /// # Errors
    /// If the host has no room for it.
    pub fn try_clone(&self, lookout: &Lookout<'_>) -> Result<Option<Kernel>, Misuse> {
        let no_room = || Misuse::Other("this host has no room for a copy of the machine".into());
        let spans = || self.zones.touched_spans();
        let frames = self.frames.clone_spans(spans(), lookout).ok_or_else(no_room)?;
        let contents = self.contents.clone_spans(spans(), lookout).ok_or_else(no_room)?;
        let rings = self.rings.clone_watched(lookout);
        if lookout.is_over() {
            return Ok(None);
        }
        Ok(Some(Kernel {
            frames,
            contents,
            rings,
            zones: self.zones.clone(),
            lru: self.lru.clone(),
            tables: self.tables.clone(),
            mms: self.mms.clone(),
            vmas: self.vmas.clone(),
            anon_vmas: self.anon_vmas.clone(),
            mappings: self.mappings.clone(),
            io: self.io.clone(),
            swaps: self.swaps.clone(),
            ksm: self.ksm.clone(),
            memcgs: self.memcgs.clone(),
            cpusets: self.cpusets.clone(),
            tasks: self.tasks.clone(),
            locks: self.locks.clone(),
            pins: self.pins.clone(),
            isolated_by_hand: self.isolated_by_hand.clone(),
            recorder: self.recorder.clone(),
            cost: self.cost,
            ledger: self.ledger.clone(),
            steps: self.steps,
            now: self.now,
            profile: self.profile,
            bugs: self.bugs,
            shadow: self.shadow.clone(),
            fuel: Fuel::default(),
        }))
    }
}

impl Kernel {
    /// Becomes equal to a machine of the same shape, in the memory that it has already.
    pub fn copy_from(&mut self, other: &Kernel) {
        let both = self.zones.touched_spans().zip(other.zones.touched_spans());
        let span = |(own, others): (Range<usize>, Range<usize>)| own.start..own.end.max(others.end);
        let spans: SmallVec<[Range<usize>; 8]> = both.map(span).collect();
        let Kernel {
            frames,
            contents,
            zones,
            lru,
            tables,
            mms,
            vmas,
            anon_vmas,
            mappings,
            rings,
            io,
            swaps,
            ksm,
            memcgs,
            cpusets,
            tasks,
            locks,
            pins,
            isolated_by_hand,
            recorder,
            cost,
            ledger,
            steps,
            now,
            profile,
            bugs,
            shadow,
            fuel: _,
        } = other;
        self.frames.copy_spans(frames, spans.iter().cloned());
        self.contents.copy_spans(contents, spans.iter().cloned());
        self.zones.clone_from(zones);
        self.lru.clone_from(lru);
        self.tables.clone_from(tables);
        self.mms.clone_from(mms);
        self.vmas.clone_from(vmas);
        self.anon_vmas.clone_from(anon_vmas);
        self.mappings.clone_from(mappings);
        self.rings.clone_from(rings);
        self.io.clone_from(io);
        self.swaps.clone_from(swaps);
        self.ksm.clone_from(ksm);
        self.memcgs.clone_from(memcgs);
        self.cpusets.clone_from(cpusets);
        self.tasks.clone_from(tasks);
        self.locks.clone_from(locks);
        self.pins.clone_from(pins);
        self.isolated_by_hand.clone_from(isolated_by_hand);
        self.recorder.clone_from(recorder);
        self.ledger.clone_from(ledger);
        self.shadow.clone_from(shadow);
        (self.cost, self.bugs) = (*cost, *bugs);
        (self.steps, self.now, self.profile) = (*steps, *now, *profile);
    }
}

/// What decides how the machine goes on. What only tells how it came here does not count: the
/// trace, the ledger of cost, the number of steps, and the tick itself: only how long things still take.
impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Kernel {
            frames,
            contents,
            zones,
            lru,
            tables,
            mms,
            vmas,
            anon_vmas,
            mappings,
            rings,
            io,
            swaps,
            ksm,
            memcgs,
            cpusets,
            tasks,
            locks,
            pins,
            isolated_by_hand,
            recorder: _,
            cost: _,
            ledger,
            steps: _,
            now,
            profile,
            bugs,
            shadow,
            fuel: _,
        } = self;
        frames.hash_spans(zones.touched_spans(), state);
        contents.hash_spans(zones.touched_spans(), state);
        (zones, lru, tables, mms, vmas, anon_vmas).hash(state);
        io.hash_from(*now, state);
        (mappings, rings, swaps, ksm, memcgs, cpusets).hash(state);
        (tasks, locks, pins, isolated_by_hand, ledger, profile).hash(state);
        (bugs, shadow).hash(state);
    }
}

impl Clone for Kernel {
    /// As [`Kernel::try_clone`].
    ///
    /// # Panics
    /// If the host has no room for it.
    fn clone(&self) -> Kernel {
        let copy = self.try_clone(&Lookout::new(&mut || true)).expect("room for a copy");
        copy.expect("nobody ends it")
    }
}
