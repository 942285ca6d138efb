"""Trying every order of a scenario's calls, and saying in words what came of each.

Start with :func:`explored`: a set of outcomes, so that a test says which there are, and no others.
:func:`seen` describes a page of a task; what it describes has been drained, so that the count is that of
entries, slots and holders alone.

Neighbours: ``stages`` and ``tests.races.stage`` make what is explored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pagemig as pm
from tests.races.stage import HasMachine

Racer = tuple[Any, pm.Task]
"""What, and by whom."""
Observe = Callable[[pm.Machine], Any]


def explored(
    stage: HasMachine,
    *racers: Racer,
    observe: Observe | None = None,
    preemptions: int | None = None,
    result: Callable[[Any], Any] = lambda result: result,
) -> set[Any]:
    """Run the calls in every order, and return what each can come to: results, and what is observed.

    ``preemptions`` bounds how often a call is interrupted that could go on. Nothing may be found: no
    invariant broken in any state, no store lost, no deadlock. An end is drained and audited before it is
    observed.
    """

    def observed(end: pm.Replay) -> Any:
        end.machine.drain()
        end.machine.check()
        return None if observe is None else observe(end.machine)

    strategy = pm.Exhaustive(preemptions=preemptions)
    verdict = pm.explore(stage.machine, racers, strategy, observe=observed)
    assert verdict.complete, verdict
    assert not verdict.findings, verdict.findings[0]
    return {(*map(result, outcome.results), outcome.observed) for outcome in verdict.outcomes}


def seen(machine: pm.Machine, task: pm.Task, address: int) -> str:
    """A page of a task in words: ``node 1: 2 mapped, 2 counted, read-only``."""
    entry = machine.task(task.pid).entry_at(address)
    if entry.kind is not pm.EntryKind.PRESENT:
        return entry.kind.name.lower()
    page = machine.frame(entry.pfn)
    way = "writable" if entry.writable else "read-only"
    return f"node {page.node}: {page.mapcount} mapped, {page.count} counted, {way}"


def free(machine: pm.Machine) -> tuple[int, ...]:
    """Free frames of each node."""
    return tuple(machine.zone_counters(node)["nr_free_pages"] for node in machine.nodes)
