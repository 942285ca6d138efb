//! Charging pages to memory cgroups (supporting-paths 13). Nothing at all while there are none.
//!
//! A charge has two halves, because the page that it is for may not be known yet, or may turn out
//! not to be needed: `try_charge` counts a page, `commit_charge` says which one it was. A migration
//! charges a second page for its duration ([`Kernel::prepare_migration`]) and settles which of the
//! two stays charged ([`Kernel::end_migration`]), except that this is where Q17 and Q18 come from.

use serde::{Deserialize, Serialize};

use super::Kernel;
use crate::base::{Errno, MemcgId, Pfn, Profile, SwapEntry};
use crate::state::frame::{Frame, PageFlags};
use crate::state::memcg::{Record, RecordFlags};
use crate::step::Me;

/// What a page is charged, or uncharged, as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChargeKind {
    /// Anonymous, mapped.
    Mapped,
    /// Page cache.
    Cache,
    /// Page cache of shmem.
    Shmem,
    /// Left the swap cache while its slot still has users.
    SwapOut,
    /// Left the swap cache for good.
    DroppedSwapCache,
}

impl ChargeKind {
    /// Whether a page charged as this counts as page cache.
    const fn is_cache(self) -> bool {
        matches!(self, ChargeKind::Cache | ChargeKind::Shmem)
    }
}

impl Kernel {
    /// Charges a new page to the group of the task that asks for it (try-charge and commit).
    ///
    /// # Errors
    /// `NoMemory` if the group, or one above it, is at its limit.
    #[inline]
    pub fn charge(&mut self, me: Me, page: Pfn, kind: ChargeKind) -> Result<(), Errno> {
        let group = self.try_charge(me)?;
        self.commit_charge(group, page, kind);
        Ok(())
    }

    /// One page more for the group of the task; none if nobody is to pay.
    ///
    /// # Errors
    /// As [`Kernel::charge`].
    #[inline]
    pub fn try_charge(&mut self, me: Me) -> Result<Option<MemcgId>, Errno> {
        if !self.memcgs.are_on() {
            return Ok(None);
        }
        self.try_charge_to(me, self.tasks[me.task].memcg)
    }

    /// One page more for `group`, on behalf of a task that may be dying: then nobody pays.
    ///
    /// Reclaim would have six rounds to make room; nobody hooks one in here, so that the first
    /// refusal is the last.
    fn try_charge_to(&mut self, me: Me, group: MemcgId) -> Result<Option<MemcgId>, Errno> {
        if self.tasks[me.task].is_exiting {
            return Ok(None);
        }
        if self.memcgs.admit(group) { Ok(Some(group)) } else { Err(Errno::NoMemory) }
    }

    /// The page is the one that was charged for; given back if it has been charged already.
    #[inline]
    pub fn commit_charge(&mut self, group: Option<MemcgId>, page: Pfn, kind: ChargeKind) {
        if let Some(group) = group {
            self.commit(group, page, kind);
        }
    }

    fn commit(&mut self, group: MemcgId, page: Pfn, kind: ChargeKind) {
        let frame = self.frames[page];
        if frame.has(PageFlags::SWAPCACHE) {
            self.memcgs.forget_swapped(SwapEntry(frame.private));
        }
        if self.memcgs.record(page).flags.contains(RecordFlags::USED) {
            // The frame may carry a charge that Q18 left there: from now on it is this page's.
            self.memcgs.end_leak(page);
            self.memcgs.discharge(group);
            return;
        }
        let mut flags = RecordFlags::USED;
        flags.set(RecordFlags::CACHE, kind.is_cache());
        self.memcgs.set_record(page, Record { flags, owner: group });
        let group = &mut self.memcgs[group];
        *group.sort(kind.is_cache()) += 1;
        // Q17: whoever mapped the page before this found no one to count it for.
        group.mapped_file_drift += i64::from(frame.is_mapped() && !frame.is_anon());
    }

