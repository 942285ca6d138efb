"""Steps about regions or parts of them: protection, locks, advice, policies, unmapping.

Start with :data:`STEPS`. A part is a run of pages in the region's own word, ``r[1:3]``, or pages
beside it, which may be several runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pagemig as pm

from . import addressing, threads, words
from .form import Skipped
from .world import World

Step = dict[str, Any]


def parts(world: World, step: Step) -> list[pm.Region]:
    """The runs of pages that a step names, in ascending order."""
    region = world.region(step["task"], step["region"])
    if "pages" not in step:
        return [region]
    numbers = sorted(set(addressing.page_numbers(step["pages"], len(region), str(step["region"]))))
    if not numbers:
        raise Skipped(f"pages {step['pages']!r} are none")
    starts = [page for page in numbers if page - 1 not in numbers]
    ends = [page + 1 for page in numbers if page + 1 not in numbers]
    return [region[first:end] for first, end in zip(starts, ends, strict=True)]


def policy(world: World, step: Step) -> pm.Policy:
    """The policy of a step: a mode with its flags, and nodes."""
    if "nodes" in step and "nodemask" in step:
        raise Skipped("a policy with nodes and a node mask is not understood")
    word = words.mode_word(step["mode"])
    mode = word & ~sum(words.MODE_FLAGS.values())
    if mode not in list(pm.PolicyMode):
        raise Skipped(f"policy mode {step['mode']!r} is not understood")
    nodes = words.node_set(step.get("nodes", step.get("nodemask")), world.with_memory)
    is_static = bool(word & words.MODE_FLAGS["STATIC"])
    is_relative = bool(word & words.MODE_FLAGS["RELATIVE"])
    return pm.Policy(pm.PolicyMode(mode), nodes, static=is_static, relative=is_relative)


def _mbind(world: World, step: Step) -> None:
    flags = pm.MbindFlags(words.flags(step.get("flags")))
    for region in parts(world, step):
        world.task(step["task"]).mbind(region, policy(world, step), flags=flags)


def _set_mempolicy(world: World, step: Step) -> None:
    world.task(step["task"]).set_mempolicy(policy(world, step))


def _munmap(world: World, step: Step) -> None:
    for region in parts(world, step):
        threads.unmap(world, step["task"], region)


def _mprotect(world: World, step: Step) -> None:
    for region in parts(world, step):
        world.task(step["task"]).mprotect(region, words.protection(step["prot"]))


def _mlock(world: World, step: Step) -> None:
    for region in parts(world, step):
        world.task(step["task"]).mlock(region)


def _munlock(world: World, step: Step) -> None:
    for region in parts(world, step):
        world.task(step["task"]).munlock(region)


def _madvise(world: World, step: Step) -> None:
    name = str(step["advice"]).upper().removeprefix("MADV_")
    if name not in pm.Advice.__members__:
        raise Skipped(f"advice {step['advice']!r} is not understood")
    if name == "DONTNEED" and threads.others(world, step["task"]):
        raise Skipped("pages of threads are mapped by each of them here, and one alone drops its own")
    for region in parts(world, step):
        world.task(step["task"]).madvise(region, pm.Advice[name])


WHERE = ("task", "region", "pages")
POLICY = ("mode", "nodes", "nodemask")

STEPS: dict[str, tuple[tuple[str, ...], Callable[[World, Step], None]]] = {
    "mbind": ((*WHERE, *POLICY, "flags"), _mbind),
    "set_mempolicy": (("task", *POLICY), _set_mempolicy),
    "task_policy": (("task", *POLICY), _set_mempolicy),
    "munmap": (WHERE, _munmap),
    "mprotect": ((*WHERE, "prot"), _mprotect),
    "mlock": (WHERE, _mlock),
    "munlock": (WHERE, _munlock),
    "madvise": ((*WHERE, "advice"), _madvise),
}
