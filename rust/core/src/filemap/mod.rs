//! What programs do to files: look up, read, write, truncate, write back.
//!
//! Start with [`Lookup`], the speculative look-up that everything else begins with.
//!
//! supporting-paths 8, 9 and 10. Below us: [`crate::pagecache`], [`crate::zap`]. Left out:
//! readahead, direct I/O, file locks.

mod lookup;
mod swap_read;

pub use lookup::Lookup;
pub use swap_read::SwapRead;
