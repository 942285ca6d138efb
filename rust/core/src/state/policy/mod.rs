//! Memory policies: from which node a new page comes (data-model 10, supporting-paths 14).
//!
//! A [`Policy`] belongs to a task or an area and is plain data; [`Policy::request`] turns it
//! into a question to [`crate::state::zone`].

pub mod shared;

use super::zone::Request;
use crate::base::{NodeId, NodeMask};

/// How nodes are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The CPU's node first.
    #[default]
    Default,
    /// One node first; without a node, the CPU's.
    Preferred,
    /// Only these nodes.
    Bind,
    /// These nodes in turn.
    Interleave,
}

impl Mode {
    /// The mode with the system call's number.
    pub fn from_number(mode: u32) -> Option<Mode> {
        [Mode::Default, Mode::Preferred, Mode::Bind, Mode::Interleave].get(mode as usize).copied()
    }
}

/// What a policy was asked for with, where that says more than the nodes that came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Whether the nodes were meant as physical ids (STATIC) and not as places in the cpuset
    /// (RELATIVE).
    pub is_static: bool,
    /// The user's own nodes.
    pub nodes: NodeMask,
}

/// One memory policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    /// How nodes are chosen.
    pub mode: Mode,
    /// Which nodes; for [`Mode::Preferred`] none or one.
    pub nodes: NodeMask,
    /// The request, if it had a mode flag.
    pub asked: Option<Asked>,
}

/// Everywhere.
const ALL: NodeMask = NodeMask(u64::MAX);

impl Policy {
    /// The request for one frame under this policy, from a CPU on node `local`.
    ///
    /// `position` chooses the node of an interleave: a page's place in its area, or the task's
    /// running count. BIND is not filtered when its nodes and `mems_allowed` are disjoint.
    pub fn request(self, local: NodeId, mems_allowed: NodeMask, position: u64) -> Request {
        let from = |node| Request { node, is_this_node_only: false, policy: ALL, mems_allowed };
        match self.mode {
            Mode::Default => from(local),
            Mode::Preferred => from(self.nodes.first().unwrap_or(local)),
            Mode::Bind if self.nodes.and(mems_allowed).is_empty() => from(local),
            Mode::Bind => Request { policy: self.nodes, ..from(local) },
            Mode::Interleave => {
                let at = position % u64::from(self.nodes.len().max(1));
                from(self.nodes.nth(at as u32).unwrap_or(local))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_asks_for_its_node() {
        let node = |mode, nodes, position| {
            let policy = Policy { mode, nodes: NodeMask(nodes), asked: None };
            let request = policy.request(NodeId(3), ALL, position);
            (request.node.0, request.policy.0)
        };
        assert_eq!(node(Mode::Default, 0, 0), (3, u64::MAX));
        assert_eq!(node(Mode::Preferred, 0b100, 0), (2, u64::MAX));
        assert_eq!(node(Mode::Preferred, 0, 0), (3, u64::MAX));
        assert_eq!(node(Mode::Bind, 0b11, 0), (3, 0b11));
        assert_eq!(node(Mode::Interleave, 0b101, 3), (2, u64::MAX));
    }
}
