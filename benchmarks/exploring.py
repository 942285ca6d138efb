"""Exploring two calls on one page, fine mode: distinct states are what a search has to pay for.

Start with :func:`race`, which the table of ``make bench`` uses, too. ``track_*`` counts states and steps:
the same on every machine, so any change is ours. A race with a fork or a lookup has a few hundred states:
most of what it costs is setting a search up, which is why the table has those with ten thousand and more.
"""

from __future__ import annotations

import pagemig as pm

from .comparators import seconds

PARTNERS = ("writer", "reader", "lookup", "fork")
STEPS = 50_000
SHARED = pm.MoveScope.SHARED


def race(partner: str) -> tuple[pm.Machine, list[tuple[pm.call.CallValue, pm.Task]]]:
    """A machine with bytes, a page, and two calls on it: one moves it, the other is its partner."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True)
    task = machine.spawn("bench", stack=False)
    if partner == "lookup":
        file = machine.create_file("bench", pm.PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
        page = task.mmap(pm.PAGE_SIZE, file=file, shared=True)
        task.touch(page)
        machine.drain()
        return machine, [(pm.calls.move_pages(page, 1), task), (pm.calls.lookup(file, 0), task)]
    page = task.mmap(pm.PAGE_SIZE)
    task.write(page.start, b"page")
    machine.drain()
    child = task.fork("child")
    mover = pm.calls.move_pages(page, 1, scope=SHARED), task
    if partner == "fork":
        return machine, [mover, (pm.calls.fork("grandchild"), child)]
    if partner == "reader":
        return machine, [mover, (pm.calls.read(page.start, 4), child)]
    return machine, [mover, (pm.calls.write(page.start, b"x"), child)]


def us_per_state(partner: str = "writer", steps: int = STEPS) -> float:
    """Microseconds for each distinct state of a search of so many steps."""
    machine, calls = race(partner)
    found: list[pm.Verdict] = []
    elapsed = seconds(lambda: found.append(pm.explore(machine, calls, transitions=steps)))
    return elapsed * 1e6 / found[0].states


class Explore:
    """Searches of at most 50,000 steps, over all orders of two calls on one page."""

    params = PARTNERS
    param_names = ("partner",)
    number = 1
    rounds = 3
    timeout = 300

    def setup(self, partner: str) -> None:
        """A fresh machine; a search leaves it as it is."""
        self.machine, self.calls = race(partner)

    def time_search(self, partner: str) -> None:
        """One search."""
        pm.explore(self.machine, self.calls, transitions=STEPS)

    def track_states(self, partner: str) -> int:
        """Distinct states."""
        return pm.explore(self.machine, self.calls, transitions=STEPS).states

    def track_steps_per_hundred_states(self, partner: str) -> float:
        """Steps that a hundred states take."""
        verdict = pm.explore(self.machine, self.calls, transitions=STEPS)
        return 100 * verdict.transitions / verdict.states
