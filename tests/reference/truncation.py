"""Cutting a file off, and letting a file go.

Start with :func:`truncate`.

Source: supporting paths 8.
Left out: pages that somebody else has locked.
"""

from __future__ import annotations

from . import buffers, cache, groups, lru, mlock_page, page_cache, shmem, transfers, writeback
from .cache import AddressSpace
from .memory import Flag, Frame
from .tasks import State, Task
from .unmap import unmap_file_range

PAGE = 4096
BATCH = 14


def truncate(state: State, task: Task, space: AddressSpace, size: int) -> None:
    """``truncate_pagecache`` after the new size is set; a file that grows has nothing to lose."""
    grows = size > space.size
    space.size = size
    if grows:
        return
    first = -(-size // PAGE)
    unmap_file_range(state, task, space, first, None, even_cows=True)
    _truncate_pages(state, task, space, size)
    unmap_file_range(state, task, space, first, None, even_cows=True)
    _truncate_disk(space, size)
    shmem.release_swap(state, space, first)


def _truncate_disk(space: AddressSpace, size: int) -> None:
    """What lies beyond the new end reads as zeroes from then on."""
    for index in [index for index in space.disk if index >= -(-size // PAGE)]:
        del space.disk[index]
    index, keep = divmod(size, PAGE)
    if keep and index in space.disk:
        space.disk[index] = space.disk[index][:keep] + bytes(PAGE - keep)


def let_go(state: State, task: Task, space: AddressSpace) -> None:
    """The end of a file that nobody can name: all its pages go. Its number is not used again."""
    assert not space.i_mmap
    space.size = 0
    _truncate_pages(state, task, space, 0)
    shmem.release_swap(state, space, 0)


def _bring_back(state: State, task: Task, space: AddressSpace, index: int) -> None:
    """A page of shmem that loses its tail cannot stay in swap."""
    frame, _ = shmem.get_page(state, task, space, index)
    if isinstance(frame, Frame):
        frame.flags &= ~Flag.LOCKED
        lru.put(state.memory, frame)


def _truncate_pages(state: State, task: Task, space: AddressSpace, size: int) -> None:
    """``truncate_inode_pages``."""
    first = -(-size // PAGE)
    if not space.pages and not (size % PAGE and size // PAGE in space.swapped):
        return
    following = first
    while batch := _batch(space, following):
        following = cache.index_of(batch[-1]) + 1
        for frame in batch:
            if not frame.has(Flag.WRITEBACK):
                _truncate_locked(state, task, space, frame)
        _release(state, task, batch)
    if size % PAGE:
        _truncate_part(state, task, space, size)
    while batch := _batch(space, first):
        for frame in batch:
            _truncate_locked(state, task, space, frame)
        _release(state, task, batch)


def _batch(space: AddressSpace, first: int) -> list[Frame]:
    """Look up to 14 pages up, each with a reference more."""
    found = [space.pages[index] for index in sorted(space.pages) if index >= first][:BATCH]
    for frame in found:
        frame.count += 1
    return found


def _release(state: State, task: Task, batch: list[Frame]) -> None:
    """Drain the CPU and drop a look-up's references."""
    lru.drain(state.memory, state.cpu_of(task))
    for frame in batch:
        lru.put(state.memory, frame)


def _truncate_part(state: State, task: Task, space: AddressSpace, size: int) -> None:
    """The page that the new end lies in."""
    if size // PAGE in space.swapped:
        _bring_back(state, task, space, size // PAGE)
    frame = space.pages.get(size // PAGE)
    if frame is None:
        return
    frame.flags |= Flag.LOCKED
    transfers.wait_for_writeback(state, frame)
    frame.flags &= ~Flag.LOCKED
    keep = size % PAGE
    if state.memory.contents:
        frame.content = frame.content[:keep] + bytes(PAGE - keep)
    if frame.buffers:
        width = PAGE // len(frame.buffers)
        for at, buffer in enumerate(frame.buffers):
            if at * width >= keep:
                buffer.state &= ~buffers.DISCARDED


def _truncate_locked(state: State, task: Task, space: AddressSpace, frame: Frame) -> None:
    """``truncate_inode_page`` under the page lock."""
    assert not frame.has(Flag.LOCKED)
    frame.flags |= Flag.LOCKED
    transfers.wait_for_writeback(state, frame)
    if frame.mapcount:
        assert frame.index is not None
        unmap_file_range(state, task, space, frame.index, 1, even_cows=False)
    if frame.owner is space:
        if frame.has_private:
            buffers.discard(frame)
            writeback.try_to_release(state, frame)
        writeback.cancel_dirty(state, frame)
        mlock_page.clear(state.memory, state.cpu_of(task), frame)
        kind = groups.Kind.SHMEM if frame.has(Flag.SWAPBACKED) else groups.Kind.CACHE
        page_cache.remove(state.memory, frame)
        groups.uncharge(frame, kind)
        frame.flags &= ~Flag.MAPPEDTODISK
        lru.put(state.memory, frame)
    frame.flags &= ~Flag.LOCKED
