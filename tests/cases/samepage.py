"""KSM in cases: pages that may be merged, the daemon, its scans and its counters.

Start with :data:`STEPS` and :data:`CALLS`. The daemon runs when a case says so; a
"full scan" is two scans, as the programs that the cases come from wait for, and more while
they still merge something.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pagemig as pm

from .areas import map_area
from .form import Skipped
from .planned import PlacementCall
from .world import World

Step = dict[str, Any]
DAEMON = "ksmd"
FILL = 97


def start_daemon(world: World) -> None:
    """Make ksmd a task, unless the setup did."""
    if DAEMON not in world.tasks:
        world.tasks[DAEMON] = world.machine.spawn(DAEMON, kernel_thread=True)
        world.regions[DAEMON] = {}


def _switch(world: World, step: Step) -> None:
    """Read the knobs: ksmd must run, and this version has no other way than to merge across nodes."""
    if step.get("run", 1) == 2:
        _take_apart(world)
    elif step.get("run", 1) != 1:
        raise Skipped(f"ksmd that does {step['run']!r} is not understood")
    if step.get("merge_across_nodes", 1) != 1:
        raise Skipped("merging by node is a knob of later versions")


def _take_apart(world: World) -> None:
    """Undo all merging; the areas stay such as may be merged."""
    for task in world.tasks.values():
        for vma in vmas(task):
            if vma.flags & pm.VmFlags.MERGEABLE:
                region = pm.Region(task, vma.start, vma.end - vma.start)
                task.madvise(region, pm.Advice.UNMERGEABLE)
                task.madvise(region, pm.Advice.MERGEABLE)


def _full_scan(world: World, step: Step) -> None:
    """Look at all memory twice, and again until nothing more is merged."""
    world.machine.drain()
    world.machine.ksm.scan()
    while world.machine.ksm.scan():
        pass


def _two_scans(world: World, caller: str, args: Step) -> PlacementCall:
    """Two full scans of the memory that the setup, or the title of the case, speaks of."""
    if not any(vma.flags & pm.VmFlags.MERGEABLE for task in world.tasks.values() for vma in vmas(task)):
        _pages_of_title(world)
    world.machine.drain()

    def make() -> int:
        for _ in range(2):
            world.machine.ksm.scan(by=world.task(caller))
        return 0

    owner = next((name for name in world.tasks if name != DAEMON), caller)
    return PlacementCall(world, caller, owner, [make])


def vmas(task: pm.Task) -> tuple[pm.Vma, ...]:
    """The areas of a task, none of a kernel thread."""
    return () if task.is_kernel_thread else task.vmas


def _pages_of_title(world: World) -> None:
    """Map what only the title tells: ``100 equal mlocked pages per node``."""
    title = str(world.case.get("title", ""))
    match = re.search(r"(\d+) equal (mlocked )?pages per node", title)
    if match is None:
        raise Skipped("the setup maps nothing that may be merged")
    name = next(iter(world.tasks))
    task = world.task(name)
    for node in world.with_memory:
        words_of_it = {"task": name, "region": f"on{node}", "pages": int(match[1]), "mergeable": True}
        region = map_area(world, words_of_it)
        task.mbind(region, pm.Policy(pm.PolicyMode.BIND, [node]))
        fill(world, name, region)
        if match[2]:
            task.mlock(region)


def fill(world: World, name: str, region: pm.Region) -> None:
    """Make all pages of a region equal."""
    for page in region:
        world.task(name).write(page.start, bytes([FILL]) * 4096)
        world.stored[name, page.start] = FILL


def own_equal_pages(world: World) -> None:
    """Give each process a mergeable page of its own, under the name that the call uses for it."""
    word = world.case["call"]["args"].get("pages", "")
    named = re.findall(r"\b([a-zA-Z_]\w*)\+\d+", str(word))
    names = [name for name in dict.fromkeys(named) if not any(name in r for r in world.regions.values())]
    if len(names) != 1:
        raise Skipped("it is not clear what the page of each process is called")
    for process in world.tree or list(world.regions):
        step = {"task": process, "region": names[0], "pages": 1, "mergeable": True}
        fill(world, process, map_area(world, step))


def counters(machine: pm.Machine) -> dict[str, int]:
    """What ``/sys/kernel/mm/ksm`` counts."""
    ksm = machine.ksm
    return {
        "pages_shared": ksm.pages_shared,
        "pages_sharing": ksm.pages_sharing,
        "pages_unshared": ksm.pages_unshared,
    }


STEPS: dict[str, tuple[tuple[str, ...], Callable[[World, Step], None]]] = {
    "ksm": (("run", "merge_across_nodes"), _switch),
    "ksm_full_scan": ((), _full_scan),
}

CALLS: dict[str, tuple[tuple[str, ...], Callable[[World, str, Step], PlacementCall]]] = {
    "(two full scans)": ((), _two_scans),
}
