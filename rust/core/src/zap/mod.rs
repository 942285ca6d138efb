//! Clearing entries in bulk: for `munmap` and exit, for `madvise`, and for a file that shrinks.
//!
//! [`Gather`] clears the entries of a run of addresses and drops the pages' references in batches;
//! [`RangeZap`] does so for a range of one area, [`FileUnmapping`] wherever a part of a file is
//! mapped (`unmap_mapping_range`).
//!
//! supporting-paths 6. Above us: [`crate::mmap`] and [`crate::filemap`]. Left out: non-linear areas.

mod file_unmapping;
mod gather;
mod range;

pub use file_unmapping::FileUnmapping;
pub use gather::{Gather, Zapped};
pub use range::RangeZap;
