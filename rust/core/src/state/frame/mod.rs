//! Page frames: one 32-byte descriptor each, and, where the machine has them, the bytes.
//!
//! Start with [`Frame`]. An all-zero descriptor is a free frame, so a machine costs what is
//! touched and not what exists: the host hands out zeroed memory only when it is written.
//!
//! Data-model 2. Left out: compound pages. `docs/rooms/frame.md` explains the packing.

mod contents;
mod flags;
mod handover;
mod owner;
mod table;

pub use contents::{Contents, PageCopier};
pub use flags::PageFlags;
pub use owner::{Owner, OwnerWord};
pub use table::{Frame, FrameTable, Link};
