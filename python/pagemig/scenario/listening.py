"""What the trace tells of calls while they go on, folded so that calls of any size can be told of.

A recorder keeps the last events only, and a call on a million pages makes many times that. So calls
are driven in slices (`pagemig.scenario.driving`); after each, `Heard.listen` folds what was recorded
into what the report needs, and the events are forgotten: who made which step, which pages a call took
off their lists, and how each attempt at a page that did not move was decided.

Source: migration 14 (where an attempt ends). Above: `pagemig.scenario.reasons`, `.asking`, `.running`.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_AFTERWARDS = ("UM-11", "UM-12", "UM-14", "UM-15", "UM-16", "UM-17", "UM-18", "RP-", "MN-5", "MP-", "NP-")
_HOLDERS = ("EW-", "SP9-", "SP17-", "SP8-", "SP2", "SP16-", "SP15-", "SP12-", "SP11-", "SP7-")
_ADVANCES = ("step", "wait", "done")
"""What one letter of a schedule can come to."""

RUNS_MAX = 64
"""Different reasons in a row that are kept of one page; those in the middle of more are left out."""


class Attempt(NamedTuple):
    """Attempts in a row at one page that were decided in the same way."""

    first: int
    """Which attempt of the call at this page, from 1."""
    times: int
    label: str
    """The step of the specification at which they were decided; ``UM-10`` for the page's own method."""
    result: int


@dataclass(slots=True)
class Tried:
    """What one call did to the pages that it took off their lists."""

    addresses: dict[int, int] = field(default_factory=dict)
    """By frame, in the order of isolation; 0 where it has none. Pages that have moved are left out of
    ``move_pages``, whose statuses tell of them."""
    refused: dict[int, int] = field(default_factory=dict)
    """By frame: with what errno, negative, it could not be taken off a list, of calls on frames; what could
    be taken later is left out."""
    attempts: dict[int, tuple[Attempt, ...]] = field(default_factory=dict)
    """By frame, of pages that have not moved; pages with the same attempts share one value."""
    results: dict[int, int] = field(default_factory=dict)
    """What the last attempt at each frame came to; not of ``move_pages``."""
    targets: dict[int, int] = field(default_factory=dict)
    """The frame that each was copied to; not of ``move_pages``."""
    others: dict[int, dict[int, str]] = field(default_factory=dict)
    """By frame: the other calls that made a step that can hold a page while it was tried, each with the
    last such step."""
    latest: int | None = None
    """The frame that was tried last."""
    stage: str = ""
    """The last step of an offlining before its end."""


@dataclass(slots=True)
class _Now:
    """What a call has done since its last attempt."""

    last: str = ""
    """Its last step that can decide."""
    has_written: bool = False
    has_waited: bool = False

    def clear(self) -> None:
        self.last, self.has_written, self.has_waited = "", False, False


class Heard:
    """Folds events; `tried` by the number of a call, and who made which step in `made`."""

    __slots__ = ("_decides", "_holds", "_now", "_others", "_stories", "brief", "made", "tried")

    def __init__(self) -> None:
        self.tried: dict[int, Tried] = defaultdict(Tried)
        self.made: list[tuple[int, int]] = []
        """Calls and how many steps they made, in order; equal neighbours in one."""
        self.brief: set[int] = set()
        """Calls of ``move_pages``: pages that moved are not kept."""
        self._now: dict[int, _Now] = defaultdict(_Now)
        self._others: dict[int, dict[int, str]] = defaultdict(dict)
        self._stories: dict[tuple[Attempt, ...], tuple[Attempt, ...]] = {}
        self._decides: dict[str, bool] = {}
        self._holds: dict[str, bool] = {}

    def listen(self, columns: Mapping[str, Any]) -> None:
        """Fold the columns of a trace."""
        names = ("call", "event", "label", "pfn", "address", "value")
        listed = [columns[name] for name in names]
        plain = [each if isinstance(each, (tuple, list)) else each.tolist() for each in listed]
        for call, event, label, pfn, address, value in zip(*plain, strict=True):
            if event in _ADVANCES:
                self._advance(call)
                if label.startswith("SY7-") and label != "SY7-fail":
                    self.tried[call].stage = label
            if event == "step":
                self._step(call, label)
            elif event == "isolate":
                self.tried[call].addresses[pfn] = address
                self.tried[call].refused.pop(pfn, None)
            elif event == "refuse":
                self.tried[call].refused[pfn] = value
            elif event == "allocate":
                self._now[call].clear()
            elif event == "copy" and call not in self.brief:
                self.tried[call].targets[pfn] = value
            elif event == "attempt":
                self._attempt(call, pfn, value)

    def _advance(self, call: int) -> None:
        made = self.made
        if made and made[-1][0] == call:
            made[-1] = (call, made[-1][1] + 1)
        else:
            made.append((call, 1))

    def _step(self, call: int, label: str) -> None:
        decides = self._decides.get(label)
        if decides is None:
            decides = self._decides[label] = not label.startswith(_AFTERWARDS)
            self._holds[label] = label.startswith(_HOLDERS)
        if decides:
            now = self._now[call]
            now.last = label
            now.has_written |= label.startswith("WO-")
            now.has_waited |= label == "UM-6"
        if self._holds[label]:
            for other in self.tried:
                if other != call:
                    self._others[other][call] = label

    def _attempt(self, call: int, pfn: int, result: int) -> None:
        tried, now = self.tried[call], self._now[call]
        tried.latest = pfn
        others = self._others.pop(call, None)
        if call not in self.brief:
            tried.results[pfn] = result
        if result == 0:
            tried.attempts.pop(pfn, None)
            tried.others.pop(pfn, None)
            if call in self.brief:
                tried.addresses.pop(pfn, None)
        else:
            told = _added(tried.attempts.get(pfn, ()), decided(now, result), result)
            tried.attempts[pfn] = self._stories.setdefault(told, told)
            if others:
                tried.others.setdefault(pfn, {}).update(others)
        now.clear()


def _added(known: tuple[Attempt, ...], label: str, result: int) -> tuple[Attempt, ...]:
    """Add an attempt; one that was decided as the one before counts with it."""
    before = known[-1] if known else None
    if before is not None and (before.label, before.result) == (label, result):
        return (*known[:-1], before._replace(times=before.times + 1))
    if len(known) >= RUNS_MAX:
        known = (*known[: RUNS_MAX // 2], *known[RUNS_MAX // 2 + 1 :])
    return (*known, Attempt(before.first + before.times if before is not None else 1, 1, label, result))


def decided(now: _Now, result: int) -> str:
    """Return the step of the specification at which an attempt was decided."""
    last = now.last or "UM-3"
    if now.has_written:
        return "WO-5" if result == -errno.EIO else "WO-6"
    if last.startswith("MM-"):
        return "MM-6" if last in ("MM-6", "MM-7") else "MM-5"
    if last == "UM-10":
        return "UM-10"
    if last in ("UM-4", "UM-5", "UM-6"):
        codes = {-errno.EBUSY: "UM-4", -errno.ENOMEM: "UM-5"}
        return codes.get(result, "UM-8" if now.has_waited else "UM-6")
    if result == -errno.ENOMEM:
        return "UM-1"
    if result == -errno.EBUSY:
        return "UM-4"
    return "UM-9" if last == "UM-9" else "UM-3"
