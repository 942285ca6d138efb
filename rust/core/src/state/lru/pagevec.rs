//! A pagevec: up to 14 pages waiting, each with a reference of its own.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::base::Pfn;

/// How many pages a pagevec holds; the last one drains it.
pub const PAGEVEC_SIZE: usize = 14;

/// Pages in the order in which they came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pagevec {
    len: u8,
    pages: [Pfn; PAGEVEC_SIZE],
}

/// What is beyond the end is left over, and nobody sees it.
impl Hash for Pagevec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pages().hash(state);
    }
}

impl Pagevec {
    /// The pages waiting.
    #[inline]
    pub fn pages(&self) -> &[Pfn] {
        &self.pages[..usize::from(self.len)]
    }

    /// Adds a page; tells whether the pagevec is full now.
    #[inline]
    pub(super) fn push(&mut self, pfn: Pfn) -> bool {
        self.pages[usize::from(self.len)] = pfn;
        self.len += 1;
        usize::from(self.len) == PAGEVEC_SIZE
    }

    /// Empties it.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Empties it; what was in it.
    #[inline]
    pub(super) fn take(&mut self) -> Pagevec {
        let taken = self.clone();
        self.clear();
        taken
    }
}
