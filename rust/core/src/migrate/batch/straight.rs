//! The straight road: a usual page moves, or fails to, in one go.
//!
//! Where nobody can look in between (mode `Run`), most attempts are alike: a page that is mapped once
//! and in nobody's way. What [`super::PageMove`] does to it phase by phase is done here at once, with
//! every value written once: descriptors, entry, counters, pagevecs, ledger and report end up as the
//! phases would have left them, and frames are taken and given back in the same order. Any other page
//! is left to the phases, before anything was done for it.
//!
//! Start with [`Batch::go_straight`]. [`site`] knows where a page is mapped, [`cached`] what is special
//! about pages of files. What holds all of it to the phases: `rust/core/tests/straight_road`, which runs
//! random situations both ways and compares everything.

mod cached;
mod site;

use super::{Batch, Ended, Item};
use crate::base::{Errno, NodeId, Pfn, ZoneId};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lru::ListKind;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::zone::Counter;
use crate::step::Me;
use site::Site;

/// One run of attempts: what neighbours have in common, and what they came to.
struct Road {
    me: Me,
    site: Site,
    /// The zones of the last two frames.
    from: ZoneId,
    to: ZoneId,
    /// For the ledger: attempts that moved a page, and those that did not.
    moved: u64,
    failed: u64,
    /// Pages whose bytes are still to be copied, in order: nobody can look in between, and many copies
    /// one after the other leave the caches to the descriptors meanwhile.
    copies: Vec<(Pfn, Pfn)>,
}

/// Copies that are made together.
const COPIES: usize = 512;

impl Road {
    fn copy_later(&mut self, kernel: &mut Kernel, pages: (Pfn, Pfn)) {
        if kernel.contents.exist() {
            self.copies.push(pages);
            if self.copies.len() == COPIES {
                self.copy_now(kernel);
            }
        }
    }

    /// MC-1 for every page that has gone over.
    fn copy_now(&mut self, kernel: &mut Kernel) {
        self.copies.drain(..).for_each(|(old, new)| kernel.contents.copy(old, new));
    }
}

impl Batch {
    /// Makes one attempt after the other, in the order of the pass, up to the first item that the
    /// straight road is not for, or the end of the pass.
    pub(super) fn go_straight(&mut self, kernel: &mut Kernel, me: Me) {
        if kernel.memcgs.are_on() || kernel.shadow.is_on() {
            return;
        }
        let (from, to) = (ZoneId(0), ZoneId(0));
        let copies = Vec::new();
        let mut road = Road { me, site: Site::NOWHERE, from, to, moved: 0, failed: 0, copies };
        let left = self.items.len().saturating_sub(self.next);
        let is_long = self.items.len() > super::WHOLE;
        let reach = if is_long { kernel.fuel.reach(left) } else { left };
        let until = self.next + reach;
        while self.next < until {
            let item = self.items[self.next];
            if !self.attempt(kernel, item, &mut road) {
                break;
            }
        }
        road.copy_now(kernel);
        let attempts = road.moved + road.failed;
        if is_long {
            kernel.fuel.burn(attempts as usize);
        }
        let cost = &mut kernel.cost;
        cost.attempts += attempts;
        cost.walks += 2 * attempts;
        cost.unmaps += attempts;
        cost.flushes += attempts;
        cost.restores += attempts;
        cost.copies += road.moved;
        cost.moves += road.moved;
        cost.retries += road.failed;
    }

    /// UM-1 to UM-18 for one item; tells whether the next one may be tried here, too.
    #[inline(always)]
    fn attempt(&mut self, kernel: &mut Kernel, item: Item, road: &mut Road) -> bool {
        let old = item.page;
        let frame = &kernel.frames[old];
        let (owner, is_anonymous) = (frame.owner_word(), frame.is_usual());
        if !is_anonymous && !cached::is_usual(kernel, old) {
            return false;
        }
        let (is_alone, index) = (!is_anonymous || frame.is_ours_alone(), frame.index());
        let Some(address) = road.site.address_of(kernel, owner, index) else { return false };
        let Some(leaf) = kernel.tables.leaf_of(road.site.root, address) else { return false };
        let entry = kernel.tables.get(leaf, leaf_index(address));
        let is_dirty_file = !is_anonymous && entry.has(Entry::DIRTY);
        if !entry.is_present() || entry.pfn() != old || is_dirty_file {
            return false;
        }
        let number = item.number as usize;
        self.next += 1;
        let Some(new) = self.target.allocate(kernel, road.me, old, number) else {
            // No further attempt is made, on either road.
            self.end_attempt(kernel, Ended::starved(old, number));
            return false;
        };
        let back = road.site.restored(if is_alone { new } else { old }, entry);
        kernel.tables.replace(leaf, leaf_index(address), back);
        let result = if !is_alone {
            self.fail(kernel, item, (new, entry), road);
            Err(Errno::Again)
        } else if is_anonymous {
            Ok(carry(kernel, (old, new), entry, road))
        } else {
            Ok(cached::carry(kernel, (old, new), road))
        };
        self.report.attempts[number] += 1;
        self.report.results[number] = Some(result);
        true
    }

    /// The page stays, because others hold references to it (MM-1); the frame goes (UM-17).
    fn fail(
        &mut self,
        kernel: &mut Kernel,
        item: Item,
        (new, entry): (Pfn, Entry),
        road: &mut Road,
    ) {
        let owner = road.site.owner_after;
        let old = &mut kernel.frames[item.page];
        let shell = old.return_from(entry.has(Entry::DIRTY), owner);
        kernel.frames[new] = shell;
        kernel.put_back_as(road.me.cpu, new, ListKind::InactiveAnon);
        self.report.frames_discarded += 1;
        self.items[self.kept] = item;
        self.kept += 1;
        self.retry += 1;
        road.failed += 1;
    }
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
    let zones = &mut kernel.zones;
    (road.from, road.to) = (zones.zone_near(road.from, old), zones.zone_near(road.to, new));
    let from = &mut zones[road.from].counters;
    from.add(Counter::AnonPages, -1);
    from.add(Counter::IsolatedAnon, -1);
    let to = &mut zones[road.to];
    to.counters.add(Counter::AnonPages, 1);
    let node = to.node;
    kernel.put_back_as(road.me.cpu, old, ListKind::InactiveAnon);
    kernel.put_back_as(road.me.cpu, new, ListKind::evictable(false, is_active));
    road.moved += 1;
    node
}
