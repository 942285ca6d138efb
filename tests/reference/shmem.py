"""Shared memory and tmpfs: files whose pages go to swap, and come back.

Start with :func:`get_page`; :func:`write` is the write method.

Source: data model 5.1, 8; supporting paths 2.3 (its fault), 7, 13.
Left out: limits on the size of the filesystem.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from . import groups, lru, page_cache, swap, transfers
from .cache import AddressSpace
from .memory import Flag, Frame

if TYPE_CHECKING:
    from .tasks import State, Task


class Lack(enum.Enum):
    """Why there is no page."""

    NO_MEMORY = "no memory"
    BEYOND_END = "beyond the end of the file"
    UNREADABLE = "could not be read"


def get_page(state: State, task: Task, space: AddressSpace, index: int) -> tuple[Frame | Lack, bool]:
    """The page of an index, locked and referenced; and whether it had to be read."""
    if index >= space.end_index:
        return Lack.BEYOND_END, False
    frame = space.pages.get(index)
    if frame is not None:
        frame.count += 1
        frame.flags |= Flag.LOCKED
        return frame, False
    rule = space.policies.get(index, task.policy)
    slot = space.swapped.get(index)
    if slot is not None:
        return _from_swap(state, task, space, index, slot)
    frame = state.allocate(task, rule, index)
    if frame is None:
        return Lack.NO_MEMORY, False
    frame.flags |= Flag.LOCKED
    if not page_cache.add(state, task, space, index, frame):
        return Lack.NO_MEMORY, False
    frame.flags |= Flag.UPTODATE
    return frame, False


def _from_swap(
    state: State, task: Task, space: AddressSpace, index: int, slot: int
) -> tuple[Frame | Lack, bool]:
    """Bring a page back from the swap cache, or from the device first."""
    cached = state.swap.space.pages.get(slot)
    is_major = cached is None
    if cached is None:
        cached = swap.read_in(state, task, slot, space.policies.get(index, task.policy), index)
        if cached is None:
            return Lack.NO_MEMORY, is_major
    else:
        cached.count += 1
    cached.flags |= Flag.LOCKED
    transfers.wait_for_writeback(state, cached)
    group = state.group_of(task)
    if not groups.charge(group):
        cached.flags &= ~Flag.LOCKED
        lru.put(state.memory, cached)
        return Lack.NO_MEMORY, is_major
    groups.commit(group, cached, groups.Kind.SHMEM)
    # Into the file first: then leaving the swap cache gives no charge back (supporting paths 13).
    cached.count += 1
    cached.owner, cached.index = space, index
    space.pages[index] = cached
    state.memory.add(cached, "nr_file_pages", 1)
    state.memory.add(cached, "nr_shmem", 1)
    swap.delete_from_cache(state, cached)
    del space.swapped[index]
    state.swap.free(slot)
    cached.flags |= Flag.DIRTY
    return cached, is_major


def write(state: State, space: AddressSpace, frame: Frame, *, fails: bool) -> int:
    """Move a page from its file to the swap cache and write it; ACTIVATE without a slot."""
    slot = None if frame.mapcount else state.swap.take()
    if slot is None:
        frame.flags |= Flag.DIRTY
        return 0x80000
    assert frame.index is not None
    space.swapped[frame.index] = slot
    state.swap.of_shmem.add(slot)
    page_cache.remove(state.memory, frame)
    swap.enter_cache(state, frame, slot)
    lru.put(state.memory, frame)
    swap.write(state, frame, fails=fails)
    return 0


def release_swap(state: State, space: AddressSpace, first: int) -> None:
    """Give back the slots of all indices from one on."""
    for index in sorted(index for index in space.swapped if index >= first):
        swap.free_slot_and_cache(state, space.swapped.pop(index))
