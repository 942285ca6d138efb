//! Buffers of a page: attached, released, discarded (data-model 5.3, supporting-paths 10).

use crate::base::{Pfn, RingId};
use crate::kernel::Kernel;
use crate::state::mapping::{BufferState, Ring};

/// The ring of a page with PG_private.
pub fn ring_of(kernel: &Kernel, page: Pfn) -> Option<RingId> {
    let _ = (kernel, page);
    todo!("files owner")
}

/// Attaches buffers in `state` to a page of a filesystem that has them (reference + 1).
pub fn attach(kernel: &mut Kernel, page: Pfn, state: BufferState) -> RingId {
    let _ = (kernel, page, state, |ring: Ring| ring);
    todo!("files owner")
}

/// `try_to_free_buffers`: tells whether the page, which is locked, has no buffers any more.
pub fn try_to_free_buffers(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("files owner")
}

/// `try_to_release_page`: by the filesystem's method; tells whether it worked.
pub fn try_to_release_page(kernel: &mut Kernel, page: Pfn) -> bool {
    let _ = (kernel, page);
    todo!("files owner")
}
