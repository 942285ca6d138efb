//! Charging pages to memory cgroups (supporting-paths 13). Nothing at all while there are none.

use super::Kernel;
use crate::base::{Errno, MemcgId, Pfn};
use crate::step::Me;

/// What a page is charged, or uncharged, as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Kernel {
    /// Charges a new page to the group of the task that asks for it (try-charge and commit).
    ///
    /// # Errors
    /// `NoMemory` if the group, or one above it, is at its limit.
    pub fn charge(&mut self, me: Me, page: Pfn, kind: ChargeKind) -> Result<(), Errno> {
        let group = self.try_charge(me)?;
        self.commit_charge(group, page, kind);
        Ok(())
    }

    /// One page more for the group of the task; none if nobody is to pay.
    ///
    /// # Errors
    /// As [`Kernel::charge`].
    pub fn try_charge(&mut self, me: Me) -> Result<Option<MemcgId>, Errno> {
        if !self.memcgs.are_on() {
            return Ok(None);
        }
        let _ = me;
        todo!("memcg owner")
    }

    /// The page is the one that was charged for; given back if it has been charged already.
    pub fn commit_charge(&mut self, group: Option<MemcgId>, page: Pfn, kind: ChargeKind) {
        if group.is_some() {
            let _ = (page, kind);
            todo!("memcg owner")
        }
    }

    /// No page came of a charge.
    pub fn cancel_charge(&mut self, group: Option<MemcgId>) {
        if group.is_some() {
            todo!("memcg owner")
        }
    }

    /// The general uncharge, with its guards by kind.
    #[inline]
    pub fn uncharge(&mut self, page: Pfn, kind: ChargeKind) {
        if self.memcgs.are_on() {
            let _ = (page, kind);
            todo!("memcg owner")
        }
    }

    /// The reverse map's uncharge (`mem_cgroup_uncharge_page`): nothing if the page is mapped or
    /// has a mapping that is not anonymous.
    #[inline]
    pub fn uncharge_unmapped(&mut self, page: Pfn) {
        if self.memcgs.are_on() {
            let _ = page;
            todo!("memcg owner")
        }
    }

    /// The first entry of a file page came (+1), or the last one went (-1): the mapped-file statistic
    /// of its group, if its record is Used.
    #[inline]
    pub fn count_mapped_file(&mut self, page: Pfn, change: i64) {
        if self.memcgs.are_on() {
            let _ = (page, change);
            todo!("memcg owner")
        }
    }

    /// UM-5 (`mem_cgroup_prepare_migration`): the group that pays for the new page, too, meanwhile.
    ///
    /// # Errors
    /// `NoMemory` if that group is at its limit.
    #[inline]
    pub fn prepare_migration(&mut self, me: Me, old: Pfn) -> Result<Option<MemcgId>, Errno> {
        if !self.memcgs.are_on() {
            return Ok(None);
        }
        let _ = (me, old);
        todo!("memcg owner")
    }

    /// UM-14 (`mem_cgroup_end_migration`): the page that survives is charged, the other is not.
    #[inline]
    pub fn end_migration(&mut self, group: Option<MemcgId>, old: Pfn, new: Pfn) {
        if group.is_some() {
            let _ = (old, new);
            todo!("memcg owner")
        }
    }
}
