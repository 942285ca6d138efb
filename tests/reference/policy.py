"""Where a new frame comes from: memory policies, zonelists and watermarks.

Start with :func:`allocate` and :func:`allocate_on`.

Source: data model 1.3 (zonelists) and 10 (policies), supporting paths 14.
Left out: reclaim, out-of-memory handling, cpuset re-binding.
"""

from __future__ import annotations

import dataclasses
import enum

from .memory import MAX_NUMNODES, Frame, Memory


class Mode(enum.IntEnum):
    """Policy modes with the kernel's numbers."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3


@dataclasses.dataclass(frozen=True)
class Policy:
    """A memory policy; PREFERRED without nodes means local."""

    mode: Mode
    nodes: tuple[int, ...] = ()


def zonelists(memory: Memory, cpu_nodes: set[int]) -> dict[int, list[int]]:
    """Every node's fallback list: itself, then the best unused node again and again."""
    load = dict.fromkeys(memory.nodes, 0)
    online = len(memory.nodes)
    lists: dict[int, list[int]] = {}
    for start in sorted(memory.nodes):
        order = [start] if start in memory.with_memory else []
        unused = sorted(memory.with_memory - {start})
        weight = online - 1
        last_distance = 10
        while unused:

            def score(node: int, start: int = start) -> int:
                penalty = 20 + int(node < start) + int(node in cpu_nodes)
                return penalty * online * MAX_NUMNODES + load[node]

            best = min(unused, key=score)
            unused.remove(best)
            if last_distance != 20:
                load[best] = weight
            last_distance = 20
            weight -= 1
            order.append(best)
        lists[start] = order
    return lists


def allocate_on(memory: Memory, node: int) -> Frame | None:
    """The full this-node combination: LOW watermark, no fallback, no retry."""
    if node not in memory.nodes:
        return None
    zone = memory.nodes[node]
    return memory.take(node) if len(zone.free) > zone.watermark_low else None


def allocate(
    memory: Memory,
    lists: dict[int, list[int]],
    policy: Policy | None,
    *,
    cpu_node: int,
    mems_allowed: int,
    interleave_index: int,
) -> Frame | None:
    """Allocate one frame by policy, or None where no zone qualifies.

    Parameters
    ----------
    interleave_index
        ``vm_pgoff`` plus the page offset of the address in its VMA.
    """
    start = cpu_node
    filtered: set[int] | None = None
    if policy is not None and policy.mode is Mode.PREFERRED and policy.nodes:
        start = policy.nodes[0]
    elif policy is not None and policy.mode is Mode.INTERLEAVE:
        start = policy.nodes[interleave_index % len(policy.nodes)]
    elif policy is not None and policy.mode is Mode.BIND:
        mask = set(policy.nodes)
        if any(mems_allowed >> node & 1 for node in mask):
            filtered = mask
    for with_low in (True, False):
        for node in lists[start]:
            if filtered is not None and node not in filtered:
                continue
            if not mems_allowed >> node & 1:
                continue
            zone = memory.nodes[node]
            if len(zone.free) > (zone.watermark_low if with_low else zone.watermark_min):
                return memory.take(node)
    return None
