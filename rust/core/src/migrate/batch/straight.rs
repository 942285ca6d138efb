//! The straight road: a usual page moves, or fails to, in one go.
//!
//! Where nobody can look in between (mode `Run`), most attempts are alike: an anonymous page, mapped
//! once, on nobody's way. What [`super::PageMove`] does to it phase by phase is done here at once, with
//! every value written once: descriptors, entry, counters, pagevecs, ledger and report end up as the
//! phases would have left them, and frames are taken and given back in the same order. Any other page
//! is left to the phases, before anything was done for it.
//!
//! Start with [`Batch::go_straight`]. What holds it to the phases:
//! `rust/core/tests/straight_road.rs`, which runs every situation both ways and compares everything.

use super::{Batch, Ended, Item};
use crate::base::{AnonVmaId, Errno, PAGE_SHIFT, Pfn, TableId, ZoneId};
use crate::kernel::Kernel;
use crate::state::frame::{Frame, Owner, PageFlags};
use crate::state::lru::ListKind;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::zone::Counter;
use crate::step::Me;

/// Where pages of one list are mapped: what the reverse map says about a run of indices.
#[derive(Clone, Copy)]
struct Site {
    list: AnonVmaId,
    /// The first index, how many there are, and the address of the first.
    first: u64,
    pages: u64,
    start: u64,
    /// The page table of the one area that they can be mapped in.
    root: TableId,
    /// The area's protection, and its oldest list (Q14).
    protection: u64,
    oldest: AnonVmaId,
}

impl Site {
    /// No index has a place here.
    const NOWHERE: Site = Site {
        list: AnonVmaId(0),
        first: 0,
        pages: 0,
        start: 0,
        root: TableId(0),
        protection: 0,
        oldest: AnonVmaId(0),
    };

    #[inline]
    fn address_of(&self, list: AnonVmaId, index: u64) -> Option<u64> {
        let offset = index.wrapping_sub(self.first);
        let is_here = self.list == list && offset < self.pages;
        is_here.then(|| self.start + (offset << PAGE_SHIFT))
    }

    /// The only place of an index, if the areas on the list leave no choice: otherwise walks visit
    /// several, which is for the phases.
    fn find(kernel: &Kernel, list: AnonVmaId, index: u64) -> Option<Site> {
        let areas = kernel.anon_vmas.areas(list);
        let fits = |&id: &_| Some((id, kernel.vmas[id].address_of(index)?));
        let mut places = areas.iter().filter_map(fits);
        let (id, address) = places.next()?;
        if places.next().is_some() {
            return None;
        }
        let area = &kernel.vmas[id];
        let (first, pages, start) = match areas.len() {
            1 => (area.pgoff, area.pages(), area.start),
            // Another index may have places in other areas.
            _ => (index, 1, address),
        };
        Some(Site {
            list,
            first,
            pages,
            start,
            root: kernel.mms[area.mm].root,
            protection: area.protection,
            oldest: area.oldest_anon_vma()?,
        })
    }
}

/// What the attempts of one run came to, for the ledger.
#[derive(Default)]
struct Sum {
    moved: u64,
    failed: u64,
}

impl Batch {
    /// Makes one attempt after the other, in the order of the pass, up to the first item that the
    /// straight road is not for, or the end of the pass.
    pub(super) fn go_straight(&mut self, kernel: &mut Kernel, me: Me) {
        if kernel.memcgs.are_on() {
            return;
        }
        let mut sum = Sum::default();
        let mut site = Site::NOWHERE;
        while let Some(&item) = self.items.get(self.next) {
            if !self.attempt(kernel, me, item, &mut site, &mut sum) {
                break;
            }
        }
        let attempts = sum.moved + sum.failed;
        let cost = &mut kernel.cost;
        cost.attempts += attempts;
        cost.walks += 2 * attempts;
        cost.unmaps += attempts;
        cost.flushes += attempts;
        cost.restores += attempts;
        cost.copies += sum.moved;
        cost.moves += sum.moved;
        cost.retries += sum.failed;
    }

    /// UM-1 to UM-18 for one item; tells whether the next one may be tried here, too.
    #[inline]
    fn attempt(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        item: Item,
        site: &mut Site,
        sum: &mut Sum,
    ) -> bool {
        let old = item.page;
        let frame = kernel.frames[old];
        let (true, Owner::Anon(list)) = (frame.is_usual(), frame.owner()) else { return false };
        let found = site.address_of(list, frame.index());
        let found = found.or_else(|| {
            *site = Site::find(kernel, list, frame.index())?;
            site.address_of(list, frame.index())
        });
        let Some(address) = found else { return false };
        let Some(leaf) = kernel.tables.leaf_of(site.root, address) else { return false };
        let entry = kernel.tables.get(leaf, leaf_index(address));
        if !entry.is_present() || entry.pfn() != old {
            return false;
        }
        let number = item.number as usize;
        self.next += 1;
        let Some(new) = self.target.allocate(kernel, me, old, number) else {
            // No further attempt is made, on either road.
            self.end_attempt(kernel, Ended::starved(old, number));
            return false;
        };
        let to = kernel.zones.zone_of(new);
        let result = if frame.is_ours_alone() {
            sum.moved += 1;
            kernel.tables.set(leaf, leaf_index(address), restored(new, entry, site));
            carry(kernel, me, (frame, entry, site.oldest), (old, new), to);
            Ok(kernel.zones[to].node)
        } else {
            sum.failed += 1;
            kernel.tables.set(leaf, leaf_index(address), restored(old, entry, site));
            let is_dirty = entry.has(Entry::DIRTY);
            let shell = kernel.frames[old].return_from(is_dirty, Owner::Anon(site.oldest));
            kernel.frames[new] = shell;
            kernel.put_back_as(me.cpu, new, ListKind::InactiveAnon);
            self.report.frames_discarded += 1;
            self.items[self.kept] = item;
            self.kept += 1;
            self.retry += 1;
            Err(Errno::Again)
        };
        self.report.attempts[number] += 1;
        self.report.results[number] = Some(result);
        true
    }
}

/// The entry that comes back for `page`: clean and unused (Q13), writable if the first one was (Q27).
#[inline]
fn restored(page: Pfn, entry: Entry, site: &Site) -> Entry {
    let writable = entry.0 & Entry::WRITABLE;
    Entry::page(page, site.protection).without(Entry::ACCESSED).with(writable)
}

/// The page goes over, and both frames go where they belong: the old one first (UM-16, UM-17).
#[inline]
fn carry(
    kernel: &mut Kernel,
    me: Me,
    (mut shell, entry, oldest): (Frame, Entry, AnonVmaId),
    (old, new): (Pfn, Pfn),
    to: ZoneId,
) {
    let is_active = shell.has(PageFlags::ACTIVE);
    kernel.contents.copy(old, new);
    kernel.frames[new] = shell.hand_over(entry.has(Entry::DIRTY), Owner::Anon(oldest));
    kernel.frames[old] = shell;
    let from = kernel.zones.counters_of(old);
    from.add(Counter::AnonPages, -1);
    from.add(Counter::IsolatedAnon, -1);
    kernel.zones[to].counters.add(Counter::AnonPages, 1);
    kernel.put_back_as(me.cpu, old, ListKind::InactiveAnon);
    kernel.put_back_as(me.cpu, new, ListKind::evictable(false, is_active));
}