    /// No page came of a charge.
    #[inline]
    pub fn cancel_charge(&mut self, group: Option<MemcgId>) {
        if let Some(group) = group {
            self.memcgs.discharge(group);
        }
    }

    /// The general uncharge, with its guards by kind. A page in the swap cache stays charged.
    #[inline]
    pub fn uncharge(&mut self, page: Pfn, kind: ChargeKind) {
        if self.memcgs.are_on() {
            self.uncharge_guarded(page, kind);
        }
    }

    /// Whose charge it was, if it is gone.
    fn uncharge_guarded(&mut self, page: Pfn, kind: ChargeKind) -> Option<MemcgId> {
        let (frame, record) = (self.frames[page], self.memcgs.record(page));
        let is_spared = match kind {
            ChargeKind::Mapped | ChargeKind::DroppedSwapCache => frame.is_mapped(),
            ChargeKind::SwapOut if frame.is_anon() => frame.is_mapped(),
            ChargeKind::SwapOut => !frame.is_unowned() && frame.has(PageFlags::SWAPBACKED),
            ChargeKind::Cache | ChargeKind::Shmem => false,
        };
        let is_used = record.flags.contains(RecordFlags::USED);
        if frame.has(PageFlags::SWAPCACHE) || !is_used || is_spared {
            return None;
        }
        self.memcgs.end_leak(page);
        self.memcgs.set_record(page, Record { flags: RecordFlags::empty(), ..record });
        self.memcgs.discharge(record.owner);
        let group = &mut self.memcgs[record.owner];
        *group.sort(record.flags.contains(RecordFlags::CACHE)) -= 1;
        group.mapped_file_drift -= i64::from(frame.is_mapped() && !frame.is_anon());
        Some(record.owner)
    }

    /// The uncharge of a page that left the swap cache while `slot` still has users (kind
    /// swap-out): its group counts the slot in SWAPOUT instead, until [`Kernel::forget_free_slot`]
    /// or until the page is charged again.
    #[inline]
    pub fn uncharge_to_swap(&mut self, page: Pfn, slot: SwapEntry) {
        if self.memcgs.are_on() {
            if let Some(group) = self.uncharge_guarded(page, ChargeKind::SwapOut) {
                self.memcgs.note_swapped(slot, group);
            }
        }
    }

    /// A swap slot has a user less: if it is free now, no group counts it any more.
    #[inline]
    pub fn forget_free_slot(&mut self, slot: SwapEntry) {
        if self.memcgs.are_on() && self.swaps.slot(slot).is_free() {
            self.memcgs.forget_swapped(slot);
        }
    }

    /// The reverse map's uncharge (`mem_cgroup_uncharge_page`): nothing if the page is mapped or
    /// has a mapping that is not anonymous.
    #[inline]
    pub fn uncharge_unmapped(&mut self, page: Pfn) {
        if self.memcgs.are_on() {
            let frame = &self.frames[page];
            if !frame.is_mapped() && (frame.is_anon() || frame.is_unowned()) {
                self.uncharge_guarded(page, ChargeKind::Mapped);
            }
        }
    }

    /// The first entry of a file page came (+1), or the last one went (-1): the mapped-file
    /// statistic of its group, if its record is Used.
    #[inline]
    pub fn count_mapped_file(&mut self, page: Pfn, change: i64) {
        if self.memcgs.are_on() {
            self.count_mapped(page, change);
        }
    }

    fn count_mapped(&mut self, page: Pfn, change: i64) {
        let mut record = self.memcgs.record(page);
        if record.flags.contains(RecordFlags::USED) {
            record.flags.set(RecordFlags::FILE_MAPPED, change > 0);
            self.memcgs.set_record(page, record);
            self.memcgs[record.owner].mapped_file += change;
        }
    }

