"""mlock and munlock, and what unmapping does about locked areas.

Start with :func:`mlock` and :func:`munlock`.

Single pages are in ``mlock_page``.

Source: supporting paths 5 (the MUNLOCK action), 15.
Left out: limits on locked memory.
"""

from __future__ import annotations

from . import lru, rmap
from .entries import PAGE_SIZE, VM_LOCKED, VM_WRITE
from .faults import get_user_page
from .lookup import follow
from .memory import Flag, Frame
from .mlock_page import lock_page
from .tasks import State, Task
from .unmap import maps
from .vmas import Mm, Vma, change_flags

BATCH = 16


def mlock(state: State, task: Task, start: int, end: int) -> bool:
    """Lock a range: pages are faulted in and moved to the unevictable list.

    Returns whether every page could be had.
    """
    state.drain_all()
    is_complete = True
    mm = task.memory_map
    # One VMA after the other, as change_flags would: flags first, then its pages.
    address = start
    while address < end:
        vma = mm.find_vma(address)
        if vma is None or vma.start >= end:
            break
        piece_start, piece_end = max(address, vma.start), min(end, vma.end)
        for changed_start, changed_end in change_flags(
            mm, piece_start, piece_end, lambda flags: flags | VM_LOCKED
        ):
            is_complete &= populate(state, task, changed_start, changed_end)
        address = piece_end
    return is_complete


def populate(state: State, task: Task, start: int, end: int) -> bool:
    mm = task.memory_map
    address = start
    while address < end:
        vma = mm.containing(address)
        assert vma is not None
        batch: list[Frame] = []
        is_complete = True
        while is_complete and address < end and len(batch) < BATCH:
            frame = get_user_page(state, task, address, write=bool(vma.flags & VM_WRITE))
            if isinstance(frame, Frame):
                batch.append(frame)
                address += PAGE_SIZE
            else:
                is_complete = False
        if not batch:
            return False
        lru.drain(state.memory, state.cpu_of(task))
        for frame in batch:
            if frame.owner is not None:
                lock_page(state.memory, state.cpu_of(task), frame)
            state.put(frame.pfn)
        if not is_complete:
            return False
    return True


def munlock(state: State, task: Task, start: int, end: int) -> None:
    """Unlock a range, VMA by VMA."""
    mm = task.memory_map
    address = start
    while address < end:
        vma = mm.find_vma(address)
        if vma is None or vma.start >= end:
            return
        piece_start, piece_end = max(address, vma.start), min(end, vma.end)
        for changed in change_flags(mm, piece_start, piece_end, lambda flags: flags & ~VM_LOCKED):
            _unlock_pages(state, task, *changed)
        address = piece_end


def munlock_vma(state: State, task: Task, vma: Vma, *, exiting: bool = False) -> None:
    """Unlock all of a VMA that is about to be unmapped."""
    if vma.flags & VM_LOCKED:
        vma.flags &= ~VM_LOCKED
        _unlock_pages(state, task, vma.start, vma.end, exiting=exiting)


def _unlock_pages(state: State, task: Task, start: int, end: int, *, exiting: bool = False) -> None:
    lru.drain(state.memory, state.cpu_of(task))
    for address in range(start, end, PAGE_SIZE):
        frame = follow(state, task.memory_map, address, dump=True)
        if isinstance(frame, Frame) and frame.owner is not None:
            frame.count += 1
            _unlock_page(state, task, frame, None if exiting else task.memory_map)
            lru.put(state.memory, frame)


def _unlock_page(state: State, task: Task, frame: Frame, held: Mm | None) -> None:
    """``munlock_vma_page``: locked again if another locked VMA maps it.

    The areas of ``held`` cannot be asked: its ``mmap_sem`` is held for writing.
    """
    if not frame.test_and_clear(Flag.MLOCKED):
        return
    state.memory.add(frame, "nr_mlock", -1)
    if not lru.isolate(state.memory, frame):
        return
    cpu = state.cpu_of(task)
    for vma, address in rmap.places(frame) if frame.mapcount else ():
        if maps(vma, address, frame) and vma.flags & VM_LOCKED and vma.mm is not held:
            lock_page(state.memory, cpu, frame)
            break
    lru.putback(state.memory, cpu, frame)
