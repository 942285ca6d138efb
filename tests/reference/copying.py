"""New private pages, and stores to pages that are mapped read-only.

Start with :func:`write_protected` (``do_wp_page``).

Source: supporting paths 2.2 (mapping a new page), 2.4.
Left out: leaves that change under the fault.
"""

from __future__ import annotations

from . import groups, lru, mlock_page, rmap, swap, writeback
from .entries import (
    ACCESSED,
    DIRTY,
    SPECIAL,
    VM_DONTEXPAND,
    VM_IO,
    VM_LOCKED,
    VM_PFNMAP,
    VM_RESERVED,
    VM_SHARED,
    VM_WRITE,
    WRITABLE,
    make,
    pfn_of,
)
from .memory import Flag, Frame
from .outcomes import Fault
from .tasks import State, Task
from .vmas import Vma

NEVER_LOCKED = VM_IO | VM_DONTEXPAND | VM_RESERVED | VM_PFNMAP
"""Areas whose pages stay evictable although VM_LOCKED is set (``page_evictable``)."""


def new_page(state: State, task: Task, vma: Vma, page: int) -> Frame | None:
    """Take a zeroed frame for an address, up to date."""
    frame = state.allocate_at(task, vma, page)
    if frame is not None:
        frame.flags |= Flag.UPTODATE
    return frame


def add_to_lru(state: State, task: Task, vma: Vma, frame: Frame) -> None:
    """The active list's pagevec, or the unevictable list in a locked area."""
    if vma.flags & VM_LOCKED and not vma.flags & NEVER_LOCKED:
        if not frame.has(Flag.MLOCKED):
            frame.flags |= Flag.MLOCKED
            state.memory.add(frame, "nr_mlock", 1)
        lru.link(state.memory, frame, lru.UNEVICTABLE)
        return
    lru.cache_add(state.memory, state.cpu_of(task), frame, lru.ACTIVE_ANON)


def map_new(state: State, task: Task, vma: Vma, page: int, frame: Frame) -> None:
    """Map a charged private page that is new; the counter is the caller's."""
    rmap.add_new(state.memory, frame, vma, page)
    groups.commit(state.group_of(task), frame, groups.Kind.MAPPED)
    add_to_lru(state, task, vma, frame)
    write = WRITABLE if vma.flags & VM_WRITE else 0
    task.memory_map.store(page, make(frame.pfn, vma.protection | DIRTY | write))


def write_protected(state: State, task: Task, vma: Vma, page: int) -> Fault:
    """``do_wp_page``: take the page over if that is right, else copy it."""
    mm = task.memory_map
    entry = mm.entry(page)
    old = None if entry & SPECIAL else state.memory.frames[pfn_of(entry)]
    if old is not None and old.is_anon and not old.is_ksm:
        if swap.reuse(state, old):
            old.owner = vma.anon_vma
            _reuse(vma, page)
            return Fault.WRITE
    elif vma.flags & VM_SHARED and vma.flags & VM_WRITE:
        _reuse(vma, page)
        if old is not None:
            writeback.set_dirty(state, old)
        return Fault.WRITE
    return _copy(state, task, vma, page, old)


def _reuse(vma: Vma, page: int) -> None:
    write = WRITABLE if vma.flags & VM_WRITE else 0
    vma.mm.store(page, vma.mm.entry(page) | ACCESSED | DIRTY | write)


def _copy(state: State, task: Task, vma: Vma, page: int, old: Frame | None) -> Fault:
    mm, memory = task.memory_map, state.memory
    if old is not None:
        old.count += 1
    rmap.prepare(mm, vma)
    new = new_page(state, task, vma, page)
    if new is not None and old is not None:
        new.content = old.content
        if vma.flags & VM_LOCKED:
            mlock_page.clear(memory, state.cpu_of(task), old)
    if new is None or not groups.charge(state.group_of(task)):
        if new is not None:
            lru.put(memory, new)
        if old is not None:
            lru.put(memory, old)
        return Fault.NO_MEMORY
    if old is None or not old.is_anon:
        mm.anon_pages += 1
    if old is not None and not old.is_anon:
        mm.file_pages -= 1
    map_new(state, task, vma, page, new)
    if old is not None:
        rmap.remove(memory, old)
        lru.put(memory, old)
        lru.put(memory, old)
    return Fault.WRITE
