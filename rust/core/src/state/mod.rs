//! What there is: the stores that together are a machine. Nothing here happens by itself.
//!
//! In reading order: [`frame`] (the pages), [`zone`] (where frames come from and how many
//! there are of what), [`lru`] (aging lists and the pagevecs before them), [`pagetable`],
//! [`mm`] (address spaces), [`rmap`] (from a page back to its entries), [`policy`] (from which
//! node), [`task`], and [`lock`]. A function here takes the stores that it touches, by name;
//! only rooms above [`crate::kernel`] see all of them.

pub mod frame;
pub mod lock;
pub mod lru;
pub mod mm;
pub mod pagetable;
pub mod policy;
pub mod rmap;
pub mod task;
pub mod zone;
