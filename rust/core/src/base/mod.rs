//! Names for things: numbers with types, error codes, and what a machine is made of.
//!
//! Everything else stands on this room and it stands on nothing. Start with
//! [`Pfn`]: most functions of this crate take one.

mod arena;
mod bugs;
mod errno;
mod grow;
mod ids;
mod lookout;
mod misuse;
pub mod sparse;
mod spec;

pub use arena::Arena;
pub use bugs::{Bugs, KERNEL_HALTS};
pub use errno::Errno;
pub use grow::grow;
pub use ids::{
    AnonVmaId, CallId, CpuId, CpusetId, MappingId, MemcgId, MmId, NodeId, NodeMask, Pfn, RingId,
    RmapItemId, StableNodeId, SwapEntry, TableId, TaskId, VmaId, ZoneId,
};
pub use lookout::Lookout;
pub use misuse::Misuse;
pub use spec::{MachineSpec, Profile, Watermarks, ZoneKind, ZoneSpec};

/// Bytes in a page frame.
pub const PAGE_SIZE: u64 = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// First address beyond user space (data-model 6.2).
pub const USER_END: u64 = (1 << 47) - PAGE_SIZE;
/// Node numbers are 0..64 (`MAX_NUMNODES`).
pub const NODES_MAX: usize = 64;
