"""Faults in areas that map a file.

Start with :func:`fault` (``__do_fault``).

Source: supporting paths 2.3.
Left out: leaves that change under the fault; ``page_mkwrite`` methods that fail.
"""

from __future__ import annotations

from . import copying, groups, lru, mlock_page, rmap, writeback
from .entries import DIRTY, VM_LOCKED, VM_SHARED, VM_WRITE, WRITABLE, make
from .memory import Flag, Frame
from .outcomes import Fault
from .reading import get_page
from .shmem import Lack
from .tasks import State, Task
from .vmas import Vma


def fault(state: State, task: Task, vma: Vma, page: int, *, write: bool) -> Fault:
    """``__do_fault`` on an entry that is none."""
    assert vma.file is not None
    frame, is_major = get_page(state, task, vma.file, vma.linear_index(page))
    result = Fault.MAJOR if is_major else Fault.DONE
    if isinstance(frame, Lack):
        return Fault.NO_MEMORY if frame is Lack.NO_MEMORY else Fault.BUS
    if write and not vma.flags & VM_SHARED:
        mapped = _copy(state, task, vma, page, frame)
        frame.flags &= ~Flag.LOCKED
        lru.put(state.memory, frame)
        return result if mapped else Fault.NO_MEMORY
    leaf = make(frame.pfn, vma.protection)
    if write:
        leaf |= DIRTY | (WRITABLE if vma.flags & VM_WRITE else 0)
    task.memory_map.file_pages += 1
    rmap.add_file(state.memory, frame)
    task.memory_map.store(page, leaf)
    if write:
        writeback.set_dirty(state, frame)
    frame.flags &= ~Flag.LOCKED
    return result


def _copy(state: State, task: Task, vma: Vma, page: int, old: Frame) -> bool:
    """A private copy at once; False without memory or charge."""
    rmap.prepare(task.memory_map, vma)
    new = copying.new_page(state, task, vma, page)
    if new is None:
        return False
    if not groups.charge(state.group_of(task)):
        lru.put(state.memory, new)
        return False
    if vma.flags & VM_LOCKED:
        mlock_page.clear(state.memory, state.cpu_of(task), old)
    new.content = old.content
    task.memory_map.anon_pages += 1
    copying.map_new(state, task, vma, page, new)
    return True
