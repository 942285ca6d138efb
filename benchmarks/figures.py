"""How each figure of the table is taken.

:class:`Bench` keeps the machines and takes all figures once a round. A heap is moved back and forth
between two nodes, so that every round does the same work, and has been there and back before the first one,
so that the host has backed both. A random order is a new one in each round, because the last one is the
order in which the frames now lie; ours and the host's kernel get the same one. What is measured in a
process of its own is in :mod:`benchmarks.apart`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

import pagemig as pm
from pagemig.host import HostUnavailable

from .apart import build, import_seconds, resident
from .comparators import Copy, Host, Order, seconds
from .exploring import us_per_state
from .host_migration import migration_ns_per_page
from .machines import SEED, machine_with_file, machine_with_heap, pin_all
from .recorded import Recorded
from .rows import Sizes

Figure = tuple[str, float | None]


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


def migrated(sizes: Sizes) -> tuple[float | None, str]:
    """C3, nanoseconds for each page; or None and why. It wants the host's memory, so machines go first."""
    if not sizes.host_migrates:
        return None, "a quick run leaves the host's memory alone"
    try:
        return migration_ns_per_page(), ""
    except HostUnavailable as refused:
        return None, refused.reason


class Pinned:
    """A heap whose every page somebody holds on to, asked to go to the other node."""

    def __init__(self, pages: int) -> None:
        _, self.task, self.region = machine_with_heap(pages)
        pin_all(self.task, self.region)

    def move(self) -> float:
        """Nanoseconds for each page that was tried ten times."""
        statuses: list[npt.NDArray[np.int32]] = []
        elapsed = seconds(lambda: statuses.append(self.task.move_pages(self.region, 1)))
        if not (statuses[0] < 0).all():
            raise RuntimeError("a pinned page has moved")
        return elapsed * 1e9 / len(self.region)


class Bench:
    """Everything that is measured, built once; :meth:`figures` takes one round."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        # With the largest one before all others, while the host still has large pages.
        self._small, self._large = (Heap(pages) for pages in sizes.growth)
        self.host = Host(sizes.pages)
        self._heap = Heap(sizes.pages)
        self._scattered = Heap(sizes.pages)
        self._bytes = Heap(sizes.byte_pages, contents=True)
        self._scattered_bytes = Heap(sizes.byte_pages, contents=True)
        self._copy = Copy(sizes.byte_pages)
        self._file = Heap(sizes.pages, filesystem=pm.filesystems.TMPFS)
        self._buffers = Heap(sizes.pages, filesystem=pm.filesystems.EXT)
        self._one = Heap(16)
        self._pinned = Pinned(sizes.pages)
        self._recorded = Recorded(sizes.accesses, sizes.records)

    def close(self) -> None:
        """Give the host's memory back."""
        self.host.close()

    def figures(self, number: int) -> Iterator[Figure]:
        """All figures of one round, by name; None where the host refuses."""
        random = np.random.default_rng(SEED + number)
        yield from self._pages(random)
        yield from self._bytes_too(random)
        yield from self._one_page()
        # The first call after other work finds its buffers in memory that the host has yet to back.
        yield "same: small", median_of_three(self._small.move)
        yield "move large", median_of_three(self._large.move)
        yield from build(self.sizes.gib)
        yield "mapped", resident(self.sizes.pages)
        yield "touch", touch(self.sizes.pages)
        yield "explore", us_per_state("writer", self.sizes.search_steps)
        yield "explore read", us_per_state("reader", self.sizes.search_steps)
        yield "accesses", self._recorded.million_accesses()
        yield "records", self._recorded.million_records()
        yield "import", import_seconds("pagemig") * 1e3
        yield "numpy: import", import_seconds("numpy") * 1e3

    def _pages(self, random: np.random.Generator) -> Iterator[Figure]:
        order = np.arange(self.sizes.pages)
        anyhow = random.permutation(self.sizes.pages)
        yield "C1: order", self.host.look_up(order)
        yield "move", self._heap.move()
        yield "pinned", self._pinned.move()
        yield "query", self._heap.query()
        yield "file", self._file.move()
        yield "buffers", self._buffers.move()
        # The question comes before the move: after it, this order is the one in which frames lie.
        yield "query random", self._scattered.query(anyhow)
        yield "C1: random", self.host.look_up(anyhow)
        yield "move random", self._scattered.move(anyhow)

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
        address = page.addresses
        yield "one address", median_ns(lambda _: task.move_pages(address), calls)
        yield "C2: one", self.host.one_page(calls, stay=True)
        task.move_pages(page, 0)
        yield "one stay", median_ns(lambda _: task.move_pages(page, 0), calls)
        yield "one move", median_ns(lambda call: task.move_pages(page, 1 - call % 2), calls)


def median_of_three(work: Callable[[], float]) -> float:
    """The figure of the median call of three, one after the other."""
    return sorted(work() for _ in range(3))[1]


def median_ns(work: Callable[[int], object], calls: int) -> float:
    """Nanoseconds of the median call."""
    return float(np.median([seconds(lambda call=call: work(call)) for call in range(calls)])) * 1e9


def touch(pages: int) -> float:
    """Nanoseconds for each page of a first write to a heap."""
    _, task, heap = machine_with_heap(pages, touched=False)
    return seconds(lambda: task.touch(heap)) * 1e9 / pages
