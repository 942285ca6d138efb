"""Whole-task and range moves under thrown schedules: nothing is lost, whoever is in between.

Goal: the invariants hold after every single step of ``migrate_pages`` and ``mbind`` while
faults, forks, unmaps, exits and other moves of the same memory go on. Method: three calls
in flight and a seeded choice of who steps next; afterwards everybody exits and every frame
is free.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

import pagemig as pm

MODES = (pm.PolicyMode.BIND, pm.PolicyMode.PREFERRED, pm.PolicyMode.INTERLEAVE)
FLAGS = tuple(pm.MbindFlags(word) for word in (1, 2, 3, 4, 6, 7))
FRAMES = 48


def family(machine: pm.Machine, rng: random.Random) -> tuple[pm.Task, pm.Task, pm.Region]:
    """A parent and a child that share some of six pages."""
    parent = machine.spawn("parent")
    region = parent.mmap(6 * pm.PAGE_SIZE)
    parent.touch(region)
    child = parent.fork("child")
    parent.touch(region[:3])
    machine.drain()
    if rng.random() < 0.5:
        parent.mbind(region[2:4], pm.Policy(pm.PolicyMode.PREFERRED, [2]))
    return parent, child, region


def some_call(rng: random.Random, task: pm.Task, other: pm.Task, region: pm.Region) -> tuple[Any, pm.Task]:
    """One call and who makes it; ``region`` is the task's own view."""
    policy = pm.Policy(rng.choice(MODES), [rng.randrange(3)])
    default = pm.Policy(pm.PolicyMode.DEFAULT)
    choices: list[tuple[Any, pm.Task]] = [
        (pm.calls.migrate_pages(task, {0, 1, 2}, {1, 2}), other),
        (pm.calls.migrate_pages(None, {0}, {1}), task),
        (pm.calls.mbind(region, policy, flags=rng.choice(FLAGS)), task),
        (pm.calls.mbind(region[1:5], default, flags=rng.choice(FLAGS)), task),
        (pm.calls.move_pages(region, 2, target=task, scope=pm.MoveScope.SHARED), other),
        (pm.calls.touch(region), task),
        (pm.calls.munmap(region[rng.randrange(6)]), task),
        (pm.calls.fork(), task),
        (pm.calls.exit(), task),
    ]
    return rng.choice(choices)


@pytest.mark.parametrize("seed", range(120))
def test_every_step_of_a_race_leaves_the_invariants_true(seed: int) -> None:
    """The seed is the schedule."""
    rng = random.Random(seed)
    machine = pm.Machine(nodes=[FRAMES * pm.PAGE_SIZE] * 3, cpus=2)
    other = machine.spawn("other", cpu=1)
    parent, child, region = family(machine, rng)
    calls: dict[int, pm.Call] = {}
    for task in (parent, child, parent):
        call, by = some_call(rng, task, other, task.same(region))
        if by.pid not in calls:
            calls[by.pid] = machine.start(call, by=by, granularity=rng.choice(list(pm.Granularity)))
    while live := [call for call in calls.values() if not call.done]:
        rng.choice(live).step()
        assert machine.audit() == []
    for task in machine.tasks:
        task.exit()
    machine.drain()
    assert machine.audit() == []
    assert [machine.zone_counters(node)["nr_free_pages"] for node in range(3)] == [FRAMES] * 3
