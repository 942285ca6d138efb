"""The machine that a case runs on, and what its words stand for.

Start with :class:`World`. Regions belong to a task and have names; tasks have
the ids of the case. Neighbours: ``steps`` fills it, ``invocation`` and
``effects`` look things up in it, ``areas`` maps memory, ``threads`` lets tasks share it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pagemig as pm

from . import addressing, words
from .form import Case, Skipped

PAGES_TO_SPARE = 4096
PAGES_MAX = 1 << 20
"""A machine for more pages than these could take all memory of the host."""
SWAP = 64 * pm.MiB


@dataclasses.dataclass
class World:
    """A machine, and the names that the case gave to things on it."""

    machine: pm.Machine
    case: Case
    tasks: dict[str, pm.Task] = dataclasses.field(default_factory=dict)
    regions: dict[str, dict[str, pm.Region]] = dataclasses.field(default_factory=dict)
    files: dict[tuple[str, str], pm.File] = dataclasses.field(default_factory=dict)
    """What is mapped, by task and region, where it is a file or a shared segment."""
    stored: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)
    """The first byte of each page, by task and address, where the case stored one."""
    cpusets: dict[str, pm.Cpuset] = dataclasses.field(default_factory=dict)
    """By path, such as ``p/c``."""
    cpus: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """The CPUs of a cpuset, by path: the model has none, their tasks run there."""
    threads: list[str] = dataclasses.field(default_factory=list)
    """The tasks that share memory as threads do, the first of them first."""
    tree: list[str] = dataclasses.field(default_factory=list)
    """The tasks of a tree of processes, its root first."""
    touched: dict[str, list[pm.Region]] = dataclasses.field(default_factory=dict)
    """New pages that a task touched after the call, by task."""
    last_touch: int = 0
    """How many of them there were last."""
    was_on: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """On which nodes the pages of a region were when they were first touched, by region."""
    flagged: dict[str, pm.PageFlags] = dataclasses.field(default_factory=dict)
    """Flags that the case gave to a page, by page."""
    policies: list[list[tuple[int, list[int]]]] = dataclasses.field(default_factory=list)
    """The policies of all pages of a segment, each time they were asked for."""
    ended: dict[str, int] = dataclasses.field(default_factory=dict)
    """The pids of tasks that have exited, by task."""
    pinned: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    """The frames that the case pinned, by address."""
    isolated: dict[int, int] = dataclasses.field(default_factory=dict)
    """The frames that the case took off their lists, by address."""
    readers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """(task, region) that readers read all the time."""

    def task(self, name: object) -> pm.Task:
        """The task with an id."""
        if not isinstance(name, str) or name not in self.tasks:
            raise Skipped(f"task {name!r} is not made by the setup")
        return self.tasks[name]

    def region(self, task: object, name: object) -> pm.Region:
        """A region of a task, or a part of one, such as ``r[1:3]``."""
        self.task(task)
        if not isinstance(name, str):
            raise Skipped(f"region {name!r} of task {task!r} is not mapped by the setup")
        return addressing.part(name, self.regions_of(task))

    def region_meant(self, task: str) -> str:
        """The name of the region that words mean which name none: ``r``, or the only one."""
        names = list(self.regions.get(task, {}))
        if "r" in names or len(names) == 1:
            return "r" if "r" in names else names[0]
        raise Skipped(f"task {task!r} has the regions {names}, and it is not said which is meant")

    def regions_of(self, task: object) -> dict[str, pm.Region]:
        """The regions of a task, by name."""
        if not isinstance(task, str) or task not in self.regions:
            raise Skipped(f"task {task!r} is not made by the setup")
        return self.regions[task]

    def owner_of(self, page: str) -> str:
        """The first task that has a region which a word such as ``r+0`` names."""
        name = page.split("+")[0]
        for task, regions in self.regions.items():
            if name in regions:
                return task
        raise Skipped(f"page {page!r} names a region that the setup does not map")

    def fork(self, parent: str, child: str) -> pm.Task:
        """Fork a task, with everything that the case knows about it."""
        task = self.tasks[child] = self.task(parent).fork(child)
        self.regions[child] = {name: task.same(region) for name, region in self.regions[parent].items()}
        for (owner, name), file in list(self.files.items()):
            if owner == parent:
                self.files[child, name] = file
        for (owner, address), value in list(self.stored.items()):
            if owner == parent:
                self.stored[child, address] = value
        return task

    @property
    def with_memory(self) -> list[int]:
        """The nodes with memory."""
        return [node for node, size in self.machine.nodes.items() if size]


def build(case: Case) -> World:
    """Make the machine of a case: two nodes of memory unless its setup says otherwise."""
    setup = case["setup"]
    steps = [step for step in setup if step["op"] == "machine"]
    if len(steps) > 1:
        raise Skipped("the setup makes more than one machine")
    step: dict[str, Any] = steps[0] if steps else {"op": "machine"}
    unknown = set(step) - {"op", "mem_nodes", "memoryless", "free_pages", "cpus", "nodes", "swap", "distance"}
    if unknown:
        raise Skipped(f"setup step 'machine' has unknown fields {sorted(unknown)}")
    with_memory = nodes_of_machine(step)
    without = words.id_list(step.get("memoryless", []), "nodes of the machine")
    pages = sum(s["pages"] for s in setup if isinstance(s.get("pages"), int) and s["op"] == "mmap")
    if pages > PAGES_MAX:
        raise Skipped(f"{pages} pages are more than is built here")
    size = (2 * pages + PAGES_TO_SPARE) * 4096
    nodes = dict.fromkeys(with_memory, size) | dict.fromkeys(without, 0)
    needs_swap = any(s["op"] == "swap_out" for s in setup)
    swap = step.get("swap", needs_swap)
    swap = SWAP * swap if isinstance(swap, bool) else words.size(swap, "swap")
    if swap > PAGES_MAX * 4096:
        raise Skipped(f"swap of {swap} bytes is more than is built here")
    topology = pm.Topology(step["distance"]) if "distance" in step else None
    machine = pm.Machine(nodes=nodes, cpus=step.get("cpus", 2), contents=True, swap=swap, topology=topology)
    world = World(machine, case)
    world.threads = [str(s["task"]) for s in setup if s["op"] == "thread"][:1]
    for node, free in step.get("free_pages", {}).items():
        _occupy(world, int(node), free)
    return world


def nodes_of_machine(step: dict[str, Any]) -> list[int]:
    """The nodes with memory that a machine has: a list, or how many there are."""
    word = step.get("mem_nodes", step.get("nodes", [0, 1]))
    if isinstance(word, int) and not isinstance(word, bool):
        return words.id_list(f"0-{word - 1}", "nodes of the machine") if word > 0 else []
    return words.id_list(word, "nodes of the machine")


def _occupy(world: World, node: int, free: int) -> None:
    """Leave only ``free`` frames of a node free, the others in use by a task of their own."""
    machine = world.machine
    hog = machine.spawn("hog")
    taken = machine.zone_counters(node)["nr_free_pages"] - free
    if taken <= 0:
        return
    heap = hog.mmap(taken * 4096)
    hog.mbind(heap, pm.Policy(pm.PolicyMode.BIND, [node]))
    hog.touch(heap)
    machine.drain()
