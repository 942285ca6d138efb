"""Exploration: how fast every order of two calls is tried."""

from __future__ import annotations

import pagemig as pm

from .machines import machine_with_heap


class Explore:
    """Two calls on one page, in fine mode."""

    params = (("move against touch", "move against move"),)
    param_names = ("race",)
    timeout = 300

    def setup(self, race: str) -> None:
        """A small machine: states are copied."""
        self.machine = pm.Machine(nodes=[pm.MiB] * 2)
        task = self.machine.spawn("one")
        page = task.mmap(pm.PAGE_SIZE)
        task.touch(page)
        other = pm.calls.touch(page) if race == "move against touch" else pm.calls.move_pages(page, 0)
        self.calls = [(pm.calls.move_pages(page, 1), task), (other, task)]

    def time_all_orders(self, race: str) -> None:
        """To the last state."""
        pm.explore(self.machine, self.calls)

    def track_states(self, race: str) -> int:
        """Distinct states: the same on every machine."""
        return pm.explore(self.machine, self.calls).statistics.states

    track_states.unit = "states"


class Step:
    """What a single step costs when a person makes it."""

    def setup(self) -> None:
        """A heap to move, again and again."""
        self.machine, self.task, self.heap = machine_with_heap(256)
        self.node = 0

    def time_stepped_move(self) -> None:
        """A call that stops at every yield point, run to its end."""
        self.node ^= 1
        self.machine.start(pm.calls.move_pages(self.heap, self.node), by=self.task).run()
