//! Memory policies: from which node a new page comes (data-model 10, supporting-paths 14).
//!
//! A [`Policy`] belongs to a task or an area and is plain data; [`Policy::request`] turns it
//! into a question to [`crate::state::zone`], and [`Policy::rebound`] follows a cpuset whose nodes
//! change (supporting-paths 18).

pub mod shared;

use serde::{Deserialize, Serialize};

use super::zone::Request;
use crate::base::{Errno, NodeId, NodeMask};

/// How nodes are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asked {
    /// Whether the nodes were meant as physical ids (STATIC) and not as places in the cpuset
    /// (RELATIVE).
    pub is_static: bool,
    /// The user's own nodes.
    pub nodes: NodeMask,
}

/// One memory policy. Two are equal if they say the same, whatever they are bound to.
#[derive(Clone, Copy, Debug, Default, Hash, Serialize, Deserialize)]
#[allow(
    clippy::derived_hash_with_manual_eq,
    reason = "the hash is of the machine's state: what a policy is bound to decides a re-binding"
)]
pub struct Policy {
    /// How nodes are chosen.
    pub mode: Mode,
    /// Which nodes; for [`Mode::Preferred`] none or one.
    pub nodes: NodeMask,
    /// The request, if it had a mode flag.
    pub asked: Option<Asked>,
    /// The nodes that the task who made it could use, or those that it was last re-bound to. Means
    /// nothing with a mode flag.
    pub bound: NodeMask,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        (self.mode, self.nodes, self.asked) == (other.mode, other.nodes, other.asked)
    }
}

impl Eq for Policy {}

/// Everywhere.
const ALL: NodeMask = NodeMask(u64::MAX);

impl Policy {
    /// The same, made by a task that can use the nodes `mems_allowed`.
    pub fn bound_to(self, mems_allowed: NodeMask) -> Policy {
        Policy { bound: mems_allowed, ..self }
    }

    /// What becomes of it as it was asked for, with all the nodes that were asked for, where `allowed`
    /// may be used and `bindable` have memory in zones that BIND is about (syscalls 6.1, step 11).
    ///
    /// # Errors
    /// `Invalid` if none of its nodes is left.
    pub fn contextualised(self, allowed: NodeMask, bindable: NodeMask) -> Result<Policy, Errno> {
        if self.nodes.is_empty() {
            return Ok(self);
        }
        let nodes = match self.asked {
            Some(asked) if !asked.is_static => self.nodes.folded_onto(allowed),
            _ => self.nodes.and(allowed),
        };
        let nodes = match (self.mode, nodes.first()) {
            (_, None) => return Err(Errno::Invalid),
            (Mode::Bind, _) if nodes.and(bindable).is_empty() => return Err(Errno::Invalid),
            (Mode::Preferred, Some(first)) => NodeMask::one(first),
            _ => nodes,
        };
        Ok(Policy { nodes, ..self })
    }

    /// What it says once the nodes that its task can use are `to` (supporting-paths 18).
    ///
    /// None if it stays as it is: DEFAULT, or bound to these nodes already.
    pub fn rebound(self, to: NodeMask) -> Option<Policy> {
        let nodes = match (self.mode, self.asked) {
            (Mode::Default, _) => return None,
            (_, None) if self.bound == to => return None,
            (_, None) => self.nodes.carried_over(self.bound, to),
            (Mode::Preferred, Some(asked)) if asked.is_static => {
                let wanted = asked.nodes.first().map_or(NodeMask(0), NodeMask::one);
                wanted.and(to)
            }
            (Mode::Preferred, Some(asked)) => {
                asked.nodes.folded_onto(to).first().map_or(NodeMask(0), NodeMask::one)
            }
            (_, Some(asked)) if asked.is_static => asked.nodes.and(to),
            (_, Some(asked)) => asked.nodes.folded_onto(to),
        };
        Some(Policy { nodes, bound: to, ..self })
    }

