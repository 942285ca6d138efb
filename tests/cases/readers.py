"""A call made again and again while other threads read the pages all the time.

Start with :func:`race`. The threads are calls in flight of the same task; each
round starts a move and some reads and lets all of them go on step by step, with
the mover a few steps further ahead each time. "20 seconds" become a fixed number
of rounds: there is no clock here.
"""

from __future__ import annotations

import pagemig as pm

from .form import Failed, Skipped
from .invocation import Call
from .world import World

ROUNDS = 48
READERS = 3


def race(world: World, call: Call) -> None:
    """Move pages to and fro under readers; every move returns 0, every read the byte stored.

    Raises
    ------
    Failed
        A move failed, none moved a page, or a reader saw another byte. A reader that hangs is a
        ``DeadlockError``.
    """
    if call.pid != 0 or call.wanted is None:
        raise Skipped("a race is understood only for a task that moves its own pages")
    task = world.task(call.caller)
    scope = pm.MoveScope.SHARED if call.flags & 4 else pm.MoveScope.EXCLUSIVE
    nodes, arrived = world.with_memory, 0
    for turn in range(ROUNDS):
        here = int(task.nodes_of(call.addresses[:1])[0])
        if here not in nodes:
            raise Failed("the page to move is not present")
        there = nodes[(nodes.index(here) + 1) % len(nodes)]
        mover = world.machine.start(pm.calls.move_pages(call.addresses, there, scope=scope), by=task)
        for _ in range(turn):
            if mover.done or not mover.step():
                break
        for owner, name in world.readers:
            _read_all(world, owner, name, call.addresses)
        world.machine.run()
        if mover.error is not None:
            raise Failed(f"move {turn} failed with {mover.error}")
        arrived += there in mover.result.tolist()
    if not arrived:
        raise Failed(f"none of {ROUNDS} moves moved a page")


def _read_all(world: World, owner: str, name: str, moved: list[int]) -> None:
    """Start readers of the pages being moved and let each make some steps of its own."""
    task, region = world.task(owner), world.region(owner, name)
    pages = [address for address in moved if address in region]
    reads = [
        world.machine.start(pm.calls.read(address, 1), by=task) for address in pages for _ in range(READERS)
    ]
    for steps, read in enumerate(reads):
        for _ in range(steps):
            if read.done or not read.step():
                break
    world.machine.run()
    for number, read in enumerate(reads):
        wanted = world.stored.get((owner, pages[number // READERS]), 0)
        if read.result != bytes([wanted]):
            raise Failed(f"a reader saw {read.result!r} instead of {wanted}")
