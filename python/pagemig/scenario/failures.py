"""Who or what made a call fail as a whole: the nodes, the permissions, the security module.

Start with `of_failure`. It looks at the machine as it is right after the call.

Source: syscalls 3.1 and 5.2, migration MV-1 to MV-6 (the order of the checks). Neighbours:
`pagemig.scenario.culprits`, who keeps single pages; `pagemig.scenario.reasons`, which asks.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..flags import MPOL_MF_MOVE_ALL, NODES_MAX
from ..permissions import new_nodes_are_permitted, shared_pages_are_permitted, target_is_permitted
from .asking import LISTS, nodes_in, target_of
from .call_steps import MigratePages
from .culprits import Culprit
from .part import Step
from .raw_steps import RawMbind, RawMigratePages

if TYPE_CHECKING:
    from .world import World

_WHOLE = (MigratePages, RawMigratePages)
_FEW = 8
"""A node is short of frames if less than one in so many is free."""


def of_failure(world: World, part: Step, code: int) -> tuple[Culprit, ...]:
    """Return who or what made a call fail with an errno, positive."""
    return tuple((words, ()) for words in _of_failure(world, part, code))


def _of_failure(world: World, part: Step, code: int) -> Iterator[str]:
    nodes, machine = _nodes_of(part), world.machine
    memory = machine.nodes_with_memory
    target, pid = getattr(part, "target", None), target_of(world, part)
    named = target if isinstance(target, str) else world.task_name(pid)
    if _is_vetoed(world, part, pid, code):
        yield "the security module refused it"
    elif code == errno.ENOMEM:
        yield from _without_frames(world, [node for node in nodes if node in memory])
    elif code == errno.ENODEV:
        yield from (f"node {node} has no memory" for node in nodes if node not in memory)
    elif code == errno.EACCES and isinstance(part, LISTS):
        allowed = next((task.mems_allowed for task in machine.tasks if task.pid == pid), memory)
        outside = [node for node in nodes if node in memory and node not in allowed]
        yield from (f"{named} may not use node {node}" for node in outside)
    elif code == errno.EPERM:
        yield from _not_permitted(world, part, pid, named)
    elif code == errno.ESRCH:
        yield f"there is no task {target}"
    elif code == errno.EFAULT and getattr(part, "bad_pointer", None):
        yield f"{part.by} has no memory where {part.bad_pointer} should be"  # type: ignore[attr-defined]


def _nodes_of(part: Step) -> list[int]:
    """The nodes that a call names, ascending."""
    if isinstance(part, (RawMigratePages, RawMbind)):
        words = part.new_nodes if isinstance(part, RawMigratePages) else part.nodes
        return sorted(nodes_in(words, part.maxnode))
    said = getattr(part, "nodes", None)
    if isinstance(said, int):
        return [said]
    return sorted(set(said if said is not None else getattr(part, "new_nodes", ())))


def _is_vetoed(world: World, part: Step, pid: int, code: int) -> bool:
    """Whether the security module refused a call: it is asked after the permissions and before the nodes."""
    by = world.tasks.get(str(part.by), 0)
    if not isinstance(part, (*LISTS, *_WHOLE)):
        return False
    if world.machine.security_hook.verdict(by, pid) != code:
        return False
    return code != errno.EPERM or not list(_not_permitted(world, part, pid, ""))


def _without_frames(world: World, nodes: list[int]) -> Iterator[str]:
    """The nodes that are short of frames, of those that were asked for some."""
    for node in nodes:
        free = world.machine.zone_counters(node)["nr_free_pages"]
        frames = world.machine.nodes[node] // 4096
        if len(nodes) == 1 or free * _FEW < frames:
            yield f"node {node} has {free} of {frames} frames free"


def _not_permitted(world: World, part: Step, pid: int, named: str) -> Iterator[str]:
    """What the caller lacks, by the first check that refuses."""
    system = world.machine._system
    caller, target = system.find(world.tasks.get(str(part.by), 0)), system.find(pid)
    if caller is None:
        return
    flags = getattr(part, "flags", ())
    is_told = bool(flags & MPOL_MF_MOVE_ALL) if isinstance(flags, int) else "MOVE_ALL" in flags
    wants_all = is_told or getattr(part, "scope", "") == "shared"
    if wants_all and shared_pages_are_permitted(MPOL_MF_MOVE_ALL, caller):
        yield f"{part.by} has no CAP_SYS_NICE"
    elif target is not None and target_is_permitted(caller, target):
        yield f"{part.by} is nobody to {named}"
    elif target is not None and isinstance(part, _WHOLE):
        wanted = sum(1 << node for node in _nodes_of(part) if 0 <= node < NODES_MAX)
        if new_nodes_are_permitted(wanted, system.allowed_nodes(pid, target), caller):
            yield f"{part.by} has no CAP_SYS_NICE, and {named} may not use all of the new nodes"
