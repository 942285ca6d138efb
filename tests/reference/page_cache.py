"""Putting a page into the page cache, and taking it out again.

Start with :func:`add` and :func:`remove`.

Source: supporting paths 7.
Left out: the speculative look-up, which nothing can disturb here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import groups, lru
from .cache import AddressSpace
from .memory import Flag, Frame, Memory

if TYPE_CHECKING:
    from .tasks import State, Task


def insert(memory: Memory, space: AddressSpace, index: int, frame: Frame) -> None:
    """Give a page its slot, the reference and the count of a cached page."""
    assert index not in space.pages
    frame.count += 1
    space.pages[index] = frame
    memory.add(frame, "nr_file_pages", 1)


def add(state: State, task: Task, space: AddressSpace, index: int, frame: Frame) -> bool:
    """``add_to_page_cache_lru`` of a locked page; False, and the page freed, where it cannot be charged."""
    swap_backed = space.filesystem.swap_backed
    group = state.group_of(task)
    if not groups.charge(group):
        frame.flags &= ~Flag.LOCKED
        lru.put(state.memory, frame)
        return False
    groups.commit(group, frame, groups.Kind.SHMEM if swap_backed else groups.Kind.CACHE)
    insert(state.memory, space, index, frame)
    frame.owner, frame.index = space, index
    if swap_backed:
        frame.flags |= Flag.SWAPBACKED
        state.memory.add(frame, "nr_shmem", 1)
    which = lru.ACTIVE_ANON if swap_backed else lru.INACTIVE_FILE
    lru.cache_add(state.memory, state.cpu_of(task), frame, which)
    return True


def remove(memory: Memory, frame: Frame) -> None:
    """``remove_from_page_cache`` but for the charge and the reference, which are the caller's."""
    space = frame.owner
    assert isinstance(space, AddressSpace) and frame.index is not None
    assert frame.mapcount == 0 and frame.has(Flag.LOCKED)
    space.drop_slot(frame.index)
    frame.owner = None
    memory.add(frame, "nr_file_pages", -1)
    if frame.has(Flag.SWAPBACKED):
        memory.add(frame, "nr_shmem", -1)
    if frame.has(Flag.DIRTY) and space.filesystem.accounts_dirty:
        memory.add(frame, "nr_dirty", -1)
