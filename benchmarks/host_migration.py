"""``C3``: pages that the host's kernel really migrates.

One node is enough. A huge page of 1 GiB wants a GiB of memory without gaps, and the kernel makes one by
migrating whatever lies there: free memory is filled with touched 4 KiB pages, ``nr_hugepages`` for 1 GiB
pages is raised by one, and the time is divided by the rise of ``pgmigrate_success`` in ``/proc/vmstat``.
Where every GiB has something in it that will not go, smaller blocks of memory are tried, one after the
other: taken offline, a block is emptied in the same way. The fastest of several counts: the others met
pages that would not go at once, or memory that whatever is below this host had not backed yet.

Start with :func:`migration_ns_per_page`. What was written is put back at the end, on Ctrl-C, on SIGTERM and
after errors (:func:`put_back`). Needs root, and a host with 1 GiB pages or with memory that can be taken
offline; where either is missing :class:`pagemig.host.HostUnavailable` says so. Run alone:
``python -m benchmarks.host_migration``.

Source: the kernel's administration guide, hugetlbpage and memory-hotplug; proc(5), vmstat. Left out:
several nodes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from pagemig.host import HostPages, HostUnavailable

NR_HUGEPAGES = Path("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages")
BLOCKS = Path("/sys/devices/system/memory")
GIB = 1 << 30
# A piece that was nearly free tells what looking for it costs, not what moving does.
MIGRATED_MIN = 4096
# Left free: the GiB that the pages go to, and one for everybody else, besides what caches can give back.
LEFT_FREE = 2 * GIB
# So many figures of each kind are enough.
FIGURES = 3
# The kernel would try for ever to empty a block whose pages are held.
PATIENCE_SECONDS = 5.0
# For all blocks together.
SEARCH_SECONDS = 60.0


def migration_ns_per_page() -> float:
    """Return nanoseconds for each page that the host migrates: the fastest of some GiB, or of some blocks.

    Raises
    ------
    HostUnavailable
        Without root, without pages of 1 GiB and memory that can be taken offline, without enough memory, or
        if too few pages would go.
    """
    with HostPages(_room() // os.sysconf("SC_PAGE_SIZE")):
        found: list[float] = []
        if NR_HUGEPAGES.exists():
            with contextlib.suppress(HostUnavailable):  # No pages of 1 GiB while it runs: there are blocks.
                found = _until_it_fails(_one_gib)
        latest = time.monotonic() + SEARCH_SECONDS
        for state in _blocks() if not found else ():
            figure = _one_block(state)
            found += [figure] if figure is not None else []
            if len(found) == FIGURES or time.monotonic() > latest:
                break
    if not found:
        raise HostUnavailable("the host frees neither a GiB nor a block of memory by migrating pages")
    return min(found)


def _until_it_fails(measure: Callable[[], float | None]) -> list[float]:
    found: list[float] = []
    while len(found) < FIGURES and (figure := measure()) is not None:
        found.append(figure)
    return found


def _one_gib() -> float | None:
    """The same for one GiB; None if it was nearly free, or pages in every one would not go."""
    with put_back(NR_HUGEPAGES) as before:
        wanted = str(int(before) + 1)
        figure = _timed(lambda: _write(NR_HUGEPAGES, wanted))
        return figure if NR_HUGEPAGES.read_text().strip() == wanted else None


def _one_block(state: Path) -> float | None:
    """The same for one block of memory, which is online again afterwards."""
    with put_back(state):
        try:
            with _patience():
                return _timed(lambda: _write(state, "offline"))
        except (HostUnavailable, TimeoutError):
            return None


def _blocks() -> list[Path]:
    """The blocks of memory that are online, high addresses first: little of the kernel is there."""
    found = [path / "state" for path in BLOCKS.glob("memory[0-9]*")]
    online = [state for state in found if state.exists() and state.read_text().strip() == "online"]
    return sorted(online, key=lambda state: -int(state.parent.name.removeprefix("memory")))


def _timed(work: Callable[[], None]) -> float | None:
    """Nanoseconds of ``work`` for each page that was migrated meanwhile; None if those are few."""
    moved, start = _migrated(), time.perf_counter()
    work()
    elapsed = time.perf_counter() - start
    moved = _migrated() - moved
    return elapsed * 1e9 / moved if moved >= MIGRATED_MIN else None


@contextlib.contextmanager
def put_back(setting: Path) -> Iterator[str]:
    """Give what a file of the kernel says, and write it back however the block ends."""
    before = setting.read_text().strip()
    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield before
    finally:
        # A second Ctrl-C waits until all is as it was.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *handlers})
        try:
            _write_back(setting, before)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _write_back(setting: Path, before: str) -> None:
    """Three times, then loudly: this is no figure that could be left out."""
    for _ in range(3):
        if setting.read_text().strip() == before:
            return
        with contextlib.suppress(HostUnavailable):
            _write(setting, before)
    if (now := setting.read_text().strip()) != before:
        raise RuntimeError(f"{setting} is {now!r} and was {before!r}: write it back by hand")


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Raise TimeoutError in what takes longer than :data:`PATIENCE_SECONDS`."""
    before = signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            signal.signal(signal.SIGALRM, before)


def _give_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _room() -> int:
    """How many bytes to fill: what is free, but for :data:`LEFT_FREE`."""
    if os.geteuid() != 0:
        raise HostUnavailable("needs root, to make the kernel empty a part of its memory")
    if not NR_HUGEPAGES.exists() and not _blocks():
        raise HostUnavailable("the host has no huge pages of 1 GiB, and no memory that can be taken offline")
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


def _write(setting: Path, text: str) -> None:
    opened = os.open(setting, os.O_WRONLY)
    try:
        os.write(opened, text.encode())
    except TimeoutError:
        raise
    except OSError as refused:
        raise HostUnavailable(f"{setting} cannot be written: {refused.strerror}") from refused
    finally:
        os.close(opened)


if __name__ == "__main__":
    print(f"{migration_ns_per_page():,.0f} ns a page")
