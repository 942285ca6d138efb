//! KSM: equal anonymous pages become one, read-only, until somebody writes (supporting-paths 16).
//!
//! A [`KsmScan`] is `ksmd` going once over everything that was marked VM_MERGEABLE, under
//! `ksm_thread_mutex`: [`scan`] finds pages, [`stable`] knows those merged before, [`merge`] makes
//! two places share a page. Whoever takes memory offline keeps scans out ([`going_offline`]).
//!
//! Above us: [`crate::machine`], and offlining. Below: [`crate::fault`], whose `BreakKsm` undoes a
//! merge at one address, and [`crate::mmap`], whose `Unmerge` does so for a range. Left out: the
//! pace of the daemon, checksums of pages that change too fast to be worth a look.

mod breaks;
mod call;
mod merge;
mod scan;
mod stable;
#[cfg(test)]
mod tests;

pub use call::KsmScan;

use std::ops::Range;

use crate::base::{Pfn, StableNodeId};
use crate::kernel::Kernel;
use crate::state::lock::Want;
use crate::step::{LockId, Me, Mode};

/// Memory is about to go offline: keeps scans out, so that pages of KSM can be moved. False: wait
/// for [`LockId::KsmThread`].
pub fn going_offline<M: Mode>(kernel: &mut Kernel, me: Me) -> bool {
    kernel.lock::<M>(me, LockId::KsmThread, Want::Exclusive)
}

/// The end of that. The memory has `gone`: nodes that still name a frame of it are stale. Or it
/// stays after all. Scans may go on.
pub fn offline_done<M: Mode>(kernel: &mut Kernel, me: Me, gone: Option<Range<Pfn>>) {
    let is_gone = |node: &StableNodeId| {
        gone.as_ref().is_some_and(|frames| frames.contains(&kernel.ksm.nodes[*node].kpfn))
    };
    let stale: Vec<StableNodeId> = kernel.ksm.tree.iter().filter(is_gone).collect();
    for node in stale {
        kernel.ksm.drop_node(node);
    }
    kernel.unlock::<M>(me, LockId::KsmThread);
}
