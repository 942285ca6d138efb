"""The whole observable state as plain data that compares.

Start with :class:`Snapshot`. Names that an implementation may choose freely
(anon_vmas, KSM nodes, pids) become canonical: an anon_vma is numbered by its first
appearance in the links of the VMAs, task by task; a task by its place among
the living. The package's side builds the same structure from its public face.

Left out: what the specification leaves open: the index of a page that has none
yet, the frame bits of a zero-page leaf, the number of an anon_vma that is gone.
"""

from __future__ import annotations

import collections
import dataclasses

from . import transfers
from .cache import AddressSpace
from .entries import SPECIAL, classify
from .memory import Flag, Frame
from .policy import Policy
from .rmap import AnonVma, StableNode
from .tasks import State
from .vmas import Vma

PolicyState = tuple[int, tuple[int, ...], int, tuple[int, ...]]
"""Mode, nodes, mode flags, and the nodes as they were asked for."""
GONE = -2
"""The owner of a page whose anon_vma no VMA is linked to any more."""
PFN_BITS = ((1 << 40) - 1) << 12
USED, CACHE, FILE_MAPPED = 1, 2, 4


@dataclasses.dataclass(frozen=True)
class FrameState:
    """An allocated frame. ``owner`` is None, or what kind and which canonical number.

    ``record`` is the memory cgroup's: its flags and, where it is charged, the group.
    """

    pfn: int
    node: int
    flags: int
    count: int
    mapcount: int
    owner: tuple[str, int] | None
    index: int | None
    private: int
    buffers: tuple[tuple[int, int, int], ...]
    record: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class VmaState:
    """A VMA; ``links`` newest first, as canonical numbers."""

    start: int
    end: int
    flags: int
    pgoff: int
    policy: PolicyState | None
    file: int | None
    links: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class TaskState:
    """A task with a memory; ``entries`` are (address, raw leaf) pairs that are not none."""

    vmas: tuple[VmaState, ...]
    entries: tuple[tuple[int, int], ...]
    counters: tuple[int, int, int]
    mems_allowed: int
    policy: PolicyState | None
    il_next: int


