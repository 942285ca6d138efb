"""Where a new frame comes from: memory policies, zonelists and watermarks.

Start with :func:`allocate` and :func:`allocate_on`. :func:`rebind` is what a
change of a cpuset does to a policy.

Source: data model 1.3 (zonelists) and 10 (policies), supporting paths 14 and 18.
Left out: reclaim on behalf of an allocation, out-of-memory handling.
"""

from __future__ import annotations

import dataclasses
import enum
import errno
from collections.abc import Collection

from .memory import MAX_NUMNODES, Frame, Memory

STATIC = 0x8000
RELATIVE = 0x4000


class Mode(enum.IntEnum):
    """Policy modes with the kernel's numbers."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3


@dataclasses.dataclass(frozen=True)
class Policy:
    """A memory policy; PREFERRED without nodes means local.

    ``user`` is the mask as it was asked for, kept with a mode flag; ``bound_to`` is
    the node set the policy was last bound to, and no part of what it is.
    """

    mode: Mode
    nodes: tuple[int, ...] = ()
    flags: int = 0
    user: tuple[int, ...] = ()
    bound_to: tuple[int, ...] = dataclasses.field(default=(), compare=False)


@dataclasses.dataclass
class Requester:
    """On whose behalf a frame is taken: its node, its allowed nodes, its interleave cursor."""

    node: int
    mems_allowed: int
    il_next: int


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
    return memory.take(node) if zone.free_frames > zone.watermark_low else None


def allocate(
    memory: Memory,
    lists: dict[int, list[int]],
    policy: Policy | None,
    requester: Requester,
    index: int | None,
) -> Frame | None:
    """Allocate one frame by policy, or None where no zone qualifies.

    Parameters
    ----------
    index
        ``vm_pgoff`` plus the page offset of the address in its VMA; None without a
        VMA, where INTERLEAVE takes the requester's next node.
    """
    start = requester.node
    filtered: set[int] | None = None
    if policy is not None and policy.mode is Mode.PREFERRED and policy.nodes:
        start = policy.nodes[0]
    elif policy is not None and policy.mode is Mode.INTERLEAVE and policy.nodes:
        if index is not None:
            start = policy.nodes[index % len(policy.nodes)]
        else:
            start = requester.il_next
            requester.il_next = following(policy.nodes, start)
    elif policy is not None and policy.mode is Mode.BIND:
        mask = set(policy.nodes)
        if any(requester.mems_allowed >> node & 1 for node in mask):
            filtered = mask
    for with_low in (True, False):
        for node in lists[start]:
            if filtered is not None and node not in filtered:
                continue
            if not requester.mems_allowed >> node & 1:
                continue
            zone = memory.nodes[node]
            if zone.free_frames > (zone.watermark_low if with_low else zone.watermark_min):
                frame = memory.take(node)
                if frame is not None:
                    return frame
    return None


def following(nodes: Collection[int], node: int) -> int:
    """The next of some nodes after one, cyclically."""
    return min((other for other in nodes if other > node), default=min(nodes))


def fold(user: Collection[int], onto: Collection[int]) -> tuple[int, ...]:
    """RELATIVE: each bit b of the user's mask becomes the (b mod n)-th of n nodes."""
    ordered = sorted(onto)
    return tuple(sorted({ordered[bit % len(ordered)] for bit in user}))


def contextualise(word: int, wanted: Collection[int], allowed: Collection[int]) -> Policy | int | None:
    """What a mode word and a mask ask for, as it holds for a task: a policy, none, or -errno.

    Syscalls 6.1, steps 1, 8 and 11.
    """
    error = check_mode(word, wanted)
    mode, flags = Mode(word & ~(STATIC | RELATIVE)) if not error else Mode.DEFAULT, word & (STATIC | RELATIVE)
    if error or mode is Mode.DEFAULT:
        return error or None
    bound = tuple(sorted(allowed))
    if not wanted:
        return Policy(mode, bound_to=bound)
    nodes = fold(wanted, allowed) if flags & RELATIVE else tuple(sorted(set(wanted) & set(allowed)))
    if not nodes:
        return -errno.EINVAL
    if mode is Mode.PREFERRED:
        nodes = nodes[:1]
    return Policy(mode, nodes, flags, tuple(sorted(wanted)) if flags else (), bound)


def check_mode(word: int, wanted: Collection[int]) -> int:
    """0, or -EINVAL for a mode, flags and a mask that do not fit."""
    mode, flags = word & ~(STATIC | RELATIVE), word & (STATIC | RELATIVE)
    if mode > Mode.INTERLEAVE or flags == STATIC | RELATIVE:
        return -errno.EINVAL
    if mode == Mode.DEFAULT:
        return -errno.EINVAL if wanted else 0
    is_local = mode == Mode.PREFERRED and not flags
    return 0 if wanted or is_local else -errno.EINVAL


def rebind(policy: Policy | None, to: Collection[int]) -> Policy | None:
    """Bind a policy to another set of nodes (supporting paths 18)."""
    if policy is None or policy.mode is Mode.DEFAULT or not to:
        return policy
    new = tuple(sorted(to))
    old = policy.bound_to
    if not policy.flags and old == new:
        return policy

    def remapped(node: int) -> int:
        return new[old.index(node) % len(new)] if node in old else node

    if policy.mode is Mode.PREFERRED:
        if policy.flags & STATIC:
            nodes = policy.user[:1] if policy.user and policy.user[0] in new else ()
        elif policy.flags & RELATIVE:
            nodes = fold(policy.user, new)[:1]
        else:
            nodes = tuple(remapped(node) for node in policy.nodes)
        return dataclasses.replace(policy, nodes=nodes, bound_to=new)
    if policy.flags & STATIC:
        nodes = tuple(node for node in policy.user if node in new)
    elif policy.flags & RELATIVE:
        nodes = fold(policy.user, new)
    else:
        nodes = tuple(sorted({remapped(node) for node in policy.nodes}))
    return dataclasses.replace(policy, nodes=nodes, bound_to=new)
