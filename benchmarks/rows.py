"""The rows of the table, and how each figure is taken.

Start with :func:`rows`: one line a target of the project, naming the figure of ours and the one it is
held against. :class:`Bench` keeps the machines and takes all figures once a round. A heap is moved back
and forth between two nodes, so that every round does the same work, and has been there and back before the
first one, so that the host has backed both; a random order is a new one in each round, because the last
one is the order in which the frames now lie.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import pagemig as pm

from .comparators import Copy, Host, Order, import_seconds, seconds
from .exploring import us_per_state
from .machines import SEED, machine_with_file, machine_with_heap

Figure = tuple[str, float | None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work: pages, pages that carry bytes, the two sizes of P7, one-page calls, GiB a node of P9,
    steps of a search."""

    pages: int
    byte_pages: int
    growth: tuple[int, int] = (1 << 16, 1 << 24)
    calls: int = 2000
    gib: int = 256
    steps: int = 200_000


@dataclass(frozen=True, slots=True)
class Row:
    """One target: ``ours`` at most ``target`` times ``against``, or at most ``target`` itself."""

    label: str
    work: str
    ours: str
    against: str | None
    target: float
    unit: str = "ns"

    def show(self, figure: float) -> str:
        """A figure with its unit."""
        return f"{figure:,.1f} {self.unit}" if abs(figure) < 100 else f"{figure:,.0f} {self.unit}"


def rows(sizes: Sizes) -> tuple[Row, ...]:
    """Every row, in the order of its label; times are for each page where pages are meant."""
    small, large = sizes.growth
    return (
        Row("P1", "move, address order", "move", "C1: order", 1 / 5),
        Row("P2", "move, random order", "move random", "C1: random", 0.6),
        Row("P3", "move with bytes, address order", "bytes", "C4: order", 1.25),
        Row("P3", "move with bytes, random order", "bytes random", "C4: random", 1.25),
        Row("P4", "query, address order", "query", "C1: order", 1 / 40),
        Row("P4", "query, random order", "query random", "C1: random", 1 / 4),
        Row("P5", "move file pages, against anonymous", "file", "move", 2),
        Row("P5", "move file pages with four buffers", "buffers", "move", 4),
        Row("P6", "query of one page", "one query", "C1: one", 2),
        Row("P6", "one page asked to stay", "one stay", "C2: one", 2),
        Row("P6", "one page moved, against staying", "one move", "C2: one", 2),
        Row("P7", f"move {large:,} pages against {small:,}", "move large", "same: small", 1.5),
        Row("P9", f"build 4 x {sizes.gib} GiB", "build", None, 500, "ms"),
        Row("P9", "resident for that", "resident", None, 200, "MiB"),
        Row("P10", "first touch", "touch", None, 50),
        Row("P13", "explore move and write, a state", "explore", None, 10, "us"),
        Row("P13", "explore move and fork, a state", "explore fork", None, 10, "us"),
        Row("P15", "import", "import", "numpy: import", 2, "ms"),
    )


class Heap:
    """A heap on one of two nodes, moved to the other one by each call."""

    def __init__(
        self, pages: int, *, contents: bool = False, filesystem: pm.FileSystem | None = None
    ) -> None:
        if filesystem is None:
            self.machine, self.task, self.region = machine_with_heap(pages, contents=contents)
        else:
            self.machine, self.task, self.region = machine_with_file(pages, filesystem)
        self._addresses = self.region.addresses
        self._node = 0
        self.move()
        self.move()

    def move(self, order: Order | None = None) -> float:
        """Nanoseconds for each page of one move of them all."""
        where = self._where(order)
        self._node ^= 1
        statuses: list[npt.NDArray[np.int32]] = []
        elapsed = seconds(lambda: statuses.append(self.task.move_pages(where, self._node)))
        self._require(statuses[0])
        return elapsed * 1e9 / len(where)

    def query(self, order: Order | None = None) -> float:
        """Nanoseconds for each page of one question about them all."""
        where = self._where(order)
        statuses: list[npt.NDArray[np.int32]] = []
        elapsed = seconds(lambda: statuses.append(self.task.move_pages(where)))
        self._require(statuses[0])
        return elapsed * 1e9 / len(where)

    def _where(self, order: Order | None) -> npt.NDArray[np.uint64]:
        return self._addresses if order is None else self._addresses[order]

    def _require(self, statuses: npt.NDArray[np.int32]) -> None:
        """A figure of work that was not done would be worth nothing."""
        if not (statuses == self._node).all():
            raise RuntimeError(f"pages are not on node {self._node}: {np.unique(statuses).tolist()}")


