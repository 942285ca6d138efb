"""The mlock state of a single page.

Start with :func:`lock_page` and :func:`clear`; ranges are in ``mlock``.

Source: supporting paths 8 (clearing it when the page goes) and 15.
"""

from __future__ import annotations

from . import lru
from .memory import Flag, Frame, Memory


def lock_page(memory: Memory, cpu: lru.Cpu, frame: Frame) -> None:
    """``mlock_vma_page``."""
    if frame.has(Flag.MLOCKED):
        return
    frame.flags |= Flag.MLOCKED
    memory.add(frame, "nr_mlock", 1)
    if lru.isolate(memory, frame):
        lru.putback(memory, cpu, frame)


def clear(memory: Memory, cpu: lru.Cpu, frame: Frame) -> None:
    """Clear PG_mlocked and try to move the page off the unevictable list."""
    if not frame.test_and_clear(Flag.MLOCKED):
        return
    if frame.owner is None:
        return
    memory.add(frame, "nr_mlock", -1)
    if lru.isolate(memory, frame):
        lru.putback(memory, cpu, frame)
