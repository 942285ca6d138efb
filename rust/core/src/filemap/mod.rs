//! What programs do to files: look up, read, write, truncate, write back.
//!
//! Start with [`Lookup`], the speculative look-up that everything else begins with, and [`PageIn`],
//! what a fault needs of a file.
//!
//! supporting-paths 8, 9 and 10. Below us: [`crate::pagecache`], [`crate::zap`]. Left out:
//! readahead, direct I/O, file locks.

mod lookup;
mod page_in;

pub use lookup::Lookup;
pub use page_in::{PageIn, PageInError, PagedIn};
