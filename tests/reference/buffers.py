"""Buffer heads: the blocks of a page, each with a state of its own.

Start with :func:`attach`. A page with PG_private has a list of buffers in ring
order; one reference stands for all of them.

Source: data model 5.3, supporting paths 8 (discarding) and 10.
Left out: reading single blocks.
"""

from __future__ import annotations

import dataclasses
import enum

from . import lru
from .memory import Flag, Frame, Memory


class State(enum.IntFlag):
    """``b_state``, in the order of the data model."""

    UPTODATE = 1 << 0
    DIRTY = 1 << 1
    LOCK = 1 << 2
    REQ = 1 << 3
    MAPPED = 1 << 4
    NEW = 1 << 5
    ASYNC_READ = 1 << 6
    ASYNC_WRITE = 1 << 7
    DELAY = 1 << 8
    WRITE_EIO = 1 << 9
    UNWRITTEN = 1 << 10


DISCARDED = State.DIRTY | State.MAPPED | State.REQ | State.NEW | State.DELAY | State.UNWRITTEN


@dataclasses.dataclass(eq=False)
class Buffer:
    """One block of a page."""

    block: int
    state: State
    count: int = 0

    @property
    def is_busy(self) -> bool:
        """Referenced, dirty or locked."""
        return self.count > 0 or bool(self.state & (State.DIRTY | State.LOCK))


def attach(frame: Frame, index: int, buffer_bytes: int, state: State) -> None:
    """Cover a page of a file with buffers; they hold one reference together."""
    assert not frame.has(Flag.PRIVATE)
    many = 4096 // buffer_bytes
    frame.buffers = [Buffer(index * many + at, state) for at in range(many)]
    frame.flags |= Flag.PRIVATE
    frame.count += 1


def detach(memory: Memory, frame: Frame) -> None:
    """Take all buffers off a page."""
    frame.buffers = []
    frame.flags &= ~Flag.PRIVATE
    lru.put(memory, frame)


def discard(frame: Frame) -> None:
    """What invalidating a page does to its buffers."""
    for buffer in frame.buffers:
        buffer.state &= ~DISCARDED
