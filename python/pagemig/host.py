"""What the host's own kernel needs for a page: the yardstick beside our figures.

A figure in nanoseconds says little on a machine that is shared, so ours are shown next to what the
kernel underneath does in the same run: look pages up (``move_pages(2)`` without nodes), or be asked
to move them to where they are. Start with :func:`host_query_ns_per_page`; :class:`HostPages` is the
memory it asks about. The clock is read here and nowhere below: no figure enters a simulation.

Source: move_pages(2), madvise(2). Left out: pages that really migrate, which needs a second node.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import statistics
import sys
import time
from types import TracebackType

import numpy as np
import numpy.typing as npt

from .arguments import integer
from .errors import PagemigError

_MOVE_PAGES = {"x86_64": 279, "aarch64": 239, "riscv64": 239, "ppc64le": 301}
_MPOL_MF_MOVE = 2
_HOST_PAGE = mmap.PAGESIZE


class HostUnavailable(PagemigError):
    """This host does not answer the question; the message says why.

    Parameters
    ----------
    reason
        Why, without naming the question.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _syscall_number() -> int:
    machine = platform.machine()
    if not sys.platform.startswith("linux"):
        raise HostUnavailable(f"move_pages is a Linux system call, and this host runs {sys.platform}")
    if machine not in _MOVE_PAGES:
        raise HostUnavailable(f"the number of the move_pages system call on {machine} is not known here")
    return _MOVE_PAGES[machine]


class HostPages:
    """Pages of this very process, written to, one after the other, none of them huge.

    Parameters
    ----------
    pages
        How many; at least 1. They are given back by :meth:`close` or at the end of a ``with`` block.

    Attributes
    ----------
    addresses
        The address of each page: ``uint64``, shape ``(pages,)``.

    Raises
    ------
    UsageError
        If ``pages`` is not a positive integer.
    HostUnavailable
        If the host has no ``move_pages``, or not that much memory to give.
    """

    def __init__(self, pages: int) -> None:
        pages = integer(pages, "pages", low=1)
        self._number = _syscall_number()
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        try:
            self._memory = mmap.mmap(-1, pages * _HOST_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as refused:
            raise HostUnavailable(f"{pages} pages of memory: {refused.strerror}") from refused
        # A kernel without huge pages refuses the wish not to have them.
        with contextlib.suppress(OSError):
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._bytes = np.frombuffer(self._memory, dtype=np.uint8)
        self._bytes[::_HOST_PAGE] = 1
        offsets = np.arange(pages, dtype=np.uint64) * np.uint64(_HOST_PAGE)
        self.addresses: npt.NDArray[np.uint64] = offsets + np.uint64(self._bytes.ctypes.data)
        self._statuses = np.zeros(pages, dtype=np.int32)

    def __enter__(self) -> HostPages:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back."""
        del self._bytes
        self._memory.close()

    def query(self, addresses: npt.NDArray[np.uint64]) -> tuple[float, npt.NDArray[np.int32]]:
        """Ask the kernel which node each page is on.

        Parameters
        ----------
        addresses
            Pages in the order to ask in: contiguous ``uint64``, at most as many as there are pages.

        Returns
        -------
        tuple
            Nanoseconds for each page, and the answers: ``int32`` nodes or negative errnos.

        Raises
        ------
        HostUnavailable
            If the kernel refuses the call, or does not know where a page is.
        """
        return self._timed(addresses, None, 0)

    def stay(
        self, addresses: npt.NDArray[np.uint64], nodes: npt.NDArray[np.int32]
    ) -> tuple[float, npt.NDArray[np.int32]]:
        """Ask the kernel to move pages to nodes, by right the ones where they are.

        Parameters
        ----------
        addresses, nodes
            Pages and, for each, its node as :meth:`query` told: contiguous, of equal length.

        Returns
        -------
        tuple
            As for :meth:`query`.

        Raises
        ------
        HostUnavailable
            If the kernel refuses the call.
        """
        return self._timed(addresses, nodes, _MPOL_MF_MOVE)

    def _timed(
        self, addresses: npt.NDArray[np.uint64], nodes: npt.NDArray[np.int32] | None, flags: int
    ) -> tuple[float, npt.NDArray[np.int32]]:
        count = len(addresses)
        statuses = self._statuses[:count]
        arguments = (
            ctypes.c_long(self._number),
            ctypes.c_int(0),
            ctypes.c_ulong(count),
            ctypes.c_void_p(addresses.ctypes.data),
            ctypes.c_void_p(None if nodes is None else nodes.ctypes.data),
            ctypes.c_void_p(statuses.ctypes.data),
            ctypes.c_int(flags),
        )
        start = time.perf_counter_ns()
        result = self._call(*arguments)
        elapsed = time.perf_counter_ns() - start
        if result != 0:
            refused = os.strerror(ctypes.get_errno()) if result < 0 else f"{result} pages not moved"
            raise HostUnavailable(f"the host kernel refuses move_pages: {refused}")
        if (statuses < 0).any():
            worst = int(statuses.min())
            raise HostUnavailable(f"the host kernel answers for a page: {os.strerror(-worst)}")
        return elapsed / count, statuses.copy()


def host_query_ns_per_page(pages: int = 1 << 16, *, rounds: int = 5) -> float:
    """Measure what the host's kernel needs to look up one page, in nanoseconds.

    Parameters
    ----------
    pages
        How many pages one call asks about, in address order.
    rounds
        How many calls; the median counts.

    Returns
    -------
    float
        Nanoseconds for each page.

    Raises
    ------
    UsageError
        If a number is not a positive integer.
    HostUnavailable
        Where the host has no such call, refuses it, or lacks the memory.
    """
    rounds = integer(rounds, "rounds", low=1)
    with HostPages(pages) as memory:
        return statistics.median(memory.query(memory.addresses)[0] for _ in range(rounds))
