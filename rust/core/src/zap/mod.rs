//! Clearing entries in bulk: for `munmap` and exit, and for a file that shrinks.
//!
//! [`Gather`] clears the entries of a run of addresses and drops the pages' references in batches;
//! [`FileUnmapping`] does so wherever a part of a file is mapped (`unmap_mapping_range`).
//!
//! supporting-paths 6. Above us: [`crate::mmap`] and [`crate::filemap`].

mod file_unmapping;
mod gather;

pub use file_unmapping::FileUnmapping;
pub use gather::Gather;
