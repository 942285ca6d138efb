//! What a machine is made of, before there is one.

use serde::{Deserialize, Serialize};

use super::{Misuse, NODES_MAX, NodeId, SwapEntry};

/// Which of the modelled behaviours is wanted (spec README, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// As Linux 2.6.34, defects included.
    #[default]
    Exact,
    /// With the quirks that are plain defects turned off.
    Repaired,
}

/// Zone types in order of preference value (data-model 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ZoneKind {
    /// Below 16 MiB.
    Dma,
    /// Below 4 GiB.
    Dma32,
    /// Ordinary memory.
    Normal,
    /// Memory for movable pages only.
    Movable,
}

impl ZoneKind {
    /// All kinds, lowest preference first.
    pub const ALL: [ZoneKind; 4] =
        [ZoneKind::Dma, ZoneKind::Dma32, ZoneKind::Normal, ZoneKind::Movable];
}

/// How few free frames are too few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watermarks {
    /// Second attempts stop here.
    pub min: u64,
    /// First attempts stop here.
    pub low: u64,
    /// Reclaim would stop here.
    pub high: u64,
}

/// One zone to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ZoneSpec {
    /// Its node.
    pub node: NodeId,
    /// Its type.
    pub kind: ZoneKind,
    /// How many frames.
    pub frames: u64,
    /// Its watermarks.
    pub marks: Watermarks,
}

/// Everything needed to build a machine.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Ids of all nodes, ascending; those without a zone have no memory.
    pub nodes: Vec<NodeId>,
    /// Zones in frame order: by node, within a node by kind.
    pub zones: Vec<ZoneSpec>,
    /// The node of each CPU.
    pub cpu_nodes: Vec<NodeId>,
    /// Distances between nodes, row by row in the order of `nodes`.
    pub distances: Vec<u32>,
    /// Whether frames have bytes.
    pub contents: bool,
    /// Which behaviour.
    pub profile: Profile,
    /// Pages of swap space.
    pub swap_slots: u32,
    /// Frames in a pageblock, which is what can be taken offline; a power of two.
    pub pageblock_frames: u32,
}

impl MachineSpec {
    /// A machine with one NORMAL zone a node, default distances, and CPU c on node c mod n.
    pub fn simple(frames_per_node: &[u64], cpus: usize, contents: bool) -> MachineSpec {
        let nodes: Vec<NodeId> = (0..frames_per_node.len()).map(NodeId::from).collect();
        let zones = nodes
            .iter()
            .zip(frames_per_node)
            .filter(|(_, frames)| **frames > 0)
            .map(|(&node, &frames)| ZoneSpec {
                node,
                kind: ZoneKind::Normal,
                frames,
                marks: Watermarks::default(),
            })
            .collect();
        let distances = nodes
            .iter()
            .flat_map(|a| nodes.iter().map(move |b| if a == b { 10 } else { 20 }))
            .collect();
        let cpu_nodes = (0..cpus).map(|cpu| nodes[cpu % nodes.len()]).collect();
        MachineSpec {
            nodes,
            zones,
            cpu_nodes,
            distances,
            contents,
            profile: Profile::Exact,
            swap_slots: 0,
            pageblock_frames: 512,
        }
    }

    /// Checks that the description is one of a machine.
    pub fn check(&self) -> Result<(), Misuse> {
        let bad = |what: String| Err(Misuse::BadMachine(what));
        if self.nodes.is_empty() || self.nodes.len() > NODES_MAX {
            return bad(format!("{} nodes; there must be 1 to {NODES_MAX}", self.nodes.len()));
        }
        if !self.nodes.is_sorted_by(|a, b| a < b)
            || self.nodes.iter().any(|n| n.index() >= NODES_MAX)
        {
            return bad("node ids must ascend and be below 64".into());
        }
        if self.distances.len() != self.nodes.len().pow(2) {
            return bad(format!(
                "{} distances for {} nodes",
                self.distances.len(),
                self.nodes.len()
            ));
        }
        if self.cpu_nodes.is_empty() || self.cpu_nodes.len() > usize::from(u16::MAX) {
            return bad(format!("{} CPUs; there must be 1 to 65535", self.cpu_nodes.len()));
        }
        if let Some(node) = self.cpu_nodes.iter().find(|node| !self.nodes.contains(node)) {
            return bad(format!("a CPU is on node {node}, which does not exist"));
        }
        if !self.zones.is_sorted_by(|a, b| (a.node, a.kind) < (b.node, b.kind)) {
            return bad("zones must be in order of node and kind, one of each".into());
        }
        if let Some(zone) =
            self.zones.iter().find(|z| !self.nodes.contains(&z.node) || z.frames == 0)
        {
            return bad(format!("a zone of {} frames on node {}", zone.frames, zone.node));
        }
        if !self.pageblock_frames.is_power_of_two() {
            return bad(format!("pageblocks of {} frames; a power of two", self.pageblock_frames));
        }
        if self.swap_slots >= SwapEntry::OFFSET_END {
            let most = SwapEntry::OFFSET_END - 1;
            return bad(format!("{} pages of swap; at most {most}", self.swap_slots));
        }
        let frames = self.zones.iter().try_fold(0u64, |sum, zone| sum.checked_add(zone.frames));
        match frames {
            Some(1..=0xffff_fff0) => Ok(()),
            Some(0) => bad("no node has memory".into()),
            _ => bad("more than 4294967280 frames (16 TiB) in all".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_memory_is_refused() {
        assert!(MachineSpec::simple(&[0, 0], 1, false).check().is_err());
        assert!(MachineSpec::simple(&[0, 8], 1, false).check().is_ok());
        assert!(MachineSpec::simple(&[u64::MAX, 8], 1, false).check().is_err());
    }
}
