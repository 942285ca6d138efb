//! The invariants: what must be true of a machine between any two steps.
//!
//! Each rule is a function with a name and a sentence; [`RULES`] lists them all. They read the
//! [`Kernel`] and what the calls in flight hold ([`Holdings`]), recompute everything from
//! scratch through a [`Census`], and change nothing.
//!
//! invariants.md.

#[cfg(test)]
mod breaking;
mod census;
mod counters;
mod entries;
mod files;
mod frames;
mod groups;
mod ksm;
mod lists;
mod locks;
mod reverse;
mod shadow;
mod spaces;
mod swap;
mod zones;

pub use census::{Census, Row};

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Lookout, MmId, Pfn};
use crate::kernel::Kernel;
use crate::state::pagetable::Entry;
use census::Leaf;

/// What calls in flight hold at this moment.
#[derive(Clone, Debug, Default, Hash)]
pub struct Holdings {
    /// Pages on the private list of a migration.
    pub isolated: Vec<Pfn>,
    /// One entry a reference, of new pages and transient holders.
    pub references: Vec<Pfn>,
    /// Old pages that migration entries may name.
    pub migrating: BTreeSet<Pfn>,
    /// Pages on their way, with their new frames.
    pub moves: Vec<(Pfn, Pfn)>,
    /// Entries that are in no table because `mremap` carries them just now, with where they will be.
    pub carried: Vec<(MmId, u64, Entry)>,
    /// Uses of address spaces, one entry each, besides those of tasks.
    pub uses: Vec<MmId>,
    /// Pages whose count reads 0 while their holders remain, with the count that they were frozen from
    /// (I-11).
    pub frozen: BTreeMap<Pfn, u32>,
    /// Whether a call is in flight at all.
    pub is_busy: bool,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// The invariants that it states.
    pub ids: &'static str,
    /// The frame concerned, if it is one.
    pub frame: Option<Pfn>,
    /// What is wrong, in words and numbers.
    pub detail: String,
}

/// Everything that a rule may look at.
pub struct View<'a> {
    /// The machine.
    pub kernel: &'a Kernel,
    /// What its calls hold.
    pub holdings: &'a Holdings,
    /// What was counted.
    pub census: &'a Census,
    /// Who may end it: every rule goes over pages, entries and frames through this, and what it
    /// says once that is over is thrown away.
    pub lookout: &'a Lookout<'a>,
}

impl View<'_> {
    /// The frames of the machine that were ever taken, ascending.
    fn touched(&self) -> impl Iterator<Item = Pfn> {
        self.lookout.watch(census::touched(self.kernel))
    }

    /// All entries that are not empty.
    fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.lookout.watch(&self.census.leaves)
    }
}

/// Where a rule reports: (frame, what is wrong).
pub type Report<'a> = &'a mut dyn FnMut(Option<Pfn>, String);

/// One rule.
pub struct Rule {
    /// Its name: a sentence.
    pub name: &'static str,
    /// The invariants that it states.
    pub ids: &'static str,
    check: fn(&View<'_>, Report<'_>),
}

