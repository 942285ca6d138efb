//! The simulated kernel: Linux 2.6.34 page migration as data and steps.
//!
//! A machine is data; time is a function over it. In reading order:
//!
//! 1. [`base`]: numbers with types, error codes, what a machine is made of.
//! 2. [`step`] and [`trace`]: how operations are cut into steps, and what is recorded.
//! 3. [`state`]: everything there is. Frames, zones, lists, page tables, address spaces.
//! 4. [`kernel`]: all of that in one struct. Below it are nouns, above it verbs.
//! 5. [`pagecache`]: what one step can do to pages of files and of the swap cache.
//! 6. [`unmap`], [`zap`] and [`audit`]: entries replaced, put back, cleared; the invariants.
//! 7. [`filemap`], [`fault`] and [`mmap`]: what programs do meanwhile.
//! 8. [`reclaim`] and [`ksm`]: what the kernel does meanwhile.
//! 9. [`migrate`]: the engine; [`cpuset`]: one of its callers.
//! 10. [`machine`]: a kernel, its calls in flight, and time.
#![forbid(unsafe_code)]

pub mod audit;
pub mod base;
pub mod cpuset;
pub mod fault;
pub mod filemap;
pub mod kernel;
pub mod ksm;
pub mod machine;
pub mod migrate;
pub mod mmap;
pub mod pagecache;
pub mod reclaim;
pub mod state;
pub mod step;
pub mod trace;
pub mod unmap;
pub mod zap;
