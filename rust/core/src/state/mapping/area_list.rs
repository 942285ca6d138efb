//! Areas in the order of a walk.
//!
//! The order is what a walk can see (data-model 7.1 and 7.2), so the list has it. A long list has an
//! [`AreaIndex`] beside it, which finds the areas of a page without asking the others; a short one is
//! searched. Who changes the pages of an area says so ([`AreaList::resize`]).
//!
//! The pages of an area are asked for by its number, because areas live upstairs, in [`crate::state::mm`].

use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::AreaIndex;
use crate::base::VmaId;

/// A list of so many areas is searched; a longer one has an index.
const SEARCHED: usize = 32;

/// Areas, each of them once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AreaList {
    areas: SmallVec<[VmaId; 4]>,
    #[serde(skip)]
    index: Option<Box<AreaIndex>>,
}

/// What decides is the list; the index follows from it.
impl Hash for AreaList {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.areas.hash(state);
    }
}

impl Deref for AreaList {
    type Target = [VmaId];

    #[inline]
    fn deref(&self) -> &[VmaId] {
        &self.areas
    }
}

impl AreaList {
    /// Puts an area at place `at`.
    pub fn insert(&mut self, at: usize, id: VmaId, pages_of: impl Fn(VmaId) -> Range<u64>) {
        self.areas.insert(at, id);
        match &mut self.index {
            Some(index) => index.insert(at, id, pages_of(id)),
            None if self.areas.len() > SEARCHED => {
                let listed = self.areas.iter().map(|&id| (id, pages_of(id)));
                self.index = Some(Box::new(AreaIndex::of(listed)));
            }
            None => {}
        }
    }

    /// Gives a long list that was read from a snapshot its index; false if that names no area with pages.
    pub fn complete(&mut self, pages_of: impl Fn(VmaId) -> Option<Range<u64>>) -> bool {
        if self.areas.len() <= SEARCHED {
            return true;
        }
        let listed = self.areas.iter().map(|&id| Some((id, pages_of(id)?)));
        let Some(listed) = listed.collect::<Option<Vec<_>>>() else { return false };
        self.index = Some(Box::new(AreaIndex::of(listed.into_iter())));
        true
    }

    /// Takes an area off.
    pub fn remove(&mut self, id: VmaId) {
        let at = self.position(id).expect("an area is on every list that it names");
        self.areas.remove(at);
        if let Some(index) = &mut self.index {
            index.remove(id);
        }
    }

    /// Puts an area before all others, if it is there.
    pub fn put_first(&mut self, id: VmaId, pages_of: impl Fn(VmaId) -> Range<u64>) {
        if self.position(id).is_some() {
            self.remove(id);
            self.insert(0, id, pages_of);
        }
    }

    /// An area has other pages now. Where it is on the list stays.
    pub fn resize(&mut self, id: VmaId, pages: Range<u64>) {
        if let Some(index) = &mut self.index {
            index.resize(id, pages);
        }
    }

    /// Where an area is.
    pub fn position(&self, id: VmaId) -> Option<usize> {
        match &self.index {
            Some(index) => index.position(id),
            None => self.areas.iter().position(|&other| other == id),
        }
    }

    /// What `maps` says of the next area, from place `from` on, that maps `page`, and the place behind it.
    /// Takes the logarithm of a long list.
    #[inline]
    pub fn next<R>(
        &self,
        from: usize,
        page: u64,
        maps: impl Fn(VmaId) -> Option<R>,
    ) -> Option<(R, usize)> {
        if let Some(index) = &self.index {
            let at = index.next(from, page)?;
            return Some((maps(self.areas[at])?, at + 1));
        }
        let areas: &[VmaId] = &self.areas;
        let mut at = from;
        while let Some(&id) = areas.get(at) {
            at += 1;
            if let Some(found) = maps(id) {
                return Some((found, at));
            }
        }
        None
    }

    /// Whether a long list has an index that says what the list says, and no area is there twice.
    pub fn agrees(&self, pages_of: impl Fn(VmaId) -> Range<u64>) -> bool {
        let listed = self.areas.iter().map(|&id| (id, pages_of(id)));
        match &self.index {
            Some(index) => index.agrees(listed),
            None => {
                let is_new = |at: usize| !self.areas[..at].contains(&self.areas[at]);
                self.areas.len() <= SEARCHED && (0..self.areas.len()).all(is_new)
            }
        }
    }
}
