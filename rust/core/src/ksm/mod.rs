//! Stub of offline's branch only: the real room is on wt-groups.

use std::ops::Range;

use crate::base::Pfn;
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::step::{LockId, Me, Mode};

/// As in wt-groups.
pub fn going_offline<M: Mode>(kernel: &mut Kernel, me: Me) -> bool {
    kernel.lock::<M>(me, LockId::KsmThread, Want::Exclusive)
}

/// As in wt-groups.
pub fn offline_done<M: Mode>(kernel: &mut Kernel, me: Me, frames: Range<Pfn>) {
    let _ = frames;
    cancel_offline::<M>(kernel, me);
}

/// As in wt-groups.
pub fn cancel_offline<M: Mode>(kernel: &mut Kernel, me: Me) {
    kernel.unlock::<M>(me, LockId::KsmThread);
}
