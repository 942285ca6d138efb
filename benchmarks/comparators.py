"""What our figures are compared with: the host's kernel, and the host's memory.

``C1`` the kernel looks a page up, ``C2`` it is asked to move a page to where it is, ``C4`` a plain copy
of 4 KiB pages. All are measured in the same run, in the same page order, as what they stand beside.
Start with :class:`Host` and :class:`Copy`. ``C3``, pages that the host really migrates, is in
:mod:`benchmarks.host_migration`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pagemig.host import HostPages, HostUnavailable

Order = npt.NDArray[np.intp]


def seconds(work: Callable[[], object]) -> float:
    """How long one run of ``work`` took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Host:
    """The host's kernel, asked about this process's own pages; or why it does not answer."""

    def __init__(self, pages: int) -> None:
        self.refusal = ""
        self._memory: HostPages | None = None
        try:
            self._memory = HostPages(pages)
            self._memory.query(self._memory.addresses)
        except HostUnavailable as refused:
            self._give_up(refused)

    def _give_up(self, refused: HostUnavailable) -> None:
        self.refusal = refused.reason
        self.close()

    def close(self) -> None:
        """Give the memory back."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def look_up(self, order: Order) -> float | None:
        """C1: nanoseconds for each page of a query in this order; None where the host refuses."""
        if self._memory is None:
            return None
        try:
            return self._memory.query(self._memory.addresses[order])[0]
        except HostUnavailable as refused:
            self._give_up(refused)
            return None

    def one_page(self, calls: int, *, stay: bool) -> float | None:
        """C1 or C2 for a single page: the median of many calls, in nanoseconds a call."""
        if self._memory is None:
            return None
        page = self._memory.addresses[:1].copy()
        try:
            node = self._memory.query(page)[1]
            times = [
                (self._memory.stay(page, node) if stay else self._memory.query(page))[0] for _ in range(calls)
            ]
        except HostUnavailable as refused:
            self._give_up(refused)
            return None
        return float(np.median(times))


class Copy:
    """C4: two areas of real memory, populated, and pages copied from one to the other.

    The target is filled from its beginning, as a migration fills the lowest free frames; the source is
    read in the order that is asked for.
    """

    def __init__(self, pages: int) -> None:
        self._source = np.ones((pages, 512), dtype=np.uint64)
        self._target = np.ones((pages, 512), dtype=np.uint64)

    def ns_per_page(self, order: Order) -> float:
        """Nanoseconds for each page of one copy in this order."""
        elapsed = seconds(lambda: np.take(self._source, order, axis=0, out=self._target, mode="clip"))
        return elapsed * 1e9 / len(order)
