//! What programs do to files: look up, read, write, truncate, write back.
//!
//! Start with [`Lookup`], the speculative look-up that everything else begins with. [`PageIn`] is
//! what a fault needs of a file, [`ReadFile`] and [`WriteFile`] what the system calls need; all three
//! get their pages into memory through `fetch`. [`Truncate`] takes pages out, [`WritePage`] puts
//! them on disk, [`Invalidate`] drops one that nobody needs.
//!
//! supporting-paths 2.3, 7 to 10. Below us: [`crate::pagecache`], [`crate::zap`]. Above us:
//! [`crate::fault`]. Left out: readahead, direct I/O, file locks, inode locks.

mod batch;
mod fetch;
mod invalidate;
mod lookup;
mod page_in;
mod partial;
mod read;
mod shmem;
#[cfg(test)]
mod tests;
mod truncate;
mod write;
mod write_page;

pub use invalidate::Invalidate;
pub use lookup::Lookup;
pub use page_in::{PageIn, PageInError, PagedIn};
pub use read::ReadFile;
pub use truncate::Truncate;
pub use write::WriteFile;
pub use write_page::{PageWritten, WritePage};
