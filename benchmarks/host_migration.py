"""``C3``: pages that the host's kernel really migrates.

One node is enough: a huge page of 1 GiB wants a GiB of memory without gaps, and the kernel makes one by
migrating whatever lies there. So free memory is filled with touched 4 KiB pages, ``nr_hugepages`` for 1 GiB
pages is raised by one, and the time is divided by the rise of ``pgmigrate_success`` in ``/proc/vmstat``.
The fastest of several counts: the others met pages that would not go at once, or memory that whatever is
below this host had not backed yet.

Start with :func:`migration_ns_per_page`. The number of huge pages is put back at the end, on Ctrl-C, on
SIGTERM and after errors (:func:`put_back`). Needs root, and a host with 1 GiB pages; where either is
missing :class:`pagemig.host.HostUnavailable` says so. Run alone: ``python -m benchmarks.host_migration``.

Source: the kernel's administration guide, hugetlbpage; proc(5), vmstat. Left out: several nodes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pagemig.host import HostPages, HostUnavailable

NR_HUGEPAGES = Path("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages")
GIB = 1 << 30
# A GiB that was nearly free tells what looking for it costs, not what moving does.
MIGRATED_MIN = 4096
# Left free: the GiB that the pages go to, and one for everybody else, besides what caches can give back.
LEFT_FREE = 2 * GIB


def migration_ns_per_page(rounds: int = 2) -> float:
    """Return nanoseconds for each page that the host migrates: the fastest of some GiB.

    Raises
    ------
    HostUnavailable
        Without root, without 1 GiB pages, without enough memory, or if too few pages had to move.
    """
    found = [figure for _ in range(rounds) if (figure := _one_gib()) is not None]
    if not found:
        raise HostUnavailable("the host frees no GiB by migrating pages")
    return min(found)


def _one_gib() -> float | None:
    """The same for one GiB; None if it was nearly free, or pages in every one would not go."""
    with HostPages(_room() // os.sysconf("SC_PAGE_SIZE")), put_back() as before:
        moved, start = _migrated(), time.perf_counter()
        _write(before + 1)
        elapsed = time.perf_counter() - start
        moved = _migrated() - moved
        has_risen = _read() > before
    return elapsed * 1e9 / moved if has_risen and moved >= MIGRATED_MIN else None


@contextlib.contextmanager
def put_back() -> Iterator[int]:
    """Give the number of huge pages, and write it back however the block ends."""
    before = _read()
    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield before
    finally:
        # A second Ctrl-C waits until the memory is given back.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *handlers})
        _write(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _room() -> int:
    """How many bytes to fill: what is free, but for :data:`LEFT_FREE`."""
    if os.geteuid() != 0:
        raise HostUnavailable("needs root, to raise nr_hugepages")
    if not NR_HUGEPAGES.exists():
        raise HostUnavailable("the host has no huge pages of 1 GiB")
    free = _field("/proc/meminfo", "MemFree:") * 1024
    if free < LEFT_FREE + GIB:
        raise HostUnavailable(f"{free / GIB:.1f} GiB free, {(LEFT_FREE + GIB) / GIB:.1f} needed")
    return free - LEFT_FREE


def _migrated() -> int:
    return _field("/proc/vmstat", "pgmigrate_success")


def _field(path: str, name: str) -> int:
    with open(path) as lines:
        for line in lines:
            words = line.split()
            if words[0] == name:
                return int(words[1])
    raise HostUnavailable(f"{path} has no {name}")


def _read() -> int:
    return int(NR_HUGEPAGES.read_text())


def _write(number: int) -> None:
    try:
        NR_HUGEPAGES.write_text(str(number))
    except OSError as refused:
        raise HostUnavailable(f"nr_hugepages cannot be written: {refused.strerror}") from refused


if __name__ == "__main__":
    print(f"{migration_ns_per_page():,.0f} ns a page")