@dataclasses.dataclass(frozen=True)
class NodeState:
    """A node: counters by name, the five lists with the head first, and its pageblocks."""

    counters: tuple[tuple[str, int], ...]
    lists: tuple[tuple[int, ...], ...]
    blocks: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class FileState:
    """An address space: pages as (offset, frame, DIRTY, WRITEBACK), areas as (task, start)."""

    number: int
    size: int
    flags: int
    pages: tuple[tuple[int, int, bool, bool], ...]
    areas: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A machine at rest.

    ``slots`` are (number, users, cached, of shmem) of those in use; ``ksm`` has the
    frame and the addresses of each stable node.
    """

    frames: tuple[FrameState, ...]
    nodes: tuple[NodeState, ...]
    pagevecs: tuple[tuple[tuple[int, ...], ...], ...]
    tasks: tuple[TaskState, ...]
    files: tuple[FileState, ...]
    slots: tuple[tuple[int, int, bool, bool], ...]
    transfers: tuple[tuple[int, str, int], ...]
    now: int
    groups: tuple[tuple[int, ...], ...]
    cpusets: tuple[tuple[int, int, tuple[int, ...]], ...]
    ksm: tuple[tuple[int, tuple[int, ...]], ...]
    ksm_pages: tuple[int, int, int]
    drift: tuple[tuple[str, int, int], ...]


def leaf(entry: int) -> int:
    """A leaf without what the specification leaves open."""
    if classify(entry) == "present" and entry & SPECIAL:
        return entry & ~PFN_BITS
    return entry


def take(state: State) -> Snapshot:
    """Look at everything; change nothing."""
    numbers: dict[AnonVma, int] = {}
    tasks = tuple(_task(state, pid, numbers) for pid in sorted(state.tasks))
    merged = {node: at for at, node in enumerate(state.ksm.in_order(state))}
    frames = tuple(_frame(frame, numbers, merged) for frame in state.memory.frames if frame.count)
    nodes = tuple(
        NodeState(
            tuple(sorted({**node.counters, "nr_free_pages": node.free_frames}.items())),
            tuple(tuple(pfns) for pfns in node.lists),
            tuple(sorted(node.blocks.items())),
        )
        for node in state.memory.nodes.values()
    )
    pagevecs = tuple((*(tuple(pfns) for pfns in cpu.pagevecs), tuple(cpu.rotate)) for cpu in state.cpus)
    places = {task.mm: at for at, (_, task) in enumerate(sorted(state.tasks.items())) if task.mm is not None}
    files = (state.swap.space, *(state.files[number] for number in sorted(state.files)))
    return Snapshot(
        frames,
        nodes,
        pagevecs,
        tasks,
        tuple(_file(space, [(places[vma.mm], vma) for vma in space.i_mmap]) for space in files),
        _slots(state),
        tuple((pending.frame.pfn, "write", pending.due) for pending in transfers.in_order(state)),
        state.now,
        tuple((g.number, g.usage, g.cache, g.rss, g.mapped_file) for g in state.groups),
        _cpusets(state),
        tuple(
            (node.kpfn or 0, tuple(item.address for item in node.items)) for node in state.ksm.in_order(state)
        ),
        state.ksm.counters(),
        _drift(state),
    )


def _task(state: State, pid: int, numbers: dict[AnonVma, int]) -> TaskState:
    task = state.tasks[pid]
    mm = task.memory_map
    areas = []
    for vma in mm.vmas:
        links = tuple(numbers.setdefault(anon_vma, len(numbers)) for anon_vma in vma.links)
        file = None if vma.file is None else vma.file.number
        areas.append(VmaState(vma.start, vma.end, vma.flags, vma.pgoff, _policy(vma.policy), file, links))
    entries = tuple((address, leaf(entry)) for address, entry in sorted(mm.entries.items()))
    nodes = sum(1 << node for node in state.memory.nodes)
    return TaskState(
        tuple(areas),
        entries,
        (mm.file_pages, mm.anon_pages, mm.swap_entries),
        task.mems_allowed & nodes,
        _policy(task.policy),
        task.il_next,
    )


def _policy(rule: Policy | None) -> PolicyState | None:
    return None if rule is None else (int(rule.mode), rule.nodes, rule.flags, rule.user)


def _frame(frame: Frame, numbers: dict[AnonVma, int], merged: dict[StableNode, int]) -> FrameState:
    owner: tuple[str, int] | None = None
    if isinstance(frame.owner, AnonVma):
        owner = "anon", numbers.get(frame.owner, GONE)
    elif isinstance(frame.owner, AddressSpace):
        owner = "file", frame.owner.number
    elif isinstance(frame.owner, StableNode):
        owner = "ksm", merged.get(frame.owner, GONE)
    record = (0, 0)
    if frame.record is not None and frame.record.used:
        bits = USED | (CACHE if frame.record.cache else 0) | (FILE_MAPPED if frame.record.file_mapped else 0)
        record = bits, frame.record.owner.number
    return FrameState(
        frame.pfn,
        frame.node,
        int(frame.flags),
        frame.count,
        frame.mapcount,
        owner,
        frame.index if frame.owner is not None else None,
        frame.private if frame.has(Flag.SWAPCACHE) else 0,
        tuple((int(buffer.state), buffer.count, buffer.block) for buffer in frame.buffers),
        record,
    )


def _file(space: AddressSpace, areas: list[tuple[int, Vma]]) -> FileState:
    flags = int(space.had_io_error) | 2 * int(space.had_no_space) | 4 * int(space.filesystem.unevictable)
    pages = tuple(
        (index, frame.pfn, index in space.dirty, index in space.writeback)
        for index, frame in sorted(space.pages.items())
    )
    return FileState(space.number, space.size, flags, pages, tuple((at, vma.start) for at, vma in areas))


def _slots(state: State) -> tuple[tuple[int, int, bool, bool], ...]:
    swap = state.swap
    return tuple(
        (slot, swap.users(slot), slot in swap.has_cache, slot in swap.of_shmem)
        for slot in range(1, swap.slots + 1)
        if not swap.is_free(slot)
    )


def _drift(state: State) -> tuple[tuple[str, int, int], ...]:
    """The ledgers; that of Q18 is as long as nobody has charged the frame again."""
    ledger = collections.Counter(state.drift)
    for frame in state.memory.frames:
        if frame.record is not None and frame.record.leaked:
            ledger["charge", frame.record.owner.number] += 1
    return tuple(sorted((name, where, by) for (name, where), by in ledger.items() if by))


def _cpusets(state: State) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    alive = sorted(state.tasks)
    return tuple(
        (
            cpuset.number,
            sum(1 << node for node in cpuset.mems),
            tuple(at for at, pid in enumerate(alive) if state.tasks[pid].cpuset is cpuset),
        )
        for cpuset in state.cpusets
    )


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
