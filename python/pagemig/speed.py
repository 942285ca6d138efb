"""How fast this package is here, beside the host's own kernel: a few verbs, medians of several rounds.

Start with :func:`measure`. It is for a person with an installed wheel; the project's own table, with every
target, is ``make bench`` in the repository.

Below: :mod:`pagemig.host` asks the host's kernel. Left out: order at random, files, growth.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arguments import integer
from .flags import PAGE_SIZE
from .host import HostPages, HostUnavailable
from .machine import Machine

_PAGES_MAX = 1 << 24


@dataclass(frozen=True, slots=True)
class Speed:
    """One verb, per page."""

    what: str
    """What is done to each page."""
    ns_per_page: float
    """What it takes here, ns: the median."""
    host_ns_per_page: float | None
    """What the host's kernel takes for the same, ns; None where it does not do it."""

    @property
    def ratio(self) -> float | None:
        """Ours over the host's; None without the host's."""
        return None if self.host_ns_per_page is None else self.ns_per_page / self.host_ns_per_page


@dataclass(frozen=True, slots=True)
class Speeds:
    """Everything that was measured, in one run."""

    pages: int
    rounds: int
    rows: tuple[Speed, ...]
    refused: str
    """Why the host's kernel was not measured; empty if it was."""


def measure(pages: int = 1 << 18, *, rounds: int = 5) -> Speeds:
    """Measure a look-up, a move to the node where a page is, a real move, and a first touch.

    Parameters
    ----------
    pages
        How many pages each call is about, in address order: 1 to 16 million.
    rounds
        How many times each is done; the median counts.

    Raises
    ------
    UsageError
        A number is out of range, or this host has no room for so many pages.
    """
    pages = integer(pages, "pages", 1, _PAGES_MAX)
    rounds = integer(rounds, "rounds", 1, 1000)
    ours: dict[str, list[float]] = {name: [] for name in ("touch", "query", "stay", "move")}
    for _ in range(rounds):
        for name, took in _ours(pages).items():
            ours[name].append(took)
    host, refused = _host(pages, rounds)
    words = {
        "query": "asked where it is (move_pages without nodes)",
        "stay": "asked to where it is already",
        "move": "moved to another node",
        "touch": "touched for the first time",
    }
    rows = tuple(Speed(text, statistics.median(ours[name]), host.get(name)) for name, text in words.items())
    return Speeds(pages, rounds, rows, refused)


def _ours(pages: int) -> dict[str, float]:
    """Return ns a page of each verb, on a machine of its own."""
    machine = Machine(nodes=[(pages + 64) * PAGE_SIZE] * 2)
    task = machine.spawn("bench", stack=False)
    heap = task.mmap(pages * PAGE_SIZE)
    addresses = heap.addresses

    def timed(verb: Callable[[], object]) -> float:
        begin = time.perf_counter_ns()
        verb()
        return (time.perf_counter_ns() - begin) / pages

    return {
        "touch": timed(lambda: task.touch(heap)),
        "query": timed(lambda: task.move_pages(addresses)),
        "stay": timed(lambda: task.move_pages(addresses, 0)),
        "move": timed(lambda: task.move_pages(addresses, 1)),
    }


def _host(pages: int, rounds: int) -> tuple[dict[str, float], str]:
    """Return the same of the host's kernel, for what it does, and why not for the rest."""
    took: dict[str, list[float]] = {"query": [], "stay": []}
    try:
        with HostPages(pages) as memory:
            for _ in range(rounds):
                query, nodes = memory.query(memory.addresses)
                stay, _ = memory.stay(memory.addresses, np.ascontiguousarray(nodes))
                took["query"].append(query)
                took["stay"].append(stay)
    except HostUnavailable as why:
        return {}, why.reason
    return {name: statistics.median(each) for name, each in took.items()}, ""
