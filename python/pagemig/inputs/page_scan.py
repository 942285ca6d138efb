"""``PAGEMAP_SCAN``: where pages are in a range, without a word for each page that is not there.

A request of ``/proc/PID/pagemap`` since Linux 6.7. The kernel walks the page tables and tells ranges
of pages of the same kind, so that terabytes with a few pages in them take no time. Start with `scan`,
where `tells_ranges` says that it can.

Source: ``Documentation/admin-guide/mm/pagemap.rst``, ioctl(2). Above: `pagemap`. Left out: write
protection and dirtiness, which the request is made for, too.
"""

from __future__ import annotations

import errno
import mmap
import struct
from collections.abc import Iterator

import numpy as np

OF_FILE = 1 << 2
"""``PAGE_IS_FILE``: a page of a file, or of shared memory."""
PRESENT = 1 << 3
"""``PAGE_IS_PRESENT``: in memory."""
SWAPPED = 1 << 4
"""``PAGE_IS_SWAPPED``: in swap, or a mark that the kernel keeps where an entry would be."""
OF_ZEROS = 1 << 5
"""``PAGE_IS_PFNZERO``: the page of zeros, small or huge, which is nobody's."""
GUARD = 1 << 8
"""``PAGE_IS_GUARD``: a mark of ``MADV_GUARD_INSTALL``, told since Linux 6.15."""

_ARGUMENT = struct.Struct("=12Q")
_WALK_END = 4
_REQUEST = 3 << 30 | _ARGUMENT.size << 16 | ord("f") << 8 | 16
_RANGE = np.dtype([("start", "u8"), ("end", "u8"), ("kind", "u8")])
_RANGES = 1 << 14


def scan(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the ranges of pages that are in memory or in swap, ascending.

    Parameters
    ----------
    descriptor
        An open ``pagemap``.
    start, end
        The range, bytes, whole pages of the host.

    Yields
    ------
    tuple of int
        First byte, first byte beyond, and what the pages are: `PRESENT` or `SWAPPED`, and `OF_FILE`,
        `OF_ZEROS` and `GUARD`.

    Raises
    ------
    OSError
        The kernel does not know the request, or no longer answers.
    """
    # Captures are read on hosts that have no such module, too.
    import fcntl

    told = np.zeros(_RANGES, dtype=_RANGE)
    asked = PRESENT | SWAPPED
    answers = asked | OF_FILE | OF_ZEROS | GUARD
    while start < end:
        argument = bytearray(
            _ARGUMENT.pack(
                _ARGUMENT.size, 0, start, end, 0, told.ctypes.data, _RANGES, 0, 0, 0, asked, answers
            )
        )
        try:
            ranges = fcntl.ioctl(descriptor, _REQUEST, argument, True)
        except OSError as error:
            if error.errno != errno.EINVAL or not answers & GUARD:
                raise
            answers ^= GUARD  # This kernel has no such marks.
            continue
        if not ranges:
            return
        yield from told[:ranges].tolist()
        # After many ranges the kernel may say that it went less far than what it tells.
        start = max(_ARGUMENT.unpack(argument)[_WALK_END], int(told[ranges - 1]["end"]))


def tells_ranges(descriptor: int) -> bool:
    """Return whether the kernel knows the request, of an open ``pagemap``."""
    try:
        for _ in scan(descriptor, 0, mmap.PAGESIZE):
            break
    except OSError:
        return False
    return True
