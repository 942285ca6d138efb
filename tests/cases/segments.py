"""Policies of parts of a shared segment, and who sees them.

Start with :func:`piece`, which reads one part of an ``mbind`` told as a sequence,
and :data:`FOLLOW`, what is done with the segment afterwards. The sentences in
:data:`CHECKS` speak of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pagemig as pm

from . import words
from .areas import map_again
from .form import Failed, Skipped
from .planned import PlacementCall
from .policies import policy_of
from .world import World

if TYPE_CHECKING:
    from .effects import Outcome

OTHER = "another process"
Piece = tuple[int, int, int, list[int] | None]


def piece(world: World, caller: str, word: object) -> Piece:
    """Read ``bind(2,3)`` (pages) or ``interleave 0,1 at 2 MiB len 2 MiB``: start, length, mode, nodes.

    The nodes are None where the call names them for all its parts.
    """
    region, text = world.region(caller, world.region_meant(caller)), str(word)
    if match := re.fullmatch(r"(\w+)\((\d+),(\d+)\)", text):
        start, length = region.start + int(match[2]) * 4096, int(match[3]) * 4096
        return start, length, int(words.mode(f"MPOL_{match[1].upper()}")), None
    if match := re.fullmatch(r"(\w+) ([\d,-]+) at (\w+(?: \w+)?) len (\w+(?: \w+)?)", text):
        start = region.start + words.size(match[3], "offset")
        mode = words.mode(f"MPOL_{match[1].upper()}")
        return start, words.size(match[4], "length"), int(mode), words.id_list(match[2], "nodes")
    raise Skipped(f"step {word!r} of the call is not understood")


def _touch_ranges(call: PlacementCall) -> None:
    """Touch all pages of the segment, and note what policy each page of the ranges has."""
    task = call.world.task(call.caller)
    task.touch(call.world.region(call.caller, call.world.region_meant(call.caller)))
    _note_policies(call, task)


def _note_policies(call: PlacementCall, task: pm.Task) -> None:
    pages = [at for start, length, _, _ in call.ranges for at in range(start, start + length, 4096)]
    call.world.policies.append([policy_of(task, at) for at in pages])


def _detach(call: PlacementCall) -> None:
    world, name = call.world, call.world.region_meant(call.caller)
    world.task(call.caller).munmap(world.region(call.caller, name))


def _attach_elsewhere(call: PlacementCall) -> None:
    """Map the segment at the same address in a process that never saw it, and read it."""
    world, name = call.world, call.world.region_meant(call.caller)
    file, region = world.files.get((call.caller, name)), world.region(call.caller, name)
    if file is None:
        raise Skipped(f"region {name!r} is no segment that another process could attach")
    old = world.task(call.caller)
    world.tasks[OTHER] = world.machine.spawn(OTHER, uid=old.uid, capabilities=old.capabilities)
    world.regions[OTHER] = {}
    world.task(OTHER).touch(map_again(world, file, OTHER, name, region), write=False)


def _dump(call: PlacementCall) -> None:
    _note_policies(call, call.world.task(OTHER))


FOLLOW: dict[str, Callable[[PlacementCall], None]] = {
    "touch and verify each page": _touch_ranges,
    "detach": _detach,
    "attach from another process": _attach_elsewhere,
    "dump": _dump,
}


def _ranges(outcome: Outcome) -> tuple[PlacementCall, pm.Task]:
    """The call with its ranges, and a task that maps them."""
    call, world = outcome.call, outcome.world
    if not isinstance(call, PlacementCall) or not call.ranges:
        raise Skipped("the call names no ranges")
    return call, world.task(OTHER if OTHER in world.tasks else call.caller)


def _placed(outcome: Outcome, match: re.Match[str]) -> None:
    """Every page of each range is where the range's policy puts it."""
    call, task = _ranges(outcome)
    other = int(match[1])
    for start, length, mode, nodes in call.ranges:
        found = task.nodes_of(pm.Region(task, start, length)).tolist()
        if mode == pm.PolicyMode.INTERLEAVE:
            at = nodes.index(found[0]) if found[0] in nodes else 0
            wanted = [nodes[(at + page) % len(nodes)] for page in range(len(found))]
        else:
            wanted = [other] * len(found)
        if found != wanted:
            raise Failed(f"the range at {start:#x} is on {found[:8]}..., expected {wanted[:8]}...")


def _same_policies(outcome: Outcome, match: re.Match[str]) -> None:
    """Both processes see, page by page, the policies that were set."""
    call, _ = _ranges(outcome)
    seen = outcome.world.policies
    asked = [(mode, nodes) for _, length, mode, nodes in call.ranges for _ in range(0, length, 4096)]
    if len(seen) < 2 or any(policies != asked for policies in seen):
        raise Failed("the processes do not see the policies that were set")


CHECKS: list[tuple[str, Callable[[Outcome, re.Match[str]], None]]] = [
    (
        r"interleave range alternates nodes by page, bind/preferred range on node (\d+)",
        _placed,
    ),
    (r"another process sees the same policies", _same_policies),
]
