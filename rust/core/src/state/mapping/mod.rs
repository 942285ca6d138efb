//! The page cache as data: which page holds which part of which file.
//!
//! An [`AddressSpace`] is one file's index of pages (or the swap cache's, [`Mappings`] number 0):
//! a [`RadixTree`] from page offset to frame, the areas that map the file, and the file itself
//! ([`Inode`]). What a filesystem can do, and what goes wrong on it, is data, too:
//! [`FileSystem`]. Pages of some filesystems carry a ring of [`Buffer`]s.
//!
//! Nothing here happens by itself; [`crate::pagecache`] adds, dirties and removes pages.
//! Data-model 5. Left out: non-linear mappings, inode locks.

mod address_space;
mod area_index;
mod area_list;
mod buffers;
mod file_system;
mod radix_tree;

pub use address_space::{AddressSpace, Disk, Inode, MappingFlags, Mappings};
use area_index::AreaIndex;
pub use area_list::AreaList;
pub use buffers::{Buffer, BufferState, Ring, Rings, buffer_lock};
pub use file_system::{Dirtying, FileSystem, Migrate, Release, Write, Written};
pub use radix_tree::{RadixTree, Tag};

/// Bytes of the longest file: what 39 bits of page offset reach.
pub const FILE_BYTES_MAX: u64 = 1 << (39 + crate::base::PAGE_SHIFT);
