//! What there is: the stores that together are a machine. Nothing here happens by itself.
//!
//! In reading order: [`frame`] (the pages), [`zone`] (where frames come from and how many
//! there are of what), [`lru`] (aging lists and the pagevecs before them), [`pagetable`],
//! [`mapping`] (the page cache), [`io`], [`swap`], [`mm`] (address spaces), [`rmap`] (from a page
//! back to its entries), [`ksm`], [`memcg`] (who pays), [`policy`] (from which node), [`cpuset`],
//! [`task`], [`lock`], and [`shadow`] (what was stored, to compare). A function here takes the stores that it touches, by name;
//! only rooms above [`crate::kernel`] see all of them.

pub mod cpuset;
pub mod frame;
pub mod io;
pub mod ksm;
pub mod lock;
pub mod lru;
pub mod mapping;
pub mod memcg;
pub mod mm;
pub mod pagetable;
pub mod policy;
pub mod rmap;
pub mod shadow;
pub mod swap;
pub mod task;
pub mod zone;
