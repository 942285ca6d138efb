//! Memory policies by the numbers of the system calls.

use pagemig_core::base::NodeMask;
use pagemig_core::state::policy::{Asked, Mode, Policy};
use pyo3::prelude::*;

use crate::errors::usage;

/// (mode, nodes, mode flags, nodes as the user gave them with such a flag)
pub(crate) type PolicyRow = (u32, u64, u32, u64);

/// MPOL_F_STATIC_NODES.
const STATIC: u32 = 0x8000;
/// MPOL_F_RELATIVE_NODES.
const RELATIVE: u32 = 0x4000;

/// A policy by the system call's numbers: mode, nodes, mode flags, the user's nodes. DEFAULT is none.
pub(crate) fn policy((mode, nodes, flags, asked): PolicyRow) -> PyResult<Option<Policy>> {
    let mode =
        Mode::from_number(mode).ok_or_else(|| usage(format!("no policy mode {mode}; 0 to 3")))?;
    let is_flagged = flags & (STATIC | RELATIVE) != 0;
    let asked =
        is_flagged.then_some(Asked { is_static: flags & STATIC != 0, nodes: NodeMask(asked) });
    let policy = Policy { mode, nodes: NodeMask(nodes), asked, ..Policy::default() };
    Ok((mode != Mode::Default).then_some(policy))
}

/// The reverse of [`policy`].
pub(crate) fn policy_row(policy: Policy) -> PolicyRow {
    let flags = policy.asked.map_or(0, |asked| if asked.is_static { STATIC } else { RELATIVE });
    let asked = policy.asked.map_or(0, |asked| asked.nodes.0);
    (policy.mode as u32, policy.nodes.0, flags, asked)
}
