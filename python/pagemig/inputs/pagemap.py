"""``/proc/PID/pagemap``: one 64-bit word for each page of a process.

Start with `Pagemap.runs`. Where the kernel tells ranges instead of words (`page_scan`), it is asked
for those. Otherwise words are read in blocks, so that an area of many terabytes takes no memory,
but time: a word tells of its own page only, and none can be skipped, and does not tell the page of
zeros from memory of its own. Frame numbers are neither needed nor read: the kernel shows them to root
only.

Source: ``Documentation/admin-guide/mm/pagemap.rst``.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import numpy as np

from ..errors import UsageError
from .area import Run, Runs, joined, runs_in
from .page_scan import GUARD, OF_FILE, OF_ZEROS, PRESENT, scan, tells_ranges

_PRESENT = np.uint64(1 << 63)
_SWAPPED = np.uint64(1 << 62)
_FILE_OR_SHARED = np.uint64(1 << 61)

_WORD = 8
_BLOCK_PAGES = 1 << 16


class Pagemap:
    """An open ``pagemap``."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self.tells_ranges = tells_ranges(descriptor)

    @staticmethod
    def opened(path: Path) -> Pagemap | None:
        """Return it open and readable, or None where the host has none or refuses."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Some hosts let it be opened and refuse the reading.
            os.pread(descriptor, _WORD, 0)
        except OSError:
            os.close(descriptor)
            return None
        return Pagemap(descriptor, path)

    def __enter__(self) -> Pagemap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def runs(self, start: int, length: int) -> tuple[Runs, Runs, Runs]:
        """Return the pages of a range: in memory, those of no file among them, and in swap.

        Parameters
        ----------
        start, length
            The range, bytes, whole pages of the host.

        Raises
        ------
        UsageError
            The process ended meanwhile, or the host stopped telling.
        """
        if self.tells_ranges:
            return self._runs_from_ranges(start, length)
        return self._runs_from_words(start // mmap.PAGESIZE, length // mmap.PAGESIZE)

    def _runs_from_ranges(self, start: int, length: int) -> tuple[Runs, Runs, Runs]:
        resident: list[Run] = []
        anonymous: list[Run] = []
        swapped: list[Run] = []
        try:
            for first, end, kind in scan(self._descriptor, start, start + length):
                run = (first - start) // mmap.PAGESIZE, (end - first) // mmap.PAGESIZE
                if kind & PRESENT:
                    resident.append(run)
                    if not kind & (OF_FILE | OF_ZEROS):
                        anonymous.append(run)
                elif not kind & GUARD:
                    swapped.append(run)
        except OSError as error:
            self._refuse(error)
        # Of memory that is gone no range is told, which would look like an empty one.
        self._words(start // mmap.PAGESIZE, 1)
        return joined(resident), joined(anonymous), joined(swapped)

    def _runs_from_words(self, start: int, pages: int) -> tuple[Runs, Runs, Runs]:
        resident: list[Run] = []
        anonymous: list[Run] = []
        swapped: list[Run] = []
        for first in range(0, pages, _BLOCK_PAGES):
            words = self._words(start + first, min(_BLOCK_PAGES, pages - first))
            if words.max() < _SWAPPED:
                continue
            is_present = (words & _PRESENT) != 0
            is_swapped = ~is_present & ((words & _SWAPPED) != 0)
            is_anonymous = is_present & ((words & _FILE_OR_SHARED) == 0)
            for kept, bits in ((resident, is_present), (anonymous, is_anonymous), (swapped, is_swapped)):
                kept.extend((first + run, length) for run, length in runs_in(bits))
        return joined(resident), joined(anonymous), joined(swapped)

    def _words(self, page: int, pages: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        data = b""
        while len(data) < pages * _WORD:
            try:
                more = os.pread(self._descriptor, pages * _WORD - len(data), page * _WORD + len(data))
            except OSError as error:
                self._refuse(error)
            if not more:
                self._miss()
            data += more
        return np.frombuffer(data, dtype=np.uint64)

    def _miss(self) -> NoReturn:
        raise UsageError(f"{self._path}: the process ended while it was captured") from None

    def _refuse(self, error: OSError) -> NoReturn:
        # Asked for ranges, Linux told none of a process that was gone until it learned to say so.
        if error.errno == errno.ESRCH:
            self._miss()
        raise UsageError(f"{self._path}: {error.strerror}") from None