    /// UM-5 (`mem_cgroup_prepare_migration`): the group that pays for the new page, too, meanwhile;
    /// none if nobody pays for the old one, or the task is dying.
    ///
    /// # Errors
    /// `NoMemory` if that group is at its limit (S39).
    #[inline]
    pub fn prepare_migration(&mut self, me: Me, old: Pfn) -> Result<Option<MemcgId>, Errno> {
        let record = self.memcgs.record(old);
        if !record.flags.contains(RecordFlags::USED) {
            return Ok(None);
        }
        self.try_charge_to(me, record.owner)
    }

    /// A page was copied and nothing can fail any more, but it is not mapped yet. In REPAIRED the
    /// charge moves now, so that whoever maps it is counted (Q17 off). In EXACT nothing happens.
    #[inline]
    pub fn commit_migration_early(&mut self, group: Option<MemcgId>, old: Pfn, new: Pfn) {
        if let (Some(group), Profile::Repaired) = (group, self.profile) {
            let kind = self.kind_of(new);
            self.uncharge(old, kind);
            self.commit(group, new, kind);
        }
    }

    /// UM-14 (`mem_cgroup_end_migration`): the page that survives is charged, the other is not.
    ///
    /// In EXACT it is `mapping` of the old page that tells which one survives, and where that is
    /// null although the move failed, the charge ends on the frame that is thrown away (Q18). So it
    /// does if the new page was truncated before the charge got to it.
    #[inline]
    pub fn end_migration(&mut self, group: Option<MemcgId>, old: Pfn, new: Pfn, is_moved: bool) {
        let Some(group) = group else { return };
        match self.profile {
            Profile::Exact => self.settle(group, old, new),
            Profile::Repaired => self.settle_repaired(group, old, new, is_moved),
        }
    }

    fn settle(&mut self, group: MemcgId, old: Pfn, new: Pfn) {
        let has_failed = !self.frames[old].is_unowned();
        let target = if has_failed { old } else { new };
        let kind = self.kind_of(target);
        if !has_failed {
            self.uncharge(old, kind);
        }
        self.commit(group, target, kind);
        // Nothing will uncharge a page that has no address space: it was thrown away, or, since MN-5,
        // truncated.
        let is_nobodys = |frame: &Frame| frame.is_unowned() && !frame.has(PageFlags::SWAPCACHE);
        if !has_failed && is_nobodys(&self.frames[new]) {
            self.memcgs.note_leak(new);
        }
        if kind == ChargeKind::Mapped {
            self.uncharge_unmapped(target);
        }
    }

    /// Q17 and Q18 off: a success was settled before the page was mapped; after a failure the old
    /// page keeps its charge, or gets it back if it lost it by being unmapped.
    fn settle_repaired(&mut self, group: MemcgId, old: Pfn, new: Pfn, is_moved: bool) {
        let target = if is_moved { new } else { old };
        let is_used = self.memcgs.record(old).flags.contains(RecordFlags::USED);
        if !is_moved && (is_used || !self.frames[old].is_anon()) {
            self.memcgs.discharge(group);
        } else if !is_moved {
            self.commit(group, old, ChargeKind::Mapped);
        }
        if self.frames[target].is_anon() {
            self.uncharge_unmapped(target);
        }
    }

    /// What a page that was migrated is charged as: by what it is now.
    fn kind_of(&self, page: Pfn) -> ChargeKind {
        let frame = &self.frames[page];
        if frame.is_anon() {
            ChargeKind::Mapped
        } else if frame.is_file_family() {
            ChargeKind::Cache
        } else {
            ChargeKind::Shmem
        }
    }

    /// The record of a frame, as people see it.
    pub fn memcg_record(&self, page: Pfn) -> Record {
        let mut record = self.memcgs.record(page);
        let is_counted =
            record.flags.contains(RecordFlags::USED) && self.frames[page].has(PageFlags::LRU);
        record.flags.set(RecordFlags::ACCT_LRU, is_counted);
        record
    }
}
