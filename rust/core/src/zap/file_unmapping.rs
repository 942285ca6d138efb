//! `unmap_mapping_range`: wherever a part of a file is mapped, it is no more.

use std::ops::Range;

use crate::base::{MappingId, Pfn};
use crate::kernel::Kernel;
use crate::step::{Label, Me, Mode, Progress};

/// One run over the areas that map a part of a file, under `i_mmap_lock`.
#[derive(Clone, Debug)]
pub struct FileUnmapping {
    file: MappingId,
    pages: Range<u64>,
    even_copies: bool,
}

impl FileUnmapping {
    /// Will unmap the pages of the range; `even_copies`: private copies and migration entries, too
    /// (even_cows 1).
    pub const fn new(file: MappingId, pages: Range<u64>, even_copies: bool) -> FileUnmapping {
        FileUnmapping { file, pages, even_copies }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        todo!("mmap owner")
    }

    /// Pages that wait for their reference to be dropped.
    pub fn held_pages(&self) -> &[Pfn] {
        todo!("mmap owner")
    }

    /// Makes one step: at most one leaf table's entries.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let _ = (kernel, me, self.file, &self.pages, self.even_copies);
        todo!("mmap owner")
    }
}
