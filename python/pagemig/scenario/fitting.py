"""What a scenario's machine cannot be, and what does not fit it: told when the page is read, all at once.

Start with `fits`. Every check looks at a `Page` whose single fields are in their ranges already
(`pagemig.scenario.ranges`) and answers with places and words; nothing is built but a machine of one frame,
on which the regions are mapped: where the kernel puts an area is for the kernel to say.

What only a run shows stays for the run: whether the host has room, and what the setup comes to. Neighbours:
`pagemig.scenario.reaching` for the steps, `pagemig.scenario.checking`, which asks both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from ..errors import UsageError
from ..flags import FILE_BYTES_MAX, PAGE_SIZE, USER_END
from ..machine import Machine
from ..region import Region
from ..topology import Node, Topology, cpu_homes, require_frames
from .call_steps import Exit, Mremap, Munmap
from .mapped import Mapped
from .model import MachinePart, NodePart, Page
from .naming import told
from .setup_steps import Mmap
from .world import filesystem_of

Place: TypeAlias = "tuple[str | int, ...]"
Mistake: TypeAlias = "tuple[Place, str]"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the steps of a scenario must fit."""

    memory: dict[int, int]
    """Bytes of each node, in ascending order of the nodes."""
    cpus: int | None
    """How many CPUs there are; None if the page contradicts itself."""

    @staticmethod
    def of(part: MachinePart) -> Facts:
        """Read the machine of a page."""
        memory = {number: _memory(part.nodes[number]) for number in sorted(part.nodes)}
        try:
            return Facts(memory, len(_homes(part)))
        except UsageError:
            return Facts(memory, None)

    @property
    def with_memory(self) -> list[int]:
        """The nodes that have memory."""
        return [node for node, size in self.memory.items() if size]

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return sum(self.memory.values()) // PAGE_SIZE

    def first_frame(self, node: int) -> int:
        """Return the number of the first frame of a node."""
        return sum(size for other, size in self.memory.items() if other < node) // PAGE_SIZE

    def cpu(self, number: int | None, where: Place) -> Iterator[Mistake]:
        """Refuse a CPU that is not there."""
        if number is not None and self.cpus is not None and number >= self.cpus:
            yield where, f"it is {number}; the machine has CPUs 0 to {self.cpus - 1}"

    def allowed(self, nodes: tuple[int, ...] | None, where: Place) -> Iterator[Mistake]:
        """Refuse nodes of which none has memory, and such as are not there."""
        if nodes is None:
            return
        absent = [node for node in nodes if node not in self.memory]
        for node in absent:
            yield where, f"there is no node {node}; the machine has {_listed(self.memory)}"
        if not absent and not set(nodes) & set(self.with_memory):
            yield where, f"none of its nodes has memory; those that have are {_listed(self.with_memory)}"


def fits(page: Page) -> Iterator[Mistake]:
    """Return what of the machine, its tasks, groups, files and regions cannot be."""
    facts = Facts.of(page.machine)
    yield from _machine(page.machine, facts)
    yield from _cpusets(page, facts)
    for name, file in page.files.items():
        try:
            filesystem_of(file.filesystem)
        except UsageError as error:
            yield ("files", name, "filesystem"), str(error)
    for name, task in page.tasks.items():
        yield from facts.cpu(task.cpu, ("tasks", name, "cpu"))
        yield from facts.allowed(task.mems_allowed, ("tasks", name, "mems_allowed"))
        if task.cpuset in page.cpusets and not page.cpusets[task.cpuset].mems:
            yield ("tasks", name, "cpuset"), f"{task.cpuset!r} has no nodes, so no task can be in it"
    for name, region in page.regions.items():
        yield from spans(region, ("regions", name))
    yield from _areas(page)


def spans(part: Mapped, where: Place) -> Iterator[Mistake]:
    """Refuse a mapping that leaves user space, or what a file can have."""
    length = _length(part)
    if part.at is not None and part.at + length > USER_END:
        yield (*where, "at"), f"{told(length)} at {part.at:#x} leave user space, which ends at {USER_END:#x}"
    if part.file is None and part.offset:
        yield (*where, "offset"), "there is no file; leave it out"
    elif part.offset + length > FILE_BYTES_MAX:
        yield (
            (*where, "offset"),
            f"{told(length)} from {told(part.offset)} on end beyond {told(FILE_BYTES_MAX)}; no file does",
        )


