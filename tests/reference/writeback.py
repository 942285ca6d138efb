"""Dirtying a page, cleaning it for a write, and the write methods.

Start with :func:`set_dirty` and :func:`write_page`; a write that was submitted
is in ``transfers``. :func:`try_to_release` is here because it too is a method.

Source: supporting paths 10.
Left out: the blocks of a page beyond the end of its file, which are written too.
"""

from __future__ import annotations

import errno

from . import buffers, rmap, shmem, swap, transfers
from .buffers import State as BufferState
from .cache import AddressSpace, index_of
from .entries import DIRTY, VM_SHARED, WRITABLE, classify, pfn_of
from .memory import Flag, Frame
from .tasks import State

ACTIVATE = 0x80000
"""AOP_WRITEPAGE_ACTIVATE."""


def mapping_of(state: State, frame: Frame) -> AddressSpace | None:
    """``page_mapping``."""
    if frame.has(Flag.SWAPCACHE):
        return state.swap.space
    return frame.owner if isinstance(frame.owner, AddressSpace) else None


def set_dirty(state: State, frame: Frame) -> None:
    """``set_page_dirty`` by the method of the page's address space."""
    space = mapping_of(state, frame)
    if space is None or space.filesystem.dirtying == "never":
        frame.flags |= Flag.DIRTY
        return
    if space.filesystem.dirtying == "buffers":
        for buffer in frame.buffers:
            buffer.state |= BufferState.DIRTY
    set_dirty_nobuffers(state, frame)


def set_dirty_nobuffers(state: State, frame: Frame) -> None:
    """``__set_page_dirty_nobuffers``: flag, tag and counter."""
    if frame.has(Flag.DIRTY):
        return
    frame.flags |= Flag.DIRTY
    space = mapping_of(state, frame)
    if space is None:
        return
    if space.filesystem.accounts_dirty:
        state.memory.add(frame, "nr_dirty", 1)
    space.dirty.add(index_of(frame))


def clear_dirty_for_io(state: State, frame: Frame) -> bool:
    """``clear_page_dirty_for_io``: whether there was something to write."""
    frame.flags &= ~Flag.RECLAIM
    space = mapping_of(state, frame)
    if space is None or not space.filesystem.accounts_dirty:
        return frame.test_and_clear(Flag.DIRTY)
    if _clean_leaves(frame):
        set_dirty(state, frame)
    if not frame.test_and_clear(Flag.DIRTY):
        return False
    state.memory.add(frame, "nr_dirty", -1)
    return True


def _clean_leaves(frame: Frame) -> bool:
    """Write-protect and clean the leaves of shared areas; whether any changed."""
    changed = False
    for vma, address in rmap.places(frame) if frame.mapcount else ():
        entry = vma.mm.entry(address)
        maps_it = classify(entry) == "present" and pfn_of(entry) == frame.pfn
        if vma.flags & VM_SHARED and maps_it and entry & (DIRTY | WRITABLE):
            vma.mm.store(address, entry & ~(DIRTY | WRITABLE))
            changed = True
    return changed


def cancel_dirty(state: State, frame: Frame) -> None:
    """``cancel_dirty_page``; the tag stays."""
    space = mapping_of(state, frame)
    if frame.test_and_clear(Flag.DIRTY) and space is not None and space.filesystem.accounts_dirty:
        state.memory.add(frame, "nr_dirty", -1)


def try_to_release(state: State, frame: Frame) -> bool:
    """``try_to_release_page``: whether the private data are gone."""
    if frame.has(Flag.WRITEBACK):
        return False
    return try_to_free_buffers(state, frame)


def try_to_free_buffers(state: State, frame: Frame) -> bool:
    """Detach the buffers unless one is busy."""
    if frame.has(Flag.WRITEBACK) or any(buffer.is_busy for buffer in frame.buffers):
        return False
    if not frame.has(Flag.PRIVATE):
        return True
    has_mapping = frame.owner is not None
    buffers.detach(state.memory, frame)
    if has_mapping:
        cancel_dirty(state, frame)
    return True


def write_page(state: State, frame: Frame) -> int:
    """``writepage`` of a locked page marked clean; 0 and -errno leave it unlocked."""
    space = mapping_of(state, frame)
    assert space is not None and frame.has(Flag.LOCKED) and not frame.has(Flag.DIRTY)
    script = space.filesystem.write_script
    answer = script[space.writes_done] if space.writes_done < len(script) else "well"
    space.writes_done += 1
    if answer == "activate":
        set_dirty_nobuffers(state, frame)
        return ACTIVATE
    if isinstance(answer, int):
        frame.flags &= ~Flag.LOCKED
        return -answer
    fails = answer == "io-error"
    if space.number == 0:
        swap.write(state, frame, fails=fails)
        return 0
    if space.is_shmem:
        return shmem.write(state, space, frame, fails=fails)
    if space.filesystem.write == "buffers":
        _write_buffers(state, space, frame, fails=fails)
    else:
        transfers.start_writeback(state, space, index_of(frame), frame, [], fails=fails)
        frame.flags &= ~Flag.LOCKED
    return 0


def remember_error(space: AddressSpace, result: int) -> None:
    """What a write method failed with is kept with the file; only the engine's writeout forgets it."""
    if result < 0:
        space.had_no_space |= result == -errno.ENOSPC
        space.had_io_error |= result != -errno.ENOSPC


def _write_buffers(state: State, space: AddressSpace, frame: Frame, *, fails: bool) -> None:
    """``block_write_full_page``."""
    index = index_of(frame)
    if index >= space.end_index:
        buffers.discard(frame)
        try_to_release(state, frame)
        frame.flags &= ~Flag.LOCKED
        return
    if not frame.buffers:
        fresh = BufferState.DIRTY | BufferState.UPTODATE
        buffers.attach(frame, index, space.filesystem.buffer_bytes, fresh)
    written = []
    for buffer in frame.buffers:
        if buffer.state & BufferState.DIRTY:
            buffer.state |= BufferState.MAPPED
    for buffer in frame.buffers:
        if not buffer.state & BufferState.MAPPED:
            continue
        if buffer.state & BufferState.LOCK:
            set_dirty_nobuffers(state, frame)
        elif buffer.state & BufferState.DIRTY:
            buffer.state &= ~BufferState.DIRTY
            buffer.state |= BufferState.LOCK | BufferState.ASYNC_WRITE
            written.append(buffer)
    if written:
        transfers.start_writeback(state, space, index, frame, written, fails=fails)
    else:
        _writeback_of_nothing(space, index, frame)
    frame.flags &= ~Flag.LOCKED


def _writeback_of_nothing(space: AddressSpace, index: int, frame: Frame) -> None:
    """Writeback that starts and ends in the same step leaves only the DIRTY tag cleared."""
    if not frame.has(Flag.DIRTY):
        space.dirty.discard(index)