    /// Where an interleave that stood at `next` goes on after this policy has been re-bound: there,
    /// or at the next of its nodes; at `local` if it has none.
    pub fn resumed(self, next: NodeId, local: NodeId) -> NodeId {
        match self.mode {
            Mode::Bind | Mode::Interleave if !self.nodes.contains(next) => {
                self.nodes.next_after(next).unwrap_or(local)
            }
            _ => next,
        }
    }

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
            let policy = Policy { mode, nodes: NodeMask(nodes), ..Policy::default() };
            let request = policy.request(NodeId(3), ALL, position);
            (request.node.0, request.policy.0)
        };
        assert_eq!(node(Mode::Default, 0, 0), (3, u64::MAX));
        assert_eq!(node(Mode::Preferred, 0b100, 0), (2, u64::MAX));
        assert_eq!(node(Mode::Preferred, 0, 0), (3, u64::MAX));
        assert_eq!(node(Mode::Bind, 0b11, 0), (3, 0b11));
        assert_eq!(node(Mode::Interleave, 0b101, 3), (2, u64::MAX));
    }

    /// The nodes of a policy made with `flag` (static or not) for `asked` nodes in a cpuset of
    /// `made_in`, after re-binding to each of `then`.
    fn rebound(mode: Mode, flag: Option<bool>, asked: u64, made_in: u64, then: &[u64]) -> Vec<u64> {
        let asked = NodeMask(asked);
        let nodes = match flag {
            Some(false) => asked.folded_onto(NodeMask(made_in)),
            _ => asked.and(NodeMask(made_in)),
        };
        let asked = flag.map(|is_static| Asked { is_static, nodes: asked });
        let mut policy = Policy { mode, nodes, asked, bound: NodeMask(made_in) };
        let step = |&to: &u64| {
            policy = policy.rebound(NodeMask(to)).unwrap_or(policy);
            policy.nodes.0
        };
        then.iter().map(step).collect()
    }

    #[test]
    fn sp18_nodes_without_a_flag_are_carried_over_by_their_place() {
        for mode in [Mode::Bind, Mode::Interleave] {
            assert_eq!(rebound(mode, None, 0b011, 0b011, &[0b1100]), [0b1100]);
            assert_eq!(rebound(mode, None, 0b010, 0b011, &[0b1100, 0b11]), [0b1000, 0b10]);
            // Through the union of old and new, as the kernel does it: 1 of {0,1} is 1 of {0,1,2}.
            assert_eq!(rebound(mode, None, 0b010, 0b011, &[0b111, 0b100]), [0b010, 0b100]);
            assert_eq!(rebound(mode, None, 0b011, 0b011, &[0b100, 0b011]), [0b100, 0b001]);
        }
        assert_eq!(rebound(Mode::Preferred, None, 0b10, 0b11, &[0b1100, 0b1]), [0b1000, 0b1]);
        assert_eq!(rebound(Mode::Preferred, None, 0, 0b11, &[0b100]), [0], "local stays local");
    }

    #[test]
    fn sp18_static_nodes_are_those_that_are_there_and_come_back() {
        let flag = Some(true);
        assert_eq!(rebound(Mode::Bind, flag, 0b110, 0b111, &[0b011, 0b001, 0b111]), [2, 0, 6]);
        // PREFERRED: the user's first node or none, which acts as local.
        assert_eq!(rebound(Mode::Preferred, flag, 0b110, 0b111, &[0b101, 0b011]), [0, 0b010]);
    }

    #[test]
    fn sp18_relative_nodes_are_folded_onto_the_new_set() {
        let flag = Some(false);
        assert_eq!(rebound(Mode::Interleave, flag, 0b110, 0b111, &[0b11000, 0b1]), [0b11000, 1]);
        assert_eq!(rebound(Mode::Bind, flag, 0b100, 0b111, &[0b11000]), [0b01000]);
        assert_eq!(rebound(Mode::Preferred, flag, 0b110, 0b111, &[0b11000]), [0b01000]);
    }

    #[test]
    fn sp18_nothing_happens_to_default_or_to_an_equal_set() {
        let bind = Policy { mode: Mode::Bind, nodes: NodeMask(8), ..Policy::default() };
        assert_eq!(bind.bound_to(NodeMask(3)).rebound(NodeMask(3)), None);
        assert_eq!(Policy::default().rebound(NodeMask(3)), None);
        // Equal as a policy, but bound elsewhere: the same request, with another future.
        assert_eq!(bind.bound_to(NodeMask(3)), bind);
    }

    #[test]
    fn sp18_an_interleave_goes_on_at_the_next_of_its_nodes() {
        let policy =
            |nodes| Policy { mode: Mode::Interleave, nodes: NodeMask(nodes), ..Policy::default() };
        let resumed = |nodes, next| policy(nodes).resumed(NodeId(next), NodeId(9)).0;
        assert_eq!(resumed(0b1010, 1), 1);
        assert_eq!(resumed(0b1010, 2), 3);
        assert_eq!(resumed(0b0011, 2), 0, "cyclically");
        assert_eq!(resumed(0, 2), 9);
        assert_eq!(Policy::default().resumed(NodeId(2), NodeId(9)), NodeId(2));
    }
}
