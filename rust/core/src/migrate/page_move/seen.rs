//! How an attempt looks from outside: where it is, and what it holds. For traces and for the audit.

use super::{PageMove, Phase};
use crate::base::Pfn;
use crate::step::Label;

impl PageMove {
    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Allocating => &["UM-1", "UM-2"],
            Phase::Locking => &["UM-3"],
            Phase::Checking => &["UM-4", "UM-5", "UM-6", "UM-7", "UM-8"],
            Phase::Settling => &["UM-6", "UM-7", "UM-8"],
            Phase::Unmapping(walk) => walk.labels(),
            Phase::Claiming(way) => way.labels(),
            Phase::Moving(method) => method.labels(),
            Phase::Transferring => &[
                "MC-1", "MG-3", "MC-2", "MC-3", "MC-4", "MC-5", "MC-6", "MC-7", "MC-8", "MC-9",
                "MC-10", "MG-4",
            ],
            Phase::Mapping(walk) if walk.is_starting() => &["MN-4"],
            Phase::Returning(walk, _) if walk.is_starting() => &["UM-11"],
            Phase::Mapping(walk) | Phase::Returning(walk, _) => walk.labels(),
            Phase::Opening => &["MN-5"],
            Phase::Closing(_) => &["UM-12", "UM-14", "UM-15"],
            Phase::Leaving(_) => &["UM-16", "PB-1", "PB-2", "PB-3"],
            Phase::Discarding(_) => &["UM-17", "UM-18"],
            Phase::Done(_) => &[],
        }
    }

    /// The page under way.
    #[inline]
    pub const fn page(&self) -> Pfn {
        self.old
    }

    /// The target frame, while the attempt owns a reference to it.
    pub const fn new_page(&self) -> Option<Pfn> {
        match self.phase {
            Phase::Allocating | Phase::Done(_) => None,
            _ => Some(self.new),
        }
    }

    /// Whether migration entries may name the old page (I-21).
    pub const fn may_have_entries(&self) -> bool {
        match &self.phase {
            Phase::Moving(method) => method.may_have_entries(),
            Phase::Unmapping(_)
            | Phase::Claiming(_)
            | Phase::Transferring
            | Phase::Mapping(_)
            | Phase::Returning(..) => true,
            _ => false,
        }
    }

    /// The old page and the count that it had before it was frozen, while it is (I-11).
    pub fn frozen(&self) -> Option<(Pfn, u32)> {
        match &self.phase {
            Phase::Moving(method) => method.frozen_count().map(|count| (self.old, count)),
            _ => None,
        }
    }
}
