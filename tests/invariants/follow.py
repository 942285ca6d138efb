"""What a migration in flight holds, worked out from the steps of the specification that it has made.

Start with `Follower.step`. It makes one step of a call and keeps the books that the specification
says that step keeps: DM-2f and SY7-5d isolate a page, UM-1 takes a frame, MM-6 freezes, UM-16 and
MP-5 put back, UM-17 gives the frame away. What a step was about comes from ``machine.trace``.

Neighbours: ``recount``, which adds what is held here to what page tables, trees and pagevecs hold.

Left out: calls other than migrations. What those hold, a test says itself (`Holds.held`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pagemig as pm

EVENTS_MAX = 10_000


@dataclass(frozen=True)
class Holds:
    """What running tasks hold besides what can be seen (iso, own, tmp and frozen of the definitions)."""

    isolated: tuple[int, ...] = ()
    """On the list of a migration, in its order."""
    owned: tuple[int, ...] = ()
    """Freshly allocated, and still its allocator's."""
    held: Counter[int] = field(default_factory=Counter)
    """Transient references, besides pins."""
    frozen: int | None = None
    """The page between MM-6 and MM-9."""
    old: int | None = None
    """The page of the attempt under way."""
    new: int | None = None
    """The frame that it shall move to."""
    made: tuple[str, ...] = ()
    """Steps of the attempt that were made, from UM-1 on; of its last steps UM-17 and UM-18 nothing."""
    following: tuple[str, ...] = ()
    """Steps that the call makes next."""
    result: int | None = None
    """What the attempt came to, right after UM-18."""

    def between(self, first: str, last: str) -> bool:
        """Whether the attempt under way has made ``first`` and not ``last``."""
        return first in self.made and last not in self.made

    def moves(self) -> bool:
        """Whether the new page looks like the old one: from MN-2 to MN-5."""
        return self.between("MN-2", "MN-5") and "UM-11" not in (*self.made, *self.following)

    def locked(self) -> set[int]:
        """The pages whose lock it has: the old one (W2), and the new one while it moves (MN-1)."""
        found = set()
        is_lost = self.between("WO-4", "WO-5")
        was_refused = self.following[:1] == ("UM-17",) and "UM-4" not in self.made
        if self.between("UM-3", "UM-15") and not is_lost and not was_refused and self.old is not None:
            found.add(self.old)
        if self.moves() and self.new is not None:
            found.add(self.new)
        return found


NOTHING = Holds()


class Follower:
    """Steps a migration and knows what it holds."""

    def __init__(self, machine: pm.Machine, call: pm.Call) -> None:
        self.machine = machine
        self.call = call
        self.isolated: list[int] = []
        self._todo: list[int] = []
        self._old: int | None = None
        self._new: int | None = None
        self._made: list[str] = []
        self._result: int | None = None

    def step(self) -> bool:
        """Make one step and learn from it; False if the call has to wait."""
        labels = self.call.labels
        self.machine.record(0)
        self.machine.record(EVENTS_MAX)
        went = self.call.step()
        events = [event for event in self.machine.trace if event.call == self.call.number]
        self.machine.record(0)
        if went:
            self._learn(labels, events)
        return went

    def run_until(self, label: str) -> Follower:
        """Step until just before a step of the specification."""
        while label not in self.call.labels:
            assert not self.call.done, f"{self.call!r} never comes to {label}"
            assert self.step(), f"{self.call!r} waits for {self.call.waiting_for} before {label}"
        return self

    def finish(self) -> Follower:
        """Step to the end; it must not have to wait."""
        while not self.call.done:
            assert self.step(), f"{self.call!r} waits for {self.call.waiting_for}"
        return self

    def _learn(self, labels: tuple[str, ...], events: list[pm.Event]) -> None:
        self._result = None
        if "UM-1" in labels:
            self._todo = self._todo or list(self.isolated)
            self._old, self._new, self._made = self._todo.pop(0), None, []
        self._made += labels
        for event in events:
            if event.event == "isolate":
                self.isolated.append(event.pfn)
            elif event.event == "putback":
                self.isolated.remove(event.pfn)
            elif event.event == "allocate" and "UM-1" in labels:
                self._new = event.pfn
            elif event.event == "attempt":
                self._result = event.value
        if self._result is not None:
            self._old = self._new = None
            self._made = []
        if {"MP-5", "SY7-5d-putback"} & set(labels):
            self._todo = []
            self._old = self._new = None
            self._made = []

    def holds(self) -> Holds:
        """What it holds now."""
        following = self.call.labels
        owned = () if self._new is None else (self._new,)
        is_frozen = "MM-7" in following
        return Holds(
            isolated=tuple(self.isolated),
            owned=owned,
            frozen=self._old if is_frozen else None,
            old=self._old,
            new=self._new,
            made=tuple(self._made),
            following=following,
            result=self._result,
        )
