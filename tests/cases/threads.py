"""Threads: tasks of their own that share memory.

A task of the model has its memory to itself, so threads of one process are told
apart by what a case asks of them: each has its own credentials, policy and cpuset, so
each is a task. Their memory is made of shared segments that every one maps at the
same address, and what one touches the others look at too, so that each page table
has what the one table of a process would have. What differs is that a page is then
mapped as often as there are threads: a call that leaves shared pages alone is
refused here (:func:`require_all_pages`).

Start with :func:`make`; ``areas`` maps and ``steps`` touches by way of this module.
"""

from __future__ import annotations

from collections.abc import Iterable

import pagemig as pm

from .form import Skipped
from .world import World


def make(world: World, leader: str, thread: str) -> None:
    """Make a thread of a task, with its policy, its credentials and its cpuset."""
    if leader not in world.threads:
        raise Skipped("threads of two processes are more than one case may have here")
    cpuset = world.task(leader).cpuset
    task = world.fork(leader, thread)
    if cpuset is not None and task.cpuset != cpuset:
        cpuset.attach(task)
    world.threads.append(thread)
    for name, region in world.regions[leader].items():
        present = world.task(leader).nodes_of(region) >= 0
        if present.any():
            world.task(thread).touch(region.addresses[present], write=False)
        if (leader, name) not in world.files:
            raise Skipped(f"region {name!r} is not of the kind that threads can share here")


def others(world: World, name: str) -> list[str]:
    """The threads of the same process, without the one that is named."""
    return [other for other in world.threads if other != name] if name in world.threads else []


def map_for_others(world: World, name: str, region: str, is_shared: bool, protection: pm.Protection) -> None:
    """Map what one thread has mapped for all of them."""
    mapped, file = world.regions[name][region], world.files[name, region]
    for other in others(world, name):
        if not is_shared:
            raise Skipped("a private mapping of a file cannot be shared by threads here")
        world.regions[other][region] = world.task(other).mmap(
            mapped.length, at=mapped.start, protection=protection, file=file, shared=True
        )
        world.files[other, region] = file


def touch(world: World, name: str, where: pm.Region | Iterable[int], *, write: bool = True) -> None:
    """Let a thread touch pages, and the others find them in their tables."""
    pages = where if isinstance(where, pm.Region) else list(where)
    world.task(name).touch(pages, write=write)
    for other in others(world, name):
        theirs = world.task(other)
        theirs.touch(theirs.same(pages) if isinstance(pages, pm.Region) else pages, write=False)


def unmap(world: World, name: str, region: pm.Region) -> None:
    """Let a thread unmap pages for all of them."""
    world.task(name).munmap(region)
    for other in others(world, name):
        world.task(other).munmap(world.task(other).same(region))


def require_all_pages(world: World, name: str, *, moves_shared: bool) -> None:
    """Refuse a call that leaves shared pages alone: those of threads look shared here."""
    if len(world.threads) > 1 and name in world.threads and not moves_shared:
        raise Skipped("pages of threads are shared by tasks here, and the call moves no shared pages")
