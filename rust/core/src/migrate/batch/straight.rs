//! The straight road: a usual page moves, or fails to, in one go.
//!
//! Where nobody can look in between (mode `Run`), most attempts are alike: a page that is mapped once
//! and in nobody's way. What [`super::PageMove`] does to it phase by phase is done here at once, with
//! every value written once: descriptors, entry, counters, pagevecs, ledger and report end up as the
//! phases would have left them, and frames are taken and given back in the same order. Any other page
//! is left to the phases, before anything was done for it.
//!
//! Start with [`Batch::go_straight`]. [`site`] knows where a page is mapped, [`crossing`] how many went from
//! zone to zone, [`cached`] what is special about pages of files. What holds all of it to the phases:
//! `rust/core/tests/straight_road`, which runs random situations both ways and compares everything.

mod cached;
mod crossing;
mod site;

use super::{Batch, Ended, Item, Target};
use crate::base::{Errno, NodeId, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lru::ListKind;
use crate::state::pagetable::Entry;
use crate::state::zone::Supply;
use crate::step::Me;
use crossing::Crossing;
use site::Site;

/// One run of attempts: what neighbours have in common, and what they came to.
struct Road {
    me: Me,
    site: Site,
    supply: Supply,
    crossing: Crossing,
    /// For the ledger: attempts that moved a page, and those that did not.
    moved: u64,
    failed: u64,
    /// Pages whose bytes are still to be copied, in order: nobody can look in between, and many copies
    /// one after the other leave the caches to the descriptors meanwhile.
    copies: Vec<(Pfn, Pfn)>,
    /// The lowest and the highest frame that bytes are still to be copied from.
    sources: (Pfn, Pfn),
}

/// No frame is between these.
const NOTHING: (Pfn, Pfn) = (Pfn(u32::MAX), Pfn(0));
/// Copies that are made together.
const COPIES: usize = 512;

impl Road {
    fn new(me: Me) -> Road {
        let (site, supply, crossing) = (Site::NOWHERE, Supply::NONE, Crossing::default());
        let copies = Vec::new();
        Road { me, site, supply, crossing, moved: 0, failed: 0, copies, sources: NOTHING }
    }

    #[inline]
    fn copy_later(&mut self, kernel: &mut Kernel, pages: (Pfn, Pfn)) {
        if kernel.contents.exist() {
            self.note_copy(kernel, pages);
        }
    }

    fn note_copy(&mut self, kernel: &mut Kernel, (old, new): (Pfn, Pfn)) {
        // A frame that a page has left in this run, that was freed, and taken again.
        let (low, high) = self.sources;
        let may_be_source = low <= new && new <= high;
        let is_source = may_be_source && self.copies.iter().any(|&(from, _)| from == new);
        if is_source || self.copies.len() == COPIES {
            self.copy_now(kernel);
        }
        self.copies.push((old, new));
        self.sources = (self.sources.0.min(old), self.sources.1.max(old));
    }

    /// MC-1 for every page that has gone over.
    fn copy_now(&mut self, kernel: &mut Kernel) {
        kernel.contents.copy_all(&self.copies);
        self.copies.clear();
        self.sources = NOTHING;
    }

    /// Copies what is to be copied, and enters the attempts into the counters and the ledger.
    fn end(&mut self, kernel: &mut Kernel) {
        self.crossing.settle(&mut kernel.zones);
        self.copy_now(kernel);
        let attempts = self.moved + self.failed;
        let cost = &mut kernel.cost;
        cost.attempts += attempts;
        cost.walks += 2 * attempts;
        cost.unmaps += attempts;
        cost.flushes += attempts;
        cost.restores += attempts;
        cost.copies += self.moved;
        cost.moves += self.moved;
        cost.retries += self.failed;
    }
}

/// What a run changes of its batch, borrowed once.
struct Run<'a> {
    target: &'a Target,
    items: &'a mut [Item],
    attempts: &'a mut [u32],
    results: &'a mut [Option<Result<NodeId, Errno>>],
    next: usize,
    kept: usize,
    /// The item that there was no frame for, which ended the run.
    starved: Option<Item>,
}

