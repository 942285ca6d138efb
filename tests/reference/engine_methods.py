"""How a page gets from one frame to another, by the method of its address space.

Start with :func:`migrate`. Step labels stand beside the steps.

Source: migration.md 6 to 12.
Left out: waiting for buffer locks.
"""

from __future__ import annotations

import errno

from . import lru, writeback
from .cache import AddressSpace, index_of
from .memory import Flag, Frame
from .tasks import State
from .unmap import restore

COPIED = Flag.ERROR | Flag.REFERENCED | Flag.UPTODATE | Flag.CHECKED | Flag.MAPPEDTODISK


def migrate(state: State, new: Frame, old: Frame) -> int:
    """MN-3: the method that fits, or the fallback."""
    space = writeback.mapping_of(state, old)
    if space is None:
        return _migrate_page(state, space, new, old)
    method = space.filesystem.migrate
    if method == "page":
        return _migrate_page(state, space, new, old)
    if method == "buffers":
        return _migrate_buffers(state, space, new, old)
    if method == "fail":
        return -errno.EIO
    if isinstance(method, int):
        return method
    return _fallback(state, space, new, old)


def _move_mapping(state: State, space: AddressSpace | None, new: Frame, old: Frame) -> int:
    """``migrate_page_move_mapping``."""
    if space is None:  # MM-1
        return 0 if old.count == 1 else -errno.EAGAIN
    index = index_of(old)
    expected = 2 + int(old.has_private)  # MM-4
    if old.count != expected or space.pages.get(index) is not old:  # MM-5
        return -errno.EAGAIN
    new.count += 1  # MM-7
    if old.has(Flag.SWAPCACHE):  # MM-8
        new.flags |= Flag.SWAPCACHE
        new.private = old.private
    space.pages[index] = new  # MM-9
    old.count -= 1
    _move_counter(state, "nr_file_pages", new, old)  # MM-10
    drifts = old.has(Flag.SWAPCACHE)
    if old.has(Flag.SWAPBACKED) and not (drifts and state.repaired):
        _move_counter(state, "nr_shmem", new, old)
        if drifts:
            state.drift["nr_shmem", old.node] -= 1
            state.drift["nr_shmem", new.node] += 1
    return 0


def _move_counter(state: State, counter: str, new: Frame, old: Frame) -> None:
    state.memory.add(old, counter, -1)
    state.memory.add(new, counter, 1)


def _copy(state: State, new: Frame, old: Frame) -> None:
    """``migrate_page_copy``."""
    new.content = old.content  # MC-1
    new.flags |= old.flags & COPIED  # MC-2, MC-4
    if old.test_and_clear(Flag.ACTIVE):  # MC-3
        assert not old.has(Flag.UNEVICTABLE)
        new.flags |= Flag.ACTIVE
    elif old.test_and_clear(Flag.UNEVICTABLE):
        new.flags |= Flag.UNEVICTABLE
    if old.has(Flag.DIRTY):  # MC-5
        writeback.clear_dirty_for_io(state, old)
        writeback.set_dirty_nobuffers(state, new)
    if old.test_and_clear(Flag.MLOCKED):  # MC-6
        new.flags |= Flag.MLOCKED
        _move_counter(state, "nr_mlock", new, old)
    if new.is_ksm:  # MC-7
        state.ksm.moved(old, new)
    old.flags &= ~(Flag.SWAPCACHE | Flag.PRIVATE)  # MC-8
    old.private = 0
    old.owner = None  # MC-9


def _migrate_page(state: State, space: AddressSpace | None, new: Frame, old: Frame) -> int:
    """``migrate_page``."""
    assert not old.has(Flag.WRITEBACK)  # MG-1
    result = _move_mapping(state, space, new, old)  # MG-2
    if result == 0:
        _copy(state, new, old)  # MG-3
    return result


def _migrate_buffers(state: State, space: AddressSpace, new: Frame, old: Frame) -> int:
    """``buffer_migrate_page``."""
    if not old.has(Flag.PRIVATE):  # BM-1
        return _migrate_page(state, space, new, old)
    result = _move_mapping(state, space, new, old)  # BM-2
    if result:
        return result
    old.flags &= ~Flag.PRIVATE  # BM-4
    new.buffers, old.buffers = old.buffers, []
    lru.put(state.memory, old)
    new.count += 1
    new.flags |= Flag.PRIVATE  # BM-6
    _copy(state, new, old)  # BM-7
    return 0


def _write_out(state: State, space: AddressSpace, old: Frame) -> int:
    """``writeout``."""
    if space.filesystem.write == "never":  # WO-1
        return -errno.EINVAL
    if not writeback.clear_dirty_for_io(state, old):  # WO-2
        return -errno.EAGAIN
    restore(state, old, old, read_only=state.repaired)  # WO-3
    result = writeback.write_page(state, old)  # WO-4
    old.flags |= Flag.LOCKED  # WO-5
    return -errno.EIO if result < 0 else -errno.EAGAIN  # WO-6


def _fallback(state: State, space: AddressSpace, new: Frame, old: Frame) -> int:
    """``fallback_migrate_page``."""
    if old.has(Flag.DIRTY):  # FB-1
        return _write_out(state, space, old)
    if old.has_private and not writeback.try_to_release(state, old):  # FB-2
        return -errno.EAGAIN
    return _migrate_page(state, space, new, old)  # FB-3