/// All rules, cheapest first. A new rule is one function and one line here.
pub const RULES: &[Rule] = &[
    Rule {
        name: "page_locks_have_owners",
        ids: "I-30 I-31 I-32 I-33 I-36",
        check: locks::page_locks_have_owners,
    },
    Rule {
        name: "nobody_sleeps_holding_a_spinlock",
        ids: "I-34",
        check: locks::nobody_sleeps_holding_a_spinlock,
    },
    Rule {
        name: "free_frames_are_blank",
        ids: "I-01 I-02 I-03 I-06",
        check: frames::free_frames_are_blank,
    },
    Rule {
        name: "references_add_up",
        ids: "I-04 I-05 I-10 I-11 I-12",
        check: frames::references_add_up,
    },
    Rule {
        name: "the_zero_page_is_held_once",
        ids: "I-15",
        check: frames::the_zero_page_is_held_once,
    },
    Rule {
        name: "mapcount_matches_entries",
        ids: "I-13 I-14 I-15 I-16",
        check: frames::mapcount_matches_entries,
    },
    Rule {
        name: "migration_entries_have_a_migrator",
        ids: "I-20 I-21 I-22 I-26 I-27 I-28",
        check: entries::migration_entries_have_a_migrator,
    },
    Rule {
        name: "entries_lie_inside_areas",
        ids: "I-23 I-25 I-93",
        check: entries::entries_lie_inside_areas,
    },
    Rule {
        name: "entries_permit_no_more_than_areas",
        ids: "I-24",
        check: entries::entries_permit_no_more_than_areas,
    },
    Rule {
        name: "writable_private_pages_are_unshared",
        ids: "I-75",
        check: entries::writable_private_pages_are_unshared,
    },
    Rule {
        name: "listed_pages_say_so",
        ids: "I-40 I-41 I-42 I-46",
        check: lists::listed_pages_say_so,
    },
    Rule {
        name: "waiting_pages_are_on_no_list",
        ids: "I-43 I-44 I-45",
        check: lists::waiting_pages_are_on_no_list,
    },
    Rule { name: "families_follow_owners", ids: "I-47 I-68", check: lists::families_follow_owners },
    Rule {
        name: "cached_pages_know_their_place",
        ids: "I-60 I-61 I-62 I-63 I-64",
        check: files::cached_pages_know_their_place,
    },
    Rule { name: "tags_follow_flags", ids: "I-65 I-66", check: files::tags_follow_flags },
    Rule {
        name: "buffers_belong_to_pages",
        ids: "I-33 data-model 5.3",
        check: files::buffers_belong_to_pages,
    },
    Rule {
        name: "transfers_have_pages",
        ids: "I-30 I-55 README 3",
        check: files::transfers_have_pages,
    },
    Rule {
        name: "zone_counters_count",
        ids: "I-50 I-51 I-52 I-53 I-54 I-55 I-56 I-57 I-58 I-59",
        check: counters::zone_counters_count,
    },
    Rule {
        name: "address_spaces_are_in_order",
        ids: "data-model 6.1 6.5",
        check: spaces::address_spaces_are_in_order,
    },
    Rule {
        name: "tables_hang_together",
        ids: "data-model 6.2",
        check: spaces::tables_hang_together,
    },
    Rule {
        name: "swap_writers_have_a_batch",
        ids: "I-120",
        check: spaces::swap_writers_have_a_batch,
    },
    Rule {
        name: "resident_counters_count",
        ids: "I-90 I-91",
        check: spaces::resident_counters_count,
    },
    Rule {
        name: "entries_are_found_from_their_page",
        ids: "I-70 I-71 I-73",
        check: reverse::entries_are_found_from_their_page,
    },
    Rule {
        name: "every_frame_is_one_thing",
        ids: "I-01 I-06 I-128",
        check: zones::every_frame_is_one_thing,
    },
    Rule {
        name: "isolated_blocks_give_nothing_out",
        ids: "I-02 I-07 I-129",
        check: zones::isolated_blocks_give_nothing_out,
    },
    Rule {
        name: "tasks_follow_their_cpuset",
        ids: "data-model 10",
        check: zones::tasks_follow_their_cpuset,
    },
    Rule {
        name: "swap_slots_count_their_users",
        ids: "I-80 I-82",
        check: swap::swap_slots_count_their_users,
    },
    Rule {
        name: "the_swap_cache_and_slots_agree",
        ids: "I-60 I-61 I-63 I-81",
        check: swap::the_swap_cache_and_slots_agree,
    },
    Rule {
        name: "free_swap_slots_are_counted",
        ids: "I-83",
        check: swap::free_swap_slots_are_counted,
    },
    Rule { name: "lists_and_areas_agree", ids: "I-74", check: reverse::lists_and_areas_agree },
    Rule { name: "charges_add_up", ids: "I-100 I-102", check: groups::charges_add_up },
    Rule {
        name: "free_frames_are_not_charged",
        ids: "I-101",
        check: groups::free_frames_are_not_charged,
    },
    Rule {
        name: "mapped_files_are_counted",
        ids: "I-104",
        check: groups::mapped_files_are_counted,
    },
    Rule {
        name: "merged_pages_are_read_only",
        ids: "I-76",
        check: ksm::merged_pages_are_read_only,
    },
    Rule { name: "merged_pages_are_found", ids: "I-72", check: ksm::merged_pages_are_found },
    Rule { name: "merged_places_are_counted", ids: "I-77", check: ksm::merged_places_are_counted },
    Rule {
        name: "no_store_is_lost",
        ids: "I-110 I-111 I-112 I-114",
        check: shadow::no_store_is_lost,
    },
];

/// Checks every rule; an empty answer is a sound machine.
pub fn audit(kernel: &Kernel, holdings: &Holdings) -> Vec<Finding> {
    audit_while(kernel, holdings, &mut || true).expect("nobody ends it")
}

/// The same, for as long as `goes_on` says so: it is asked every few thousand pages. None if it did not.
pub fn audit_while(
    kernel: &Kernel,
    holdings: &Holdings,
    goes_on: &mut dyn FnMut() -> bool,
) -> Option<Vec<Finding>> {
    let lookout = Lookout::new(goes_on);
    let census = Census::take(kernel, holdings, &lookout);
    let view = View { kernel, holdings, census: &census, lookout: &lookout };
    let mut findings = Vec::new();
    for rule in RULES {
        if !lookout.ask() {
            return None;
        }
        (rule.check)(&view, &mut |frame, detail| {
            findings.push(Finding { rule: rule.name, ids: rule.ids, frame, detail });
        });
    }
    (!lookout.is_over()).then_some(findings)
}
