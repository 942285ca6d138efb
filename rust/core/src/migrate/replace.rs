//! `migrate_page_move_mapping`: is the page ours alone? If so, the new one takes its place.
//!
//! Migration 6. Without an address space that is a look at the count ([`check_sole_owner`]). With
//! one, the count is *frozen* at 0 while the slot changes ([`Replace`]), so that nobody who found
//! the old page without a lock can take a reference any more: the point of no return.

use serde::{Deserialize, Serialize};

use crate::base::{Bugs, Errno, MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::tree;
use crate::state::frame::PageFlags;
use crate::state::lock::Want;
use crate::state::zone::Counter;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// MM-1: a page without address space may go if the isolation holds the only reference.
///
/// Nothing is frozen and nothing changes: from here on the move cannot fail any more.
#[inline]
pub fn check_sole_owner(kernel: &Kernel, page: Pfn) -> Result<(), Errno> {
    if kernel.frames[page].count() == 1 { Ok(()) } else { Err(Errno::Again) }
}

/// How far the replacing has got.
///
/// ```text
///   phase      holds        old page           slot   the next advance
///   Counting   nothing      expected count     old    takes tree_lock, compares the count
///   Freezing   tree_lock    expected count     old    freezes the count, unless it has changed
///   Swapping   tree_lock    frozen             old    puts the new page in, ends the freeze
///   Done       nothing      expected less 1    new
/// ```
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Counting,
    /// The count that was found, which is the expected one (Y10).
    Freezing(u32),
    /// The same, frozen (Y11).
    Swapping(u32),
    Done(Result<(), Errno>),
}

/// The new page takes the place of the old one in its address space, if nobody else uses it.
///
/// Both are locked, the old one is unmapped, and the new one names what the old one names.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct Replace {
    mapping: MappingId,
    phase: Phase,
}

impl Replace {
    /// Will replace a page in `mapping`, which is its `page_mapping`.
    pub const fn new(mapping: MappingId) -> Replace {
        Replace { mapping, phase: Phase::Counting }
    }

    /// The steps that the next advance makes.
    pub const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Counting => &["MM-2", "MM-3", "MM-4", "MM-5"],
            Phase::Freezing(_) => &["MM-6"],
            Phase::Swapping(_) => &["MM-7", "MM-8", "MM-9", "MM-10", "MM-11"],
            Phase::Done(_) => &[],
        }
    }

    /// The count that the old page had before it was frozen, while it is.
    pub const fn frozen_count(&self) -> Option<u32> {
        match self.phase {
            Phase::Swapping(count) => Some(count),
            _ => None,
        }
    }

    /// Whether it worked. Only once done.
    pub fn outcome(&self) -> Result<(), Errno> {
        match self.phase {
            Phase::Done(outcome) => outcome,
            _ => unreachable!("asked before the page was replaced"),
        }
    }

    /// Makes one step; in coarse mode, all of them.
    pub fn advance<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        old: Pfn,
        new: Pfn,
    ) -> Progress {
        let lock = LockId::Tree(self.mapping);
        loop {
            self.phase = match self.phase {
                Phase::Counting => {
                    if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                        return Progress::Waiting(lock);
                    }
                    match self.count(kernel, old) {
                        Some(expected) => Phase::Freezing(expected),
                        None => Phase::Done(Err(Errno::Again)),
                    }
                }
                Phase::Freezing(expected) if kernel.has_bug::<M>(Bugs::NO_FREEZE) => {
                    // Whoever came since MM-5 keeps what he has.
                    let count = kernel.frames[old].count().max(expected);
                    assert!(kernel.frames[old].freeze(count), "its own count froze nothing");
                    self.swap(kernel, old, new, count);
                    Phase::Done(Ok(()))
                }
                Phase::Freezing(expected) if kernel.frames[old].freeze(expected) => {
                    Phase::Swapping(expected)
                }
                Phase::Freezing(_) => Phase::Done(Err(Errno::Again)),
                Phase::Swapping(expected) => {
                    self.swap(kernel, old, new, expected);
                    Phase::Done(Ok(()))
                }
                Phase::Done(_) => return Progress::Done,
            };
            if let Phase::Done(_) = self.phase {
                kernel.unlock::<M>(me, lock);
                return Progress::Done;
            }
            if Point::Held.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// MM-3 to MM-5: isolation, slot and, if there are any, private data hold one reference each. The
    /// count, if it is that and the slot holds the page. PG_private_2 makes the page expect a
    /// reference that nobody has.
    fn count(&self, kernel: &Kernel, old: Pfn) -> Option<u32> {
        let frame = &kernel.frames[old];
        let expected = 2 + u32::from(frame.has_private());
        let index = tree::page_index(kernel, old);
        let holds = kernel.mappings[self.mapping].tree.get(index) == Some(old);
        (frame.count() == expected && holds).then_some(expected)
    }

    /// MM-7 to MM-10. The slot's tags stay; no count of slots changes.
    fn swap(&self, kernel: &mut Kernel, old: Pfn, new: Pfn, expected: u32) {
        let index = tree::page_index(kernel, old);
        kernel.frames[new].get();
        let private = kernel.frames[old].private;
        let is_swap_cache = kernel.frames[old].has(PageFlags::SWAPCACHE);
        if is_swap_cache {
            kernel.frames[new].set(PageFlags::SWAPCACHE);
            kernel.frames[new].private = private;
        }
        kernel.mappings[self.mapping].tree.replace(index, new);
        kernel.frames[old].unfreeze(expected);
        kernel.frames[old].drop_reference();
        move_counter(kernel, Counter::FilePages, old, new);
        if kernel.frames[old].has(PageFlags::SWAPBACKED) {
            count_shmem(kernel, old, new, is_swap_cache);
        }
    }
}

/// MM-10 for NR_SHMEM, which a page of the swap cache was never counted in, or is no more: the zones'
/// counters drift apart all the same (Q15), unless the profile is REPAIRED.
fn count_shmem(kernel: &mut Kernel, old: Pfn, new: Pfn, is_swap_cache: bool) {
    if is_swap_cache {
        if kernel.profile == crate::base::Profile::Repaired {
            return;
        }
        let (from, to) = (kernel.zones.zone_of(old), kernel.zones.zone_of(new));
        kernel.ledger.note(from, Counter::Shmem, -1);
        kernel.ledger.note(to, Counter::Shmem, 1);
    }
    move_counter(kernel, Counter::Shmem, old, new);
}

fn move_counter(kernel: &mut Kernel, counter: Counter, old: Pfn, new: Pfn) {
    kernel.zones.counters_of(old).add(counter, -1);
    kernel.zones.counters_of(new).add(counter, 1);
}
