//! In which order zones are tried (data-model 1.3).

use super::Zone;
use crate::base::{MachineSpec, NODES_MAX, NodeId, ZoneId};

/// Both lists of every node, indexed by node number: (fallback, this-node).
pub(super) fn build(spec: &MachineSpec, zones: &[Zone]) -> (Vec<Vec<ZoneId>>, Vec<Vec<ZoneId>>) {
    let mut fallback = vec![Vec::new(); NODES_MAX];
    let mut this_node = vec![Vec::new(); NODES_MAX];
    let mut load = [0; NODES_MAX];
    for &node in &spec.nodes {
        this_node[node.index()] = zones_of(zones, node);
        fallback[node.index()] = node_order(spec, zones, node, &mut load)
            .into_iter()
            .flat_map(|other| zones_of(zones, other))
            .collect();
    }
    (fallback, this_node)
}

/// A node's zones, highest type first.
fn zones_of(zones: &[Zone], node: NodeId) -> Vec<ZoneId> {
    let of_node = zones.iter().enumerate().filter(|(_, zone)| zone.node == node);
    of_node.map(|(id, _)| ZoneId::from(id)).rev().collect()
}

/// The node itself, then the others by score; `load` breaks ties round robin over all lists.
fn node_order(
    spec: &MachineSpec,
    zones: &[Zone],
    start: NodeId,
    load: &mut [u64; NODES_MAX],
) -> Vec<NodeId> {
    let place = |node: NodeId| spec.nodes.iter().position(|&n| n == node).expect("a node");
    let distance =
        |node: NodeId| u64::from(spec.distances[place(start) * spec.nodes.len() + place(node)]);
    let online = spec.nodes.len() as u64;
    let mut order = vec![start];
    let mut next_load = online - 1;
    let mut previous = start;
    loop {
        let unused =
            spec.nodes.iter().copied().filter(|node| {
                !order.contains(node) && zones.iter().any(|zone| zone.node == *node)
            });
        let score = |node: NodeId| {
            let penalty = u64::from(node < start) + u64::from(spec.cpu_nodes.contains(&node));
            (distance(node) + penalty) * (online * NODES_MAX as u64) + load[node.index()]
        };
        let Some(best) = unused.min_by_key(|&node| (score(node), node)) else {
            return order;
        };
        if distance(best) != distance(previous) {
            load[best.index()] = next_load;
        }
        order.push(best);
        previous = best;
        next_load = next_load.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::zone::Zones;

    #[test]
    fn equal_distances_give_later_nodes_first_then_earlier_ones() {
        let zones = Zones::new(&MachineSpec::simple(&[4, 4, 4, 4], 4, false));
        let order =
            |node| zones.fallback_list(NodeId(node)).iter().map(|z| z.0).collect::<Vec<_>>();
        assert_eq!(order(0), [0, 1, 2, 3]);
        assert_eq!(order(1), [1, 2, 3, 0]);
        assert_eq!(order(2), [2, 3, 0, 1]);
        assert_eq!(order(3), [3, 0, 1, 2]);
    }

    #[test]
    fn a_nearer_node_comes_first_and_one_without_memory_never() {
        let mut spec = MachineSpec::simple(&[4, 0, 4, 4], 1, false);
        spec.distances = vec![10, 20, 40, 20, 20, 10, 20, 20, 40, 20, 10, 20, 20, 20, 20, 10];
        let zones = Zones::new(&spec);
        let nodes = |start| {
            let list = zones.fallback_list(NodeId(start)).iter();
            list.map(|&z| zones[z].node.0).collect::<Vec<_>>()
        };
        assert_eq!(nodes(0), [0, 3, 2]);
        assert_eq!(nodes(1), [2, 3, 0]);
    }
}
