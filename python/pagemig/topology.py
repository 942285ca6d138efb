"""What a machine is made of, before there is one: nodes, zones, CPUs and distances.

Start with `plan`, which turns what a person writes into the numbers of the core. Frames are
numbered from 0 without gaps, by node and within a node by zone.

Source: data-model 1.1 to 1.3. Left out: reserves, which the core sets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from .arguments import integer, listed, page_multiple
from .errors import UsageError
from .flags import NODES_MAX, PAGE_SIZE, GiB, ZoneKind

DESCRIPTOR_BYTES = 32
"""What the host holds for one frame, besides its contents."""

FRAMES_MAX = 0xFFFF_FFF0
"""Frames of the largest machine (16 TiB less 64 KiB)."""

CPUS_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone of a node.

    Parameters
    ----------
    kind
        Its type.
    memory
        Its size, bytes.
    min, low, high
        The watermarks, frames: an allocation is refused when a zone has no more free.

    Raises
    ------
    UsageError
        The zone is empty or not of whole pages, or its watermarks do not ascend.

    Examples
    --------
    >>> Zone(ZoneKind.MOVABLE, 1 << 20, low=16)
    Zone(kind=<ZoneKind.MOVABLE: 3>, memory=1048576, min=0, low=16, high=16)
    """

    kind: ZoneKind
    memory: int
    min: int = field(default=0, kw_only=True)
    low: int | None = field(default=None, kw_only=True)
    high: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.kind, ZoneKind):
            raise UsageError(f"kind of a zone is {self.kind!r}; it must be a ZoneKind")
        memory = page_multiple(self.memory, "memory of a zone")
        if memory == 0:
            raise UsageError("a zone of 0 bytes is none: leave it out")
        least = integer(self.min, "min of a zone")
        low = integer(least if self.low is None else self.low, "low of a zone", least)
        high = integer(low if self.high is None else self.high, "high of a zone", low)
        for name, value in (("memory", memory), ("min", least), ("low", low), ("high", high)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Node:
    """One NUMA node.

    Parameters
    ----------
    memory
        Its size, bytes; 0 makes a node without memory. May be left out if ``zones`` tell.
    cpus
        The CPUs on it: their ids, or how many. If one node says so, every node's CPUs are
        those it says, none by default, and the machine's ``cpus`` does not count.
    zones
        Its zones. By default all memory is one NORMAL zone with watermarks of 0.

    Raises
    ------
    UsageError
        Neither ``memory`` nor ``zones`` tells its size, they contradict each other, or two zones are of one
        kind.

    Examples
    --------
    >>> Node(1 << 30, cpus=[0, 2])
    Node(memory=1073741824, cpus=(0, 2), zones=())
    """

    memory: int | None = None
    cpus: int | Sequence[int] | None = None
    zones: Sequence[Zone] = ()

    def __post_init__(self) -> None:
        zones = listed(self.zones)
        kinds = [zone.kind for zone in zones or () if isinstance(zone, Zone)]
        if zones is None or len(kinds) != len(zones) or len(set(kinds)) != len(kinds):
            raise UsageError("zones of a node must be Zone(...) values, each of another kind")
        total = sum(zone.memory for zone in zones)
        if self.memory is None and not zones:
            raise UsageError("a node needs memory=... (bytes, 0 for none) or zones=...")
        memory = total if self.memory is None else page_multiple(self.memory, "memory of a node")
        if zones and memory != total:
            raise UsageError(f"memory of a node is {memory}, but its zones add up to {total}")
        object.__setattr__(self, "memory", memory)
        object.__setattr__(self, "zones", tuple(sorted(zones, key=lambda zone: zone.kind)))
        if self.cpus is not None:
            object.__setattr__(self, "cpus", _cpus_of_node(self.cpus))

    def core_zones(self, node: int) -> list[tuple[int, int, int, int, int, int]]:
        """Tell its zones as the core takes them.

        Parameters
        ----------
        node
            The id that it gets.

        Returns
        -------
        list
            (node, kind, frames, min, low, high) of each.
        """
        zones = self.zones or ([Zone(ZoneKind.NORMAL, self.memory)] if self.memory else [])
        return [(node, int(z.kind), z.memory // PAGE_SIZE, z.min, z.low or 0, z.high or 0) for z in zones]


@dataclass(frozen=True, slots=True)
class Topology:
    """How far the nodes are from each other.

    Parameters
    ----------
    distances
        A symmetric square, rows and columns in ascending order of node ids, 1 to 255; Linux
        uses 10 for a node itself and 20 for its neighbour.

    Raises
    ------
    UsageError
        The rows are no symmetric square of such numbers.

    Examples
    --------
    >>> Topology([[10, 21], [21, 10]]).distances
    ((10, 21), (21, 10))
    """

    distances: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        try:
            rows = tuple(tuple(integer(d, "a distance", 1, 255) for d in row) for row in self.distances)
        except TypeError:
            raise UsageError(f"distances is {self.distances!r}; it must be rows of numbers") from None
        size = len(rows)
        for a, row in enumerate(rows):
            if len(row) != size:
                raise UsageError(f"row {a} of distances has {len(row)} entries; there are {size} rows")
            for b in range(a):
                if row[b] != rows[b][a]:
                    raise UsageError(f"distances[{a}][{b}] is {row[b]}, but the way back is {rows[b][a]}")
        object.__setattr__(self, "distances", rows)

    @staticmethod
    def flat(nodes: int) -> Topology:
        """Make the default: 10 from a node to itself, 20 to every other.

        Parameters
        ----------
        nodes
            How many nodes.

        Returns
        -------
        Topology
            Rows and columns for so many.

        Raises
        ------
        UsageError
            ``nodes`` is not 0 to 64.
        """
        ids = range(integer(nodes, "nodes", high=NODES_MAX))
        return Topology([[10 if a == b else 20 for b in ids] for a in ids])


@dataclass(frozen=True, slots=True)
class Plan:
    """A machine that can be built: the numbers that the core wants."""

    nodes: tuple[int, ...]
    """Ids, ascending."""
    zones: tuple[tuple[int, int, int, int, int, int], ...]
    """(node, kind, frames, min, low, high) in frame order."""
    cpu_nodes: tuple[int, ...]
    """The node of each CPU."""
    distances: tuple[int, ...]
    """Row by row."""

    @property
    def frames(self) -> int:
        """How many frames there are in all."""
        return sum(zone[2] for zone in self.zones)

    @property
    def memory_mask(self) -> int:
        """The nodes with memory, N_HIGH_MEMORY, as a mask."""
        mask = 0
        for zone in self.zones:
            mask |= 1 << zone[0]
        return mask


NodeSizes: TypeAlias = "Sequence[int | Node] | Mapping[int, int | Node]"
"""Bytes or `Node` for each node, numbered from 0 or by id."""


def plan(nodes: NodeSizes, cpus: int, topology: Topology | None, *, contents: bool) -> Plan:
    """Turn the description of a machine into a plan that the host can hold.

    Raises
    ------
    UsageError
        The description contradicts itself, or the host has too little memory for it.
    """
    described = _nodes_by_id(nodes)
    ids = tuple(described)
    distances = Topology.flat(len(ids)) if topology is None else topology
    if not isinstance(distances, Topology):
        raise UsageError(f"topology is {topology!r}; it must be a Topology or None")
    if len(distances.distances) != len(ids):
        raise UsageError(f"topology is for {len(distances.distances)} nodes; the machine has {len(ids)}")
    zones = tuple(zone for node, what in described.items() for zone in what.core_zones(node))
    made = Plan(
        ids,
        zones,
        cpu_homes(described, integer(cpus, "cpus", 1, CPUS_MAX)),
        tuple(distance for row in distances.distances for distance in row),
    )
    _require_room(made.frames, contents)
    return made


def _nodes_by_id(nodes: NodeSizes) -> dict[int, Node]:
    if isinstance(nodes, Mapping):
        pairs = list(nodes.items())
    elif isinstance(nodes, Sequence) and not isinstance(nodes, (str, bytes)):
        pairs = list(enumerate(nodes))
    else:
        raise UsageError(f"nodes is {nodes!r}; it must be a size per node, such as [64 * pm.MiB] * 2")
    if not 1 <= len(pairs) <= NODES_MAX:
        raise UsageError(f"{len(pairs)} nodes; a machine has 1 to {NODES_MAX}")
    made = {}
    for key, what in pairs:
        node = integer(key, "a node id", high=NODES_MAX - 1)
        made[node] = what if isinstance(what, Node) else Node(page_multiple(what, f"memory of node {node}"))
    return dict(sorted(made.items()))


def _cpus_of_node(cpus: object) -> int | tuple[int, ...]:
    if isinstance(cpus, Sequence) and not isinstance(cpus, (str, bytes)):
        return tuple(integer(cpu, "a CPU id", high=CPUS_MAX - 1) for cpu in cpus)
    return integer(cpus, "cpus of a node", high=CPUS_MAX)


def cpu_homes(described: Mapping[int, Node], cpus: int) -> tuple[int, ...]:
    """Put CPU c on the (c mod n)-th of the n nodes, unless the nodes say otherwise."""
    ids = list(described)
    stated = {node: what.cpus for node, what in described.items() if what.cpus is not None}
    if not stated:
        return tuple(ids[cpu % len(ids)] for cpu in range(cpus))
    if all(isinstance(count, int) for count in stated.values()):
        homes = [node for node, count in stated.items() if isinstance(count, int) for _ in range(count)]
        if not 1 <= len(homes) <= CPUS_MAX:
            raise UsageError(f"the nodes have {len(homes)} CPUs together; there must be 1 to {CPUS_MAX}")
        return tuple(homes)
    home: dict[int, int] = {}
    for node, named in stated.items():
        if isinstance(named, int):
            raise UsageError(f"node {node} counts its CPUs, another node names them: do one of the two")
        for cpu in named:
            if cpu in home:
                raise UsageError(f"CPU {cpu} is on node {home[cpu]} and on node {node}")
            home[cpu] = node
    missing = next((cpu for cpu in range(len(home)) if cpu not in home), None)
    if missing is not None or not home:
        raise UsageError(f"the nodes name {len(home)} CPUs, but no node names CPU {missing or 0}")
    return tuple(home[cpu] for cpu in range(len(home)))


def require_frames(frames: int) -> None:
    """Refuse a machine with no memory at all, or with more frames than there are numbers for."""
    if frames == 0:
        raise UsageError("no node has memory; give at least one node a page")
    if frames > FRAMES_MAX:
        raise UsageError(f"{frames} frames in all; a machine has up to {FRAMES_MAX} (16 TiB)")


def _require_room(frames: int, contents: bool) -> None:
    require_frames(frames)
    host = _host_bytes()
    each = DESCRIPTOR_BYTES + (PAGE_SIZE if contents else 0)
    if host is not None and frames * each > host:
        what = f"{DESCRIPTOR_BYTES} bytes of descriptor"
        what += f" and {PAGE_SIZE} of contents" if contents else ""
        raise UsageError(
            f"{frames} frames with {what} each need {frames * each / GiB:.1f} GiB; this host has "
            f"{host / GiB:.1f} GiB, enough for {host // each} frames"
        )


def _host_bytes() -> int | None:
    """Return the physical memory of the host, None where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
