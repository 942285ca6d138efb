"""Pages of files for whoever wants one: from the cache, from disk, or new.

Start with :func:`get_page`; :func:`read_file` and :func:`write_file` are the
system calls, :func:`look_up` the speculative look-up.

Source: supporting paths 2.3 (``filemap_fault`` and shmem's method), 7, 9.
Of ``read(2)`` and ``write(2)`` the specification says little: every page that is
passed is marked accessed, and a write dirties each page like a store would.
"""

from __future__ import annotations

import errno

from . import buffers, lru, page_cache, removal, shmem, writeback
from .cache import AddressSpace
from .memory import Flag, Frame
from .shmem import Lack
from .tasks import State, Task

PAGE = 4096


def get_page(
    state: State, task: Task, space: AddressSpace, index: int, *, patient: bool = True
) -> tuple[Frame | Lack, bool]:
    """A page, locked and referenced; and whether that took a read.

    A fault is ``patient``: a read of its own that failed is tried once more.
    """
    if space.is_shmem:
        return shmem.get_page(state, task, space, index)
    if index >= space.end_index:
        return Lack.BEYOND_END, False
    frame = space.pages.get(index)
    is_major = frame is None
    if frame is None:
        frame = _page_in(state, task, space, index)
        if frame is None:
            return Lack.NO_MEMORY, True
    frame.count += 1
    frame.flags |= Flag.LOCKED
    if not frame.has(Flag.UPTODATE) and (patient or not is_major):
        frame.flags &= ~Flag.ERROR
        _read(state, space, index, frame)
    if not frame.has(Flag.UPTODATE):
        _drop(state, frame)
        return Lack.UNREADABLE, is_major
    return frame, is_major


def _drop(state: State, frame: Frame) -> None:
    frame.flags &= ~Flag.LOCKED
    lru.put(state.memory, frame)


def _page_in(state: State, task: Task, space: AddressSpace, index: int) -> Frame | None:
    """Allocate under the task's policy, add to the cache, and read."""
    frame = state.allocate(task, task.policy, None)
    if frame is None:
        return None
    frame.flags |= Flag.LOCKED
    if not page_cache.add(state, task, space, index, frame):
        return None
    _read(state, space, index, frame)
    _drop(state, frame)
    return frame


def _read(state: State, space: AddressSpace, index: int, frame: Frame) -> None:
    """The read method; it ends at once. Buffers are up to date when their page is."""
    _attach_buffers(space, index, frame, buffers.State.MAPPED)
    space.reads_done += 1
    if space.reads_done <= space.filesystem.failing_reads:
        frame.flags |= Flag.ERROR
        return
    if state.memory.contents:
        frame.content = space.disk.get(index, bytes(PAGE))
    _know_all(frame)


def _know_all(frame: Frame) -> None:
    """The page is up to date, and so are its buffers."""
    for buffer in frame.buffers:
        buffer.state |= buffers.State.UPTODATE
    frame.flags |= Flag.UPTODATE


def _attach_buffers(space: AddressSpace, index: int, frame: Frame, fresh: buffers.State) -> None:
    if space.filesystem.has_buffers and not frame.has(Flag.PRIVATE):
        buffers.attach(frame, index, space.filesystem.buffer_bytes, fresh)


def read_file(state: State, task: Task, space: AddressSpace, offset: int, size: int) -> bytes | int:
    """``read(2)``: bytes up to the end of the file, or -errno if there is not even one."""
    end = min(offset + size, space.size)
    found = b""
    while offset < end:
        frame, _ = get_page(state, task, space, offset // PAGE, patient=False)
        if isinstance(frame, Lack):
            return found or (-errno.ENOMEM if frame is Lack.NO_MEMORY else -errno.EIO)
        frame.flags &= ~Flag.LOCKED
        lru.mark_accessed(state.memory, frame)
        length = min(end - offset, PAGE - offset % PAGE)
        content = frame.content or bytes(PAGE)
        found += content[offset % PAGE : offset % PAGE + length]
        lru.put(state.memory, frame)
        offset += length
    return found


def write_file(
    state: State, task: Task, space: AddressSpace, offset: int, size: int, data: bytes | None
) -> int:
    """``write(2)``: how many bytes were written, or -errno if none."""
    done = 0
    while done < size:
        at = offset + done
        length = min(size - done, PAGE - at % PAGE)
        frame = _page_for_write(state, task, space, at, length)
        if isinstance(frame, Lack):
            return done or (-errno.ENOMEM if frame is Lack.NO_MEMORY else -errno.EIO)
        if data is not None and state.memory.contents:
            piece = data[done : done + length]
            frame.content = frame.content[: at % PAGE] + piece + frame.content[at % PAGE + length :]
        if not frame.has(Flag.UPTODATE):  # a whole page over one that could not be read
            _know_all(frame)
        _attach_buffers(space, at // PAGE, frame, buffers.State.MAPPED | buffers.State.UPTODATE)
        done += length
        space.size = max(space.size, offset + done)
        writeback.set_dirty(state, frame)
        frame.flags &= ~Flag.LOCKED
        lru.mark_accessed(state.memory, frame)
        lru.put(state.memory, frame)
    return done


def _page_for_write(state: State, task: Task, space: AddressSpace, at: int, length: int) -> Frame | Lack:
    """A locked page that may be written into; read first where bytes of it will stay."""
    index = at // PAGE
    cached = space.pages.get(index)
    if cached is not None and length == PAGE:
        cached.count += 1
        cached.flags |= Flag.LOCKED
        return cached
    if cached is not None or index in space.swapped or (index < space.end_index and length < PAGE):
        return get_page(state, task, space, index, patient=False)[0]
    rule = space.policies.get(index, task.policy) if space.is_shmem else task.policy
    frame = state.allocate(task, rule, index if space.is_shmem else None)
    if frame is None:
        return Lack.NO_MEMORY
    frame.flags |= Flag.LOCKED
    if not page_cache.add(state, task, space, index, frame):
        return Lack.NO_MEMORY
    return frame


def look_up(space: AddressSpace, index: int) -> int | None:
    """``find_get_page``: a frame with one more reference, which is a pin from then on."""
    frame = space.pages.get(index)
    if frame is None:
        return None
    frame.count += 1
    return frame.pfn


def write_back(state: State, space: AddressSpace, index: int) -> int:
    """Write a page if it is dirty and not on its way: what the method answers, 1 for nothing to do."""
    frame = space.pages.get(index)
    if frame is None or frame.has(Flag.WRITEBACK) or not frame.has(Flag.DIRTY):
        return 1
    if space.filesystem.write == "never":
        return -errno.EINVAL
    frame.count += 1
    frame.flags |= Flag.LOCKED
    result = 1
    if writeback.clear_dirty_for_io(state, frame):
        result = writeback.write_page(state, frame)
    writeback.remember_error(space, result)
    frame.flags &= ~Flag.LOCKED
    lru.put(state.memory, frame)
    return result


def invalidate(state: State, task: Task, space: AddressSpace, index: int) -> bool:
    """``invalidate_inode_page``; whether the page is gone."""
    frame = space.pages.get(index)
    if frame is None:
        return False
    frame.count += 1
    frame.flags |= Flag.LOCKED
    gone = removal.invalidate(state, state.cpu_of(task), frame)
    frame.flags &= ~Flag.LOCKED
    lru.put(state.memory, frame)
    return gone
