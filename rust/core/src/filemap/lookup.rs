//! `find_get_page` in its three steps, and `find_lock_page` (supporting-paths 9).

use crate::base::{MappingId, Pfn};
use crate::kernel::Kernel;
use crate::step::{Label, Me, Mode, Progress};

/// One look-up. It takes no lock; with `lock`, it ends with the page locked and still in its file.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    file: MappingId,
    index: u64,
    is_locking: bool,
}

impl Lookup {
    /// `find_get_page`, in a file or, by [`crate::base::SwapEntry::neutral`], in the swap cache.
    pub const fn new(file: MappingId, index: u64) -> Lookup {
        Lookup { file, index, is_locking: false }
    }

    /// `find_lock_page`.
    pub const fn locking(file: MappingId, index: u64) -> Lookup {
        Lookup { file, index, is_locking: true }
    }

    /// The page, referenced (and locked, if that was asked for); none if there is none. Only once
    /// done; the reference is the caller's from then on.
    pub fn found(&self) -> Option<Pfn> {
        todo!("files owner")
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        todo!("files owner")
    }

    /// The page that it holds a reference to, while it is not done.
    pub fn held_page(&self) -> Option<Pfn> {
        todo!("files owner")
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let _ = (kernel, me, self.file, self.index, self.is_locking);
        todo!("files owner")
    }
}
