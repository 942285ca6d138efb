"""The state of a package machine in the words of the reference.

Start with :func:`take`. It looks through the core where the public face has no
view (areas with their links, LRU lists, pagevecs) and changes nothing.
"""

from __future__ import annotations

import pagemig as pm
from tests.reference import snapshot as reference
from tests.reference.memory import COUNTERS

NORMAL = int(pm.ZoneKind.NORMAL)


def take(machine: pm.Machine) -> reference.Snapshot:
    """Look at everything, with anon_vmas numbered by first appearance."""
    numbers: dict[int, int] = {}
    tasks = tuple(_task(machine, task, numbers) for task in machine.tasks)
    frames = tuple(state for node in machine.nodes for state in _frames(machine, node, numbers))
    nodes = tuple(_node(machine, node) for node in machine.nodes)
    core = machine._system.core
    pagevecs = tuple(
        tuple(tuple(core.pagevec(cpu, index)) for index in range(5)) for cpu in range(len(machine.cpus))
    )
    assert not any(core.pagevec(cpu, 5) for cpu in range(len(machine.cpus)))
    return reference.Snapshot(frames, nodes, pagevecs, tasks)


def _task(machine: pm.Machine, task: pm.Task, numbers: dict[int, int]) -> reference.TaskState:
    core = machine._system.core
    areas, entries = [], []
    for start, end, flags, pgoff, holds, _, links in core.vmas(task.pid):
        policy = None
        if holds is not None:
            policy = holds[0], tuple(node for node in range(64) if holds[1] >> node & 1)
        canonical = tuple(numbers.setdefault(link, len(numbers)) for link in links)
        areas.append(reference.VmaState(start, end, flags, pgoff, policy, canonical))
        for address in range(start, end, pm.PAGE_SIZE):
            if raw := task.entry_at(address).raw:
                entries.append((address, reference.leaf(raw)))
    counters = task.counters
    return reference.TaskState(tuple(areas), tuple(entries), (counters.file, counters.anon, counters.swap))


def _frames(machine: pm.Machine, node: int, numbers: dict[int, int]) -> list[reference.FrameState]:
    found = []
    for pfn in machine.frames(node)["pfn"].tolist():
        frame = machine.frame(pfn)
        assert frame.owner is None or frame.owner.kind is pm.OwnerKind.ANON
        owner = None if frame.owner is None else numbers.get(frame.owner.id, reference.GONE)
        index = None if frame.owner is None else frame.index
        found.append(
            reference.FrameState(pfn, frame.node, int(frame.flags), frame.count, frame.mapcount, owner, index)
        )
    return found


def _node(machine: pm.Machine, node: int) -> reference.NodeState:
    counters = dict(machine.zone_counters(node))
    kept = {name: counters.pop(name) for name in (*COUNTERS, "nr_free_pages")}
    assert not any(counters.values()), f"node {node} counts what no anonymous page is: {counters}"
    core = machine._system.core
    has_zone = machine.nodes[node] > 0
    lists = tuple(tuple(core.lru(node, NORMAL, index)) if has_zone else () for index in range(5))
    return reference.NodeState(tuple(sorted(kept.items())), lists)


def contents(machine: pm.Machine) -> dict[tuple[int, int], bytes]:
    """The bytes of every mapped page, by pid and address; nothing is accessed."""
    core = machine._system.core
    found = {}
    for task in machine.tasks:
        for region in task.regions:
            for address in range(region.start, region.end, pm.PAGE_SIZE):
                page = task.page_at(address)
                if page is not None:
                    found[task.pid, address] = core.frame_bytes(page.pfn)
    return found