impl Batch {
    /// Makes one attempt after the other, in the order of the pass, up to the first item that the
    /// straight road is not for, or the end of the pass.
    pub(super) fn go_straight(&mut self, kernel: &mut Kernel, me: Me) {
        if kernel.memcgs.are_on() || kernel.shadow.is_on() {
            return;
        }
        let mut road = Road::new(me);
        let left = self.items.len().saturating_sub(self.next);
        let is_long = self.items.len() > super::WHOLE;
        let reach = if is_long { kernel.fuel.reach(left) } else { left };
        let mut run = Run {
            target: &self.target,
            items: &mut self.items[..self.next + reach],
            attempts: &mut self.report.attempts,
            results: &mut self.report.results,
            next: self.next,
            kept: self.kept,
            starved: None,
        };
        while run.next < run.items.len() && run.attempt(kernel, &mut road) {}
        let (next, kept, starved) = (run.next, run.kept, run.starved);
        (self.next, self.kept) = (next, kept);
        self.retry += road.failed as u32;
        self.report.frames_discarded += road.failed as u32;
        road.end(kernel);
        if is_long {
            kernel.fuel.burn((road.moved + road.failed) as usize);
        }
        if let Some(item) = starved {
            // No further attempt is made, on either road.
            self.end_attempt(kernel, Ended::starved(item.page, item.number as usize));
        }
    }
}

impl Run<'_> {
    /// UM-1 to UM-18 for the next item; tells whether the one after it may be tried here, too.
    #[inline(always)]
    fn attempt(&mut self, kernel: &mut Kernel, road: &mut Road) -> bool {
        let item = self.items[self.next];
        let old = item.page;
        let frame = &kernel.frames[old];
        let (owner, is_anonymous) = (frame.owner_word(), frame.is_usual());
        if !is_anonymous && !cached::is_usual(kernel, old) {
            return false;
        }
        let (is_alone, index) = (!is_anonymous || frame.is_ours_alone(), frame.index());
        let Some((leaf, slot)) = road.site.place_of(kernel, owner, index) else { return false };
        let entry = kernel.tables.get(leaf, slot);
        let is_dirty_file = !is_anonymous && entry.has(Entry::DIRTY);
        if !entry.is_present() || entry.pfn() != old || is_dirty_file {
            return false;
        }
        let number = item.number as usize;
        self.next += 1;
        let new = self.target.allocate_next(kernel, road.me, old, number, &mut road.supply);
        let Some(new) = new else {
            self.starved = Some(item);
            return false;
        };
        let back = road.site.restored(if is_alone { new } else { old }, entry);
        kernel.tables.replace(leaf, slot, back);
        let result = if !is_alone {
            stay(kernel, (old, new), entry, road);
            self.items[self.kept] = item;
            self.kept += 1;
            Err(Errno::Again)
        } else if is_anonymous {
            Ok(carry(kernel, (old, new), entry, road))
        } else {
            Ok(cached::carry(kernel, (old, new), road))
        };
        self.attempts[number] += 1;
        self.results[number] = Some(result);
        true
    }
}

/// The page stays, because others hold references to it (MM-1); the frame goes (UM-17).
fn stay(kernel: &mut Kernel, (old, new): (Pfn, Pfn), entry: Entry, road: &mut Road) {
    let shell = kernel.frames[old].return_from(entry.has(Entry::DIRTY), road.site.owner_after);
    kernel.frames[new] = shell;
    kernel.put_back_as(road.me.cpu, new, ListKind::InactiveAnon);
    road.failed += 1;
}

/// An anonymous page goes over, and both frames go where they belong, the old one first (UM-16, UM-17);
/// the node it is on now.
#[inline(always)]
fn carry(kernel: &mut Kernel, (old, new): (Pfn, Pfn), entry: Entry, road: &mut Road) -> NodeId {
    let shell = &mut kernel.frames[old];
    let is_active = shell.has(PageFlags::ACTIVE);
    let page = shell.hand_over(entry.has(Entry::DIRTY), road.site.owner_after);
    kernel.frames[new] = page;
    road.copy_later(kernel, (old, new));
    let node = road.crossing.note(&mut kernel.zones, old, new);
    let Kernel { frames, zones, lru, .. } = kernel;
    let mut additions = lru.additions(road.me.cpu);
    additions.add(frames, zones, old, ListKind::InactiveAnon);
    additions.add(frames, zones, new, ListKind::evictable(false, is_active));
    road.moved += 1;
    node
}
