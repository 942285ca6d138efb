//! What programs do to files: look up, read, write, truncate, write back.
//!
//! Start with [`Lookup`], the speculative look-up that everything else begins with, and [`PageIn`],
//! what a fault needs of a file; [`SwapRead`] is the half of a swap-in that both kinds of fault share.
//!
//! supporting-paths 8, 9 and 10. Below us: [`crate::pagecache`], [`crate::zap`]. Left out:
//! readahead, direct I/O, file locks.

mod lookup;
mod page_in;
mod swap_read;

pub use lookup::Lookup;
pub use page_in::{PageIn, PageInError, PagedIn};
pub use swap_read::SwapRead;