class Bench:
    """Everything that is measured, built once; :meth:`figures` takes one round."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.host = Host(sizes.pages)
        self._heap = Heap(sizes.pages)
        self._scattered = Heap(sizes.pages)
        self._bytes = Heap(sizes.byte_pages, contents=True)
        self._scattered_bytes = Heap(sizes.byte_pages, contents=True)
        self._copy = Copy(sizes.byte_pages)
        self._file = Heap(sizes.pages, filesystem=pm.filesystems.TMPFS)
        self._buffers = Heap(sizes.pages, filesystem=pm.filesystems.EXT)
        self._small, self._large = (Heap(pages) for pages in sizes.growth)
        self._one = Heap(16)

    def close(self) -> None:
        """Give the host's memory back."""
        self.host.close()

    def figures(self, number: int) -> Iterator[Figure]:
        """All figures of one round, by name; None where the host refuses."""
        random = np.random.default_rng(SEED + number)
        yield from self._pages(random)
        yield from self._bytes_too(random)
        yield from self._one_page()
        yield "same: small", self._small.move()
        yield "move large", self._large.move()
        yield from build(self.sizes.gib)
        yield "touch", touch(self.sizes.pages)
        yield "explore", us_per_state("writer", self.sizes.steps)
        yield "explore fork", us_per_state("fork", self.sizes.steps)
        yield "import", import_seconds("pagemig") * 1e3
        yield "numpy: import", import_seconds("numpy") * 1e3

    def _pages(self, random: np.random.Generator) -> Iterator[Figure]:
        order = np.arange(self.sizes.pages)
        anyhow = random.permutation(self.sizes.pages)
        yield "C1: order", self.host.look_up(order)
        yield "move", self._heap.move()
        yield "query", self._heap.query()
        yield "file", self._file.move()
        yield "buffers", self._buffers.move()
        yield "C1: random", self.host.look_up(anyhow)
        yield "move random", self._scattered.move(anyhow)
        yield "query random", self._scattered.query(random.permutation(self.sizes.pages))

    def _bytes_too(self, random: np.random.Generator) -> Iterator[Figure]:
        anyhow = random.permutation(self.sizes.byte_pages)
        yield "C4: order", self._copy.ns_per_page(np.arange(self.sizes.byte_pages))
        yield "bytes", self._bytes.move()
        yield "C4: random", self._copy.ns_per_page(anyhow)
        yield "bytes random", self._scattered_bytes.move(anyhow)

    def _one_page(self) -> Iterator[Figure]:
        task, page, calls = self._one.task, self._one.region[:1], self.sizes.calls
        yield "C1: one", self.host.one_page(calls, stay=False)
        yield "one query", median_ns(lambda _: task.move_pages(page), calls)
        yield "C2: one", self.host.one_page(calls, stay=True)
        task.move_pages(page, 0)
        yield "one stay", median_ns(lambda _: task.move_pages(page, 0), calls)
        yield "one move", median_ns(lambda call: task.move_pages(page, 1 - call % 2), calls)


def median_ns(work: Callable[[int], object], calls: int) -> float:
    """Nanoseconds of the median call."""
    return float(np.median([seconds(lambda call=call: work(call)) for call in range(calls)])) * 1e9


def touch(pages: int) -> float:
    """Nanoseconds for each page of a first write to a heap."""
    _, task, heap = machine_with_heap(pages, touched=False)
    return seconds(lambda: task.touch(heap)) * 1e9 / pages


BUILD = """
import resource, time
import pagemig as pm

def resident():
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * resource.getpagesize()
    except OSError:
        return None

before = resident()
start = time.perf_counter()
machine = pm.Machine(nodes=[{gib} * pm.GiB] * 4)
elapsed = time.perf_counter() - start
print(elapsed, "unknown" if before is None else resident() - before)
"""


def build(gib: int) -> Iterator[Figure]:
    """Milliseconds and resident MiB for a large machine, in a process of its own."""
    command = [sys.executable, "-c", BUILD.format(gib=gib)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    elapsed, resident = answer.stdout.split()
    yield "build", float(elapsed) * 1e3
    yield "resident", float(resident) / (1 << 20) if resident != "unknown" else None
