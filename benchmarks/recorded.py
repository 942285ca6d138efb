"""A recorded program, for the rows of accesses and of reading text.

The recording is ``sort``, as valgrind's lackey wrote it, which the tests ship too. Start with
:class:`Recorded`: its text is parsed, its pages are mapped and touched, and its accesses, repeated as often
as needed, are played on them. Left out: files, and taking the packing off, which is not ours.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np

import pagemig as pm
from pagemig import _core
from pagemig.inputs import page_accesses

from .comparators import seconds
from .machines import bytes_for

RECORDING = Path(__file__).parent.parent / "tests" / "inputs" / "data" / "sort.lackey.xz"
PIECE = 1 << 20


class Recorded:
    """Accesses that a task can make without a fault, and the text that they were read from."""

    def __init__(self, accesses: int, records: int) -> None:
        self._text = lzma.decompress(RECORDING.read_bytes())
        lines = self._text.count(b"\n")
        self._times = max(1, round(records / lines))
        addresses, sizes, kinds = _core.TraceParser("lackey", instructions=False).feed(self._text)
        where, writes = page_accesses(addresses, sizes, kinds != 0)
        self._where = np.resize(where, accesses)
        self._writes = np.resize(writes, accesses)
        self._records = lines * self._times
        self._task = _with_memory(self._where)
        self._task.access(self._where, self._writes)

    def million_accesses(self) -> float:
        """Millions of accesses in a second."""
        results: list[pm.AccessResult] = []
        elapsed = seconds(lambda: results.append(self._task.access(self._where, self._writes)))
        if results[0].hits != len(self._where):
            raise RuntimeError(f"{len(self._where) - results[0].hits} accesses were none to resident pages")
        return len(self._where) / elapsed / 1e6

    def million_records(self) -> float:
        """Millions of lines of text read in a second."""
        return self._records / seconds(self._read) / 1e6

    def _read(self) -> None:
        for _ in range(self._times):
            parser = _core.TraceParser("lackey", instructions=False)
            for start in range(0, len(self._text), PIECE):
                parser.feed(self._text[start : start + PIECE])
            parser.finish()


def _with_memory(where: np.ndarray) -> pm.Task:
    """A task whose memory has every page that is named."""
    pages = np.unique(where // np.uint64(pm.PAGE_SIZE)).astype(np.int64)
    machine = pm.Machine(nodes=[bytes_for(len(pages))])
    task = machine.spawn("recorded", stack=False)
    for run in np.split(pages, np.flatnonzero(np.diff(pages) > 1) + 1):
        region = task.mmap(len(run) * pm.PAGE_SIZE, at=int(run[0]) * pm.PAGE_SIZE)
        task.touch(region)
    return task
