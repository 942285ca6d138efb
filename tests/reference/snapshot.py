"""The whole observable state as plain data that compares.

Start with :class:`Snapshot`. Names that an implementation may choose freely
(anon_vmas, pids) become canonical: an anon_vma is numbered by its first
appearance in the links of the VMAs, task by task; a task by its place among
the living. The package's side builds the same structure from its public face.

Left out: what the specification leaves open: the index of a page that has none
yet, the frame bits of a zero-page leaf, the number of an anon_vma that is gone.
"""

from __future__ import annotations

import dataclasses

from .entries import SPECIAL, classify
from .memory import Frame
from .rmap import AnonVma
from .tasks import State

GONE = -2
"""The owner of a page whose anon_vma no VMA is linked to any more."""
PFN_BITS = ((1 << 40) - 1) << 12


@dataclasses.dataclass(frozen=True)
class FrameState:
    """An allocated frame. ``owner`` is None, a canonical anon_vma number, or GONE."""

    pfn: int
    node: int
    flags: int
    count: int
    mapcount: int
    owner: int | None
    index: int | None


@dataclasses.dataclass(frozen=True)
class VmaState:
    """A VMA; ``links`` newest first, as canonical numbers."""

    start: int
    end: int
    flags: int
    pgoff: int
    policy: tuple[int, tuple[int, ...]] | None
    links: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class TaskState:
    """A task with a memory; ``entries`` are (address, raw leaf) pairs that are not none."""

    vmas: tuple[VmaState, ...]
    entries: tuple[tuple[int, int], ...]
    counters: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class NodeState:
    """A node: counters by name, and the five lists with the head first."""

    counters: tuple[tuple[str, int], ...]
    lists: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A machine at rest."""

    frames: tuple[FrameState, ...]
    nodes: tuple[NodeState, ...]
    pagevecs: tuple[tuple[tuple[int, ...], ...], ...]
    tasks: tuple[TaskState, ...]


def leaf(entry: int) -> int:
    """A leaf without what the specification leaves open."""
    if classify(entry) == "present" and entry & SPECIAL:
        return entry & ~PFN_BITS
    return entry


def take(state: State) -> Snapshot:
    """Look at everything; change nothing."""
    numbers: dict[AnonVma, int] = {}
    tasks = tuple(_task(state, pid, numbers) for pid in sorted(state.tasks))
    frames = tuple(_frame(frame, numbers) for frame in state.memory.frames if frame.count)
    nodes = tuple(
        NodeState(
            tuple(sorted({**node.counters, "nr_free_pages": len(node.free)}.items())),
            tuple(tuple(pfns) for pfns in node.lists),
        )
        for node in state.memory.nodes.values()
    )
    pagevecs = tuple(tuple(tuple(pfns) for pfns in cpu.pagevecs) for cpu in state.cpus)
    return Snapshot(frames, nodes, pagevecs, tasks)


def _task(state: State, pid: int, numbers: dict[AnonVma, int]) -> TaskState:
    mm = state.tasks[pid].memory_map
    areas = []
    for vma in mm.vmas:
        links = tuple(numbers.setdefault(anon_vma, len(numbers)) for anon_vma in vma.links)
        plain = None if vma.policy is None else (int(vma.policy.mode), vma.policy.nodes)
        areas.append(VmaState(vma.start, vma.end, vma.flags, vma.pgoff, plain, links))
    entries = tuple((address, leaf(entry)) for address, entry in sorted(mm.entries.items()))
    return TaskState(tuple(areas), entries, (0, mm.anon_pages, 0))


def _frame(frame: Frame, numbers: dict[AnonVma, int]) -> FrameState:
    owner = None if frame.owner is None else numbers.get(frame.owner, GONE)
    index = frame.index if frame.owner is not None else None
    return FrameState(frame.pfn, frame.node, int(frame.flags), frame.count, frame.mapcount, owner, index)


def differences(ours: Snapshot, theirs: Snapshot) -> list[str]:
    """Say in words where two snapshots differ; empty where they do not."""
    found: list[str] = []
    _compare("", ours, theirs, found)
    return found


def _compare(path: str, ours: object, theirs: object, found: list[str]) -> None:
    if ours == theirs:
        return
    if dataclasses.is_dataclass(ours) and type(ours) is type(theirs):
        for field in dataclasses.fields(ours):
            name = f"{path}.{field.name}"
            _compare(name, getattr(ours, field.name), getattr(theirs, field.name), found)
        return
    if isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) == len(theirs):
        for position, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            _compare(f"{path}[{position}]", one, other, found)
        return
    found.append(f"{path.lstrip('.')}: reference {ours!r}, package {theirs!r}")
