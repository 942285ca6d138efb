"""mlock and munlock, and what unmapping does about locked areas.

Start with :func:`mlock` and :func:`munlock`.

Source: supporting paths 5 (the MUNLOCK action), 15.
Left out: limits on locked memory.
"""

from __future__ import annotations

from . import lru, rmap
from .entries import PAGE_SIZE, VM_LOCKED, VM_WRITE, classify, pfn_of
from .faults import follow, get_user_page
from .memory import Flag, Frame
from .tasks import State, Task
from .vmas import Vma, change_flags

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
            is_complete &= _lock_pages(state, task, changed_start, changed_end)
        address = piece_end
    return is_complete


def _lock_pages(state: State, task: Task, start: int, end: int) -> bool:
    mm = task.memory_map
    address = start
    while address < end:
        vma = mm.containing(address)
        assert vma is not None
        batch: list[Frame] = []
        while address < end and len(batch) < BATCH:
            frame = get_user_page(state, task, address, write=bool(vma.flags & VM_WRITE))
            if not isinstance(frame, Frame):
                break
            batch.append(frame)
            address += PAGE_SIZE
        if not batch:
            return False
        lru.drain(state.memory, state.cpu_of(task))
        for frame in batch:
            if frame.owner is not None:
                lock_page(state, task, frame)
            state.put(frame.pfn)
    return True


def lock_page(state: State, task: Task, frame: Frame) -> None:
    """``mlock_vma_page``."""
    if frame.has(Flag.MLOCKED):
        return
    frame.flags |= Flag.MLOCKED
    state.memory.add(frame, "nr_mlock", 1)
    if lru.isolate(state.memory, frame):
        lru.putback(state.memory, state.cpu_of(task), frame)


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


def munlock_vma(state: State, task: Task, vma: Vma) -> None:
    """Unlock all of a VMA that is about to be unmapped."""
    if vma.flags & VM_LOCKED:
        vma.flags &= ~VM_LOCKED
        _unlock_pages(state, task, vma.start, vma.end)


def _unlock_pages(state: State, task: Task, start: int, end: int) -> None:
    lru.drain(state.memory, state.cpu_of(task))
    for address in range(start, end, PAGE_SIZE):
        frame = follow(state, task, address, dump=True)
        if isinstance(frame, Frame) and frame.owner is not None:
            frame.count += 1
            _unlock_page(state, task, frame)
            lru.put(state.memory, frame)


def _unlock_page(state: State, task: Task, frame: Frame) -> None:
    """``munlock_vma_page``: locked again if another locked VMA maps it."""
    if not frame.test_and_clear(Flag.MLOCKED):
        return
    state.memory.add(frame, "nr_mlock", -1)
    if not lru.isolate(state.memory, frame):
        return
    for vma, address in rmap.places(frame) if frame.mapcount else ():
        entry = vma.mm.entry(address)
        maps_it = classify(entry) == "present" and pfn_of(entry) == frame.pfn
        if maps_it and vma.flags & VM_LOCKED:
            lock_page(state, task, frame)
            break
    lru.putback(state.memory, state.cpu_of(task), frame)
