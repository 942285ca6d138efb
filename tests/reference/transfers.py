"""Pending writes to devices, and the virtual clock they end by.

Start with :func:`submit` and :func:`advance`. Reads end at once and never come
here. A write ends when somebody waits for it, or when time passes; what that
does happens on CPU 0, whoever waited.

Source: README 3 (disk and swap I/O), supporting paths 10 (what completion does).
Left out: transfers that never end.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from . import buffers, lru
from .buffers import Buffer
from .cache import AddressSpace
from .memory import Flag, Frame

if TYPE_CHECKING:
    from .tasks import State


@dataclasses.dataclass(eq=False)
class Transfer:
    """One page on its way to a device, which gets the bytes that are there when it ends."""

    number: int
    frame: Frame
    space: AddressSpace
    index: int
    due: int
    buffers: list[Buffer]
    fails: bool = False


def start_writeback(
    state: State, space: AddressSpace, index: int, frame: Frame, written: list[Buffer], *, fails: bool
) -> None:
    """``set_page_writeback`` and the submission; the page stays locked."""
    assert not frame.has(Flag.WRITEBACK)
    frame.flags |= Flag.WRITEBACK
    space.writeback.add(index)
    if not frame.has(Flag.DIRTY):
        space.dirty.discard(index)
    state.memory.add(frame, "nr_writeback", 1)
    state.transfer_number += 1
    due = state.now + space.filesystem.io_ticks
    state.transfers.append(Transfer(state.transfer_number, frame, space, index, due, written, fails))


def in_order(state: State) -> list[Transfer]:
    """What is pending, in the order in which it ends."""
    return sorted(state.transfers, key=lambda transfer: (transfer.due, transfer.number))


def end_next(state: State) -> bool:
    """Let the transfer that ends next end at once, without a tick; False where there is none."""
    if not state.transfers:
        return False
    transfer = in_order(state)[0]
    state.transfers.remove(transfer)
    _complete(state, transfer)
    return True


def wait_for_writeback(state: State, frame: Frame) -> None:
    """``wait_on_page_writeback``: everything due earlier ends first."""
    while frame.has(Flag.WRITEBACK):
        assert state.transfers, "nobody can end this writeback"
        state.now = max(state.now, in_order(state)[0].due)
        end_next(state)


def advance(state: State, ticks: int) -> None:
    """Let time pass, and everything end that is due by then."""
    until = state.now + ticks
    while state.transfers and in_order(state)[0].due <= until:
        state.now = max(state.now, in_order(state)[0].due)
        end_next(state)
    state.now = until


def _complete(state: State, transfer: Transfer) -> None:
    frame, space = transfer.frame, transfer.space
    for buffer in transfer.buffers:
        buffer.state &= ~(buffers.State.LOCK | buffers.State.ASYNC_WRITE)
        if transfer.fails:
            buffer.state |= buffers.State.WRITE_EIO
    if transfer.fails:
        frame.flags |= Flag.ERROR
        if space.number == 0:
            frame.flags |= Flag.DIRTY
        space.had_io_error = True
    else:
        space.disk[transfer.index] = _within_file(space, transfer.index, frame.content)
    _end_writeback(state, space, transfer.index, frame)


def _within_file(space: AddressSpace, index: int, content: bytes) -> bytes:
    """A device gets zeroes for what lies beyond the end of a file."""
    keep = space.size - index * 4096
    if space.number == 0 or keep >= len(content):
        return content
    return content[: max(keep, 0)] + bytes(len(content) - max(keep, 0))


def _end_writeback(state: State, space: AddressSpace, index: int, frame: Frame) -> None:
    """``end_page_writeback``."""
    if frame.test_and_clear(Flag.RECLAIM):
        busy = Flag.LOCKED | Flag.DIRTY | Flag.ACTIVE | Flag.UNEVICTABLE
        if not frame.has(busy) and frame.has(Flag.LRU) and lru.is_evictable(frame):
            lru.rotate_later(state.memory, state.cpus[0], frame)
    assert frame.has(Flag.WRITEBACK)
    frame.flags &= ~Flag.WRITEBACK
    space.writeback.discard(index)
    state.memory.add(frame, "nr_writeback", -1)