def _length(part: Mapped) -> int:
    pages = part.pages if part.pages is not None else -(-(part.size or 0) // PAGE_SIZE)
    return pages * PAGE_SIZE


# the machine -----------------------------------------------------------------------------


def _memory(part: NodePart) -> int:
    return part.memory if part.memory is not None else sum(zone.memory for zone in part.zones)


def _homes(part: MachinePart) -> tuple[int, ...]:
    return cpu_homes(
        {number: Node(0, cpus=part.nodes[number].cpus) for number in sorted(part.nodes)}, part.cpus
    )


def _machine(part: MachinePart, facts: Facts) -> Iterator[Mistake]:
    for number in sorted(part.nodes):
        yield from _node(part.nodes[number], ("machine", "nodes", str(number)))
    try:
        _homes(part)
    except UsageError as error:
        yield ("machine", "nodes"), str(error)
    told_all = all(node.memory is not None or node.zones for node in part.nodes.values())
    try:
        if told_all:
            require_frames(facts.frames)
    except UsageError as error:
        yield ("machine", "nodes"), str(error)
    if part.distances is not None:
        try:
            rows = len(Topology(part.distances).distances)
        except UsageError as error:
            yield ("machine", "distances"), str(error)
        else:
            if rows != len(part.nodes):
                yield ("machine", "distances"), f"it has {rows} rows; the machine has {len(part.nodes)} nodes"


def _node(part: NodePart, where: Place) -> Iterator[Mistake]:
    kinds = [zone.kind for zone in part.zones]
    for at, zone in enumerate(part.zones):
        if zone.kind in kinds[:at]:
            yield (*where, "zones", at, "kind"), f"the node has a zone of kind {zone.kind!r} already"
        marks = [
            (name, value) for name in ("min", "low", "high") if (value := getattr(zone, name)) is not None
        ]
        for (lower, least), (name, value) in pairwise(marks):
            if value < least:
                yield (*where, "zones", at, name), f"it is {value}; {lower} is {least}, and it cannot be less"
    if part.memory is None and not part.zones:
        yield where, "say how much memory it has: memory (0 for none) or zones"
    elif (
        part.memory is not None and part.zones and part.memory != (total := sum(z.memory for z in part.zones))
    ):
        yield (*where, "memory"), f"it is {told(part.memory)}, but its zones add up to {told(total)}"


def _cpusets(page: Page, facts: Facts) -> Iterator[Mistake]:
    for kind, what in (("memcgs", "memory cgroup"), ("cpusets", "cpuset")):
        if "root" in getattr(page, kind):
            yield (kind, "root"), f"'root' is the {what} that all others are in; give it another name"
    for name, cpuset in page.cpusets.items():
        empty = [node for node in cpuset.mems if not facts.memory.get(node)]
        over = page.cpusets.get(cpuset.parent) if cpuset.parent is not None else None
        for node in empty:
            yield (
                ("cpusets", name, "mems"),
                f"node {node} has no memory; nodes that have are {_listed(facts.with_memory)}",
            )
        for node in cpuset.mems if over is not None else ():
            if over is not None and node not in over.mems and node not in empty:
                yield (
                    ("cpusets", name, "mems"),
                    f"node {node} is none of {cpuset.parent!r}, which has {_listed(over.mems) or 'none'}",
                )


def _listed(nodes: Iterable[int]) -> str:
    return ", ".join(map(str, nodes))


# the regions -----------------------------------------------------------------------------


def _areas(page: Page) -> Iterator[Mistake]:
    """Map what each task is to have on a machine of one frame; tell what finds no room."""
    for name, task in page.tasks.items():
        wanted = [] if task.kernel_thread else list(_mapped_by(page, name))
        if not any(part.at is not None or _length(part) > _SPACIOUS for _, _, part in wanted):
            continue
        scratch = Machine(nodes=[PAGE_SIZE], cpus=1).spawn(stack=task.stack)
        areas = {"the stack": scratch.regions[0]} if scratch.regions else {}
        for where, key, part in wanted:
            length = _length(part)
            if part.at is not None and part.at + length > USER_END:
                continue
            try:
                areas[repr(key)] = scratch.mmap(length, at=part.at)
            except UsageError as error:
                yield (*where, _field(part)), _taken(part.at, length, areas) or str(error)


def _mapped_by(page: Page, task: str) -> Iterator[tuple[Place, str, Mapped]]:
    """The regions of a task, and what it maps in the setup until it unmaps something."""
    for name, region in page.regions.items():
        if region.task == task:
            yield ("regions", name), name, region
    for position, step in enumerate(page.setup):
        if step.by == task and isinstance(step, (Munmap, Mremap, Exit)):
            return
        if step.by == task and isinstance(step, Mmap):
            yield ("setup", position), step.name, step


def _field(region: Mapped) -> str:
    """The key that decides whether a region finds room."""
    return "at" if region.at is not None else "size" if region.pages is None else "pages"


_SPACIOUS = 1 << 36
"""Bytes of a region that may find no room by itself."""


def _taken(at: int | None, length: int, areas: dict[str, Region]) -> str:
    """Say whose place a region would take."""
    if at is None:
        return ""
    found = next((item for item in areas.items() if at < item[1].end and item[1].start < at + length), None)
    if found is None:
        return ""
    name, region = found
    return f"{at:#x} to {at + length:#x} overlaps {name}, which has {region.start:#x} to {region.end:#x}"
