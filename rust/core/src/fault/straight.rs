//! The straight road of a first touch: fresh anonymous memory is filled page after page.
//!
//! Where nobody can look in between (mode `Run`), a store to an address at which nothing is yet makes one
//! fault like the last one: a frame by policy, a descriptor, an entry, a place in a pagevec, and the
//! store goes through. Here that is done for one address after the other, with what the area says read
//! once. The first address that is not like that is left to [`super::Fault`]. What holds it to that:
//! `rust/core/tests/straight_road`.

use super::Access;
use crate::base::{VmaId, ZoneId};
use crate::kernel::Kernel;
use crate::state::frame::{Frame, Owner, OwnerWord};
use crate::state::lru::ListKind;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::state::zone::Counter;
use crate::step::Me;

impl Access {
    /// Serves the accesses from the current one on that are stores to untouched memory of an anonymous
    /// area; tells whether there was any.
    pub(super) fn populate(&mut self, kernel: &mut Kernel, me: Me, vma: VmaId) -> bool {
        let area = &kernel.vmas[vma];
        let is_plain = area.file.is_none() && area.flags & ODD_OR_WRITE == VmFlags::WRITE;
        let is_watched = kernel.memcgs.are_on() || kernel.shadow.is_on();
        let (true, Some(list), false) = (is_plain, area.anon_vma, is_watched) else {
            return false;
        };
        let (start, end, pgoff) = (area.start, area.end, area.linear_index(area.start));
        let bits = area.protection | Entry::WRITABLE | Entry::DIRTY;
        let task = &kernel.tasks[me.task];
        let (policy, mems_allowed) = (area.policy.unwrap_or(task.policy), task.mems_allowed);
        let local = kernel.zones.node_of_cpu(me.cpu);
        let root = kernel.mms[self.mm].root;
        let first = self.at;
        let until = first + kernel.fuel.reach(self.pages.len() - first);
        let mut zone = ZoneId(0);
        let owner = OwnerWord::of(Owner::Anon(list));
        while self.at < until {
            let (address, is_write) = self.pages.get(self.at);
            if !is_write || address < start || address >= end {
                break;
            }
            let at = leaf_index(address);
            let leaf = kernel.tables.leaf_of(root, address);
            let Some(leaf) = leaf.filter(|&leaf| kernel.tables.get(leaf, at).is_none()) else {
                break;
            };
            let index = pgoff + ((address - start) >> crate::base::PAGE_SHIFT);
            let Some(page) = kernel.allocate(policy.request(local, mems_allowed, index)) else {
                break;
            };
            kernel.contents.clear(page);
            kernel.frames[page] = Frame::fresh(owner, index);
            zone = kernel.zones.zone_near(zone, page);
            kernel.zones[zone].counters.add(Counter::AnonPages, 1);
            kernel.put_back_as(me.cpu, page, ListKind::ActiveAnon);
            kernel.tables.set(leaf, at, Entry::page(page, bits));
            self.move_bytes(kernel, page, address);
            self.at += 1;
        }
        kernel.fuel.burn(self.at - first);
        let served = (self.at - first) as u64;
        kernel.mms[self.mm].resident.anon += served as i64;
        kernel.cost.faults += served;
        kernel.cost.walks += served;
        self.tally.minor += served;
        served > 0
    }
}

/// Stores are permitted, and pages are not mlocked as they come.
const ODD_OR_WRITE: VmFlags = VmFlags::WRITE.union(VmFlags::LOCKED);
