//! One type a kind of number, so that a node is never taken for a frame.

use serde::{Deserialize, Serialize};

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number as an index into a table.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl From<usize> for $name {
            #[inline]
            fn from(index: usize) -> Self {
                Self(index as $inner)
            }
        }

        impl From<$name> for usize {
            #[inline]
            fn from(id: $name) -> usize {
                id.index()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id! {
    /// The number of one page frame on the whole machine, not within its zone.
    Pfn(u32)
}
id! {
    /// A NUMA node, 0..64.
    NodeId(u8)
}
id! {
    /// A zone, numbered over the whole machine in frame order.
    ZoneId(u8)
}
id! {
    /// A simulated processor.
    CpuId(u16)
}
id! {
    /// A simulated process, under the number a user sees (pid).
    TaskId(u32)
}
id! {
    /// One process's memory.
    MmId(u32)
}
id! {
    /// A virtual memory area, numbered over the whole machine.
    VmaId(u32)
}
id! {
    /// An anonymous reverse-map list. Never reused: a dead one stays a tombstone (Q26).
    AnonVmaId(u32)
}
id! {
    /// One 512-entry page table in the pool.
    TableId(u32)
}
id! {
    /// What a task is doing in the kernel right now.
    CallId(u32)
}
id! {
    /// An address space in the sense of the page cache: of one file, or of the swap cache.
    MappingId(u32)
}
id! {
    /// The ring of buffers of one page.
    RingId(u32)
}
id! {
    /// A stable node of KSM: one merged page.
    StableNodeId(u32)
}
id! {
    /// One place that KSM knows a page at.
    RmapItemId(u32)
}
id! {
    /// A memory cgroup; 0 is the root.
    MemcgId(u16)
}
id! {
    /// A cpuset; 0 is the root.
    CpusetId(u16)
}

impl MappingId {
    /// The address space of all pages in the swap cache (`swapper_space`).
    pub const SWAPPER: MappingId = MappingId(0);
}

impl CallId {
    /// Stands for the disk where a lock's holder is asked for.
    pub const DISK: CallId = CallId(u32::MAX);
    /// Stands for the person at the machine where a lock's holder is asked for.
    pub const HAND: CallId = CallId(u32::MAX - 1);
}

/// A slot of a swap device: five bits of device above 27 bits of offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SwapEntry(pub u32);

impl SwapEntry {
    /// Offsets from here on do not fit.
    pub const OFFSET_END: u32 = 1 << 27;

    /// Slot `offset` of `device`.
    pub const fn new(device: u8, offset: u32) -> SwapEntry {
        assert!(device < 32 && offset < Self::OFFSET_END, "no such swap slot");
        SwapEntry((device as u32) << 27 | offset)
    }

    /// The number of the device.
    pub const fn device(self) -> u8 {
        (self.0 >> 27) as u8
    }

    /// The slot on the device.
    pub const fn offset(self) -> u32 {
        self.0 & (Self::OFFSET_END - 1)
    }

    /// The architecture-neutral form, which is also the index in the swap cache (data-model 6.4).
    pub const fn neutral(self) -> u64 {
        (self.device() as u64) << 59 | self.offset() as u64
    }

    /// The reverse of [`SwapEntry::neutral`].
    pub const fn from_neutral(value: u64) -> SwapEntry {
        SwapEntry::new((value >> 59) as u8, (value & ((1 << 59) - 1)) as u32)
    }
}

/// A set of nodes, one bit each.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct NodeMask(pub u64);

impl NodeMask {
    /// The set of exactly `node`.
    pub const fn one(node: NodeId) -> Self {
        NodeMask(1 << node.0)
    }

    /// Whether `node` is in the set.
    #[inline]
    pub const fn contains(self, node: NodeId) -> bool {
        node.0 < 64 && self.0 >> node.0 & 1 == 1
    }

    /// Whether no node is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many nodes are in the set.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Nodes in both sets.
    pub const fn and(self, other: Self) -> Self {
        NodeMask(self.0 & other.0)
    }

    /// Nodes in either set.
    pub const fn or(self, other: Self) -> Self {
        NodeMask(self.0 | other.0)
    }

    /// Whether every node of the set is in the other one.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Each node that is the i-th of `from`, replaced by the (i mod n)-th of the n nodes of `to`;
    /// others stay (supporting-paths 18).
    pub fn carried_over(self, from: Self, to: Self) -> Self {
        let place = |node: NodeId| from.iter().take_while(|&other| other < node).count() as u32;
        let carried = |node: NodeId| match to.nth(place(node) % to.len().max(1)) {
            Some(there) if from.contains(node) => there,
            _ => node,
        };
        self.iter().map(carried).collect()
    }

    /// Each node number b replaced by the (b mod n)-th of the n nodes of `onto` (syscalls 6.1,
    /// RELATIVE).
    pub fn folded_onto(self, onto: Self) -> Self {
        self.iter().filter_map(|node| onto.nth(u32::from(node.0) % onto.len().max(1))).collect()
    }

    /// The lowest node of the set.
    pub const fn first(self) -> Option<NodeId> {
        if self.0 == 0 { None } else { Some(NodeId(self.0.trailing_zeros() as u8)) }
    }

    /// The `position`-th node of the set, counting from 0.
    pub fn nth(self, position: u32) -> Option<NodeId> {
        self.iter().nth(position as usize)
    }

    /// The nodes, ascending.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        (0..64).map(NodeId).filter(move |&node| self.contains(node))
    }

    /// The first node after `node` in the set, wrapping around.
    pub fn next_after(self, node: NodeId) -> Option<NodeId> {
        self.iter().find(|&n| n > node).or(self.first())
    }
}

impl FromIterator<NodeId> for NodeMask {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        NodeMask(nodes.into_iter().fold(0, |mask, node| mask | 1 << node.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_carried_over_by_place_and_folded_by_number() {
        let (from, to) = (NodeMask(0b0111), NodeMask(0b11_0000));
        assert_eq!(NodeMask(0b0001).carried_over(from, to), NodeMask(0b01_0000));
        assert_eq!(NodeMask(0b0110).carried_over(from, to), NodeMask(0b11_0000), "2 mod 2 is 0");
        assert_eq!(NodeMask(0b1010).carried_over(from, to), NodeMask(0b10_1000), "3 is no source");
        assert_eq!(
            NodeMask(0b0111).carried_over(from, NodeMask(0)),
            from,
            "there is nowhere to go"
        );
        assert_eq!(NodeMask(0b1001).folded_onto(to), NodeMask(0b11_0000));
        assert_eq!(NodeMask(0b0100).folded_onto(to), NodeMask(0b01_0000));
        assert_eq!(NodeMask(0b0100).folded_onto(NodeMask(0)), NodeMask(0));
        assert!(NodeMask(0b0101).is_within(from) && !NodeMask(0b1001).is_within(from));
    }

    #[test]
    fn a_mask_lists_its_nodes_in_ascending_order_and_wraps() {
        let mask: NodeMask = [NodeId(5), NodeId(1)].into_iter().collect();
        assert_eq!(mask.iter().collect::<Vec<_>>(), [NodeId(1), NodeId(5)]);
        assert_eq!(mask.next_after(NodeId(1)), Some(NodeId(5)));
        assert_eq!(mask.next_after(NodeId(5)), Some(NodeId(1)));
        assert_eq!(NodeMask(0).next_after(NodeId(5)), None);
        assert!(!mask.contains(NodeId(200)));
    }
}
