//! What is done to pages of the page cache within one step: add, remove, dirty, write, release.
//!
//! The room between the stores and everything that can be interleaved: no function here waits. Start
//! with [`tree`] (which page is where), then [`dirty`] and [`writeback`] (what must be written, and
//! what is being), [`buffers`], [`transfer`] (disk reads and writes, and how they end), and
//! [`swapcache`] (the pages between memory and swap).
//!
//! Data-model 5 and 8, supporting-paths 7, 10 and 11. Above us: [`crate::unmap`],
//! [`crate::filemap`], [`crate::migrate`]. Left out: readahead of files, inode times.

pub mod buffers;
pub mod dirty;
pub mod swapcache;
pub mod transfer;
pub mod tree;
pub mod writeback;
