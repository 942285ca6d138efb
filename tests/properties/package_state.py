"""The state of a package machine in the words of the reference.

Start with :func:`take`. It looks through the core where the public face has no
view (areas with their links, LRU lists, pagevecs) and changes nothing.
"""

from __future__ import annotations

import pagemig as pm
from tests.reference import snapshot as reference
from tests.reference.memory import COUNTERS

NORMAL = int(pm.ZoneKind.NORMAL)
KINDS = {pm.OwnerKind.ANON: "anon", pm.OwnerKind.FILE: "file", pm.OwnerKind.KSM: "ksm"}


class _Names:
    """The canonical numbers of what an implementation names as it likes."""

    def __init__(self, machine: pm.Machine) -> None:
        core = machine._system.core
        self.anon: dict[int, int] = {}
        self.areas: dict[int, tuple[int, int]] = {}
        self.places: dict[int, int] = {}
        self.nodes = {node: at for at, (node, *_) in enumerate(_ksm_nodes(machine))}
        for at, task in enumerate(machine.tasks):
            self.places[task.pid] = at
            for start, _, _, _, _, area, links in core.vmas(task.pid):
                self.areas[area] = at, start
                for link in links:
                    self.anon.setdefault(link, len(self.anon))

    def owner(self, frame: pm.FrameInfo) -> tuple[str, int] | None:
        """What a page belongs to."""
        if frame.owner is None:
            return None
        kind = KINDS[frame.owner.kind]
        numbers = {"anon": self.anon, "ksm": self.nodes}.get(kind)
        number = frame.owner.id
        return kind, number if numbers is None else numbers.get(number, reference.GONE)


def take(machine: pm.Machine) -> reference.Snapshot:
    """Look at everything, with names made canonical."""
    names = _Names(machine)
    core = machine._system.core
    pagevecs = tuple(
        tuple(tuple(core.pagevec(cpu, index)) for index in range(6)) for cpu in range(len(machine.cpus))
    )
    pending = [(pfn, direction, -1 if due is None else due) for _, pfn, direction, due in core.pending_io()]
    slots = core.swap()[0]
    return reference.Snapshot(
        tuple(state for node in machine.nodes for state in _frames(machine, node, names)),
        tuple(_node(machine, node) for node in machine.nodes),
        pagevecs,
        tuple(_task(machine, task, names) for task in machine.tasks),
        tuple(_file(machine, number, names) for number in (0, *(row[0] for row in core.files()))),
        tuple((slot, *core.swap_slot(slot)) for slot in range(1, slots + 1) if any(core.swap_slot(slot))),
        tuple(pending),
        core.now,
        tuple((row[0], row[3], *row[5:8]) for row in core.memcgs()),
        tuple(
            (row[0], row[3], tuple(names.places[pid] for pid in core.cpuset_pids(row[0])))
            for row in core.cpusets()
        ),
        tuple((kpfn, tuple(address for _, address in items)) for _, kpfn, items in _ksm_nodes(machine)),
        core.ksm(),
        tuple(sorted((ledger, where, by) for ledger, where, by in core.drift() if by)),
    )


def _ksm_nodes(machine: pm.Machine) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Stable nodes by their frame; a stale one stays until a search meets it."""
    rows = [
        row
        for row in machine._system.core.ksm_nodes()
        if row[2] or machine.frame(row[1]).owner == pm.Owner(pm.OwnerKind.KSM, row[0])
    ]
    return sorted(rows, key=lambda row: (row[1], [address for _, address in row[2]]))


def _policy(row: tuple[int, int, int, int] | None) -> reference.PolicyState | None:
    if row is None or row[0] == int(pm.PolicyMode.DEFAULT):
        return None
    return row[0], _nodes(row[1]), row[2], _nodes(row[3])


def _nodes(mask: int) -> tuple[int, ...]:
    return tuple(node for node in range(64) if mask >> node & 1)


def _task(machine: pm.Machine, task: pm.Task, names: _Names) -> reference.TaskState:
    core = machine._system.core
    areas, entries = [], []
    files = core.vma_files(task.pid)
    for (start, end, flags, pgoff, holds, _, links), file in zip(core.vmas(task.pid), files, strict=True):
        canonical = tuple(names.anon[link] for link in links)
        areas.append(reference.VmaState(start, end, flags, pgoff, _policy(holds), file, canonical))
        for address in range(start, end, pm.PAGE_SIZE):
            if raw := core.entry(task.pid, address)[-1]:
                entries.append((address, reference.leaf(raw)))
    counters = task.counters
    return reference.TaskState(
        tuple(areas),
        tuple(entries),
        (counters.file, counters.anon, counters.swap),
        sum(1 << node for node in task.mems_allowed if node in machine.nodes),
        _policy(core.task_policy(task.pid)),
        core.next_interleave(task.pid),
    )


def _frames(machine: pm.Machine, node: int, names: _Names) -> list[reference.FrameState]:
    core = machine._system.core
    found = []
    for pfn in machine.frames(node)["pfn"].tolist():
        frame = machine.frame(pfn)
        flags, group = core.frame_memcg(pfn)
        charged = flags & reference.USED
        kept = reference.USED | reference.CACHE | reference.FILE_MAPPED
        found.append(
            reference.FrameState(
                pfn,
                frame.node,
                int(frame.flags),
                frame.count,
                frame.mapcount,
                names.owner(frame),
                None if frame.owner is None else frame.index,
                frame.private if frame.flags & pm.PageFlags.SWAPCACHE else 0,
                tuple(core.buffers(pfn)),
                (flags & kept, group) if charged else (0, 0),
            )
        )
    return found


def _node(machine: pm.Machine, node: int) -> reference.NodeState:
    counters = dict(machine.zone_counters(node))
    kept = {name: counters.pop(name) for name in (*COUNTERS, "nr_free_pages")}
    assert not any(counters.values()), f"node {node} counts what the reference does not know: {counters}"
    core = machine._system.core
    has_zone = machine.nodes[node] > 0
    lists = tuple(tuple(core.lru(node, NORMAL, index)) if has_zone else () for index in range(5))
    return reference.NodeState(tuple(sorted(kept.items())), lists, tuple(core.pageblocks(node)))


def _file(machine: pm.Machine, number: int, names: _Names) -> reference.FileState:
    core = machine._system.core
    size, flags = next(((row[2], row[4]) for row in core.files() if row[0] == number), (0, 0))
    areas = tuple(names.areas[area] for area in core.file_areas(number)) if number else ()
    columns = [column.tolist() for column in core.file_pages(number).values()]
    return reference.FileState(number, size, flags, tuple(zip(*columns, strict=True)), areas)


def contents(machine: pm.Machine) -> dict[int, bytes]:
    """The bytes of every frame in use, by number."""
    core = machine._system.core
    return {
        pfn: core.frame_bytes(pfn) for node in machine.nodes for pfn in machine.frames(node)["pfn"].tolist()
    }
