"""mmap, mprotect, munmap, fork and exit.

Start anywhere: each is one function.

Source: supporting paths 3 (fork) and 6 (unmapping, mprotect), data model 4.2
(who drains what) and 7.1 (links at fork).
Left out: mremap, files. Page tables take no frames, so fork cannot fail.

A batch of unmapped pages drains the CPU again at every flush. Unmapping puts
nothing into a pagevec, so only the first drain can be seen, and only it is here.
"""

from __future__ import annotations

import dataclasses

from . import lru, rmap
from .entries import (
    ACCESSED,
    PAGE_SIZE,
    SPECIAL,
    VM_ACCESS,
    VM_DONTCOPY,
    VM_LOCKED,
    WRITABLE,
    classify,
    pfn_of,
    reprotect,
)
from .mlock import munlock_vma
from .tasks import State, Task
from .vmas import Mm, Vma, change_flags, cut_out, pieces


def mmap(mm: Mm, start: int, length: int, flags: int) -> None:
    """Map an anonymous private area at a place that is free; never merges."""
    assert not pieces(mm, start, start + length)
    mm.insert(Vma(mm, start, start + length, flags, start // PAGE_SIZE))


def mprotect(task: Task, start: int, end: int, access: int) -> None:
    """Change what a range permits; leaves lose their write bit."""
    mm = task.memory_map
    changed = change_flags(mm, start, end, lambda flags: (flags & ~VM_ACCESS) | access)
    for piece_start, piece_end in changed:
        vma = mm.containing(piece_start)
        assert vma is not None
        for page in range(piece_start, piece_end, PAGE_SIZE):
            entry = mm.entry(page)
            if entry:
                assert classify(entry) == "present"
                mm.store(page, reprotect(entry, vma.protection))


def munmap(state: State, task: Task, start: int, end: int) -> None:
    """Unmap a range; a range without VMAs is left alone."""
    mm = task.memory_map
    if not pieces(mm, start, end):
        return
    doomed = []
    for piece_start, piece_end in pieces(mm, start, end):
        vma = mm.containing(piece_start)
        assert vma is not None
        doomed.append(cut_out(vma, piece_start, piece_end))
    _tear_down(state, task, doomed)


def exit_mm(state: State, task: Task) -> None:
    """Unmap everything a task has."""
    _tear_down(state, task, list(task.memory_map.vmas))
    assert not task.memory_map.entries


def _tear_down(state: State, task: Task, doomed: list[Vma]) -> None:
    for vma in doomed:
        munlock_vma(state, task, vma)
    lru.drain(state.memory, state.cpu_of(task))
    for vma in doomed:
        _zap(state, task, vma)
    for vma in doomed:
        rmap.unlink(vma)
        vma.mm.vmas.remove(vma)


def _zap(state: State, task: Task, vma: Vma) -> None:
    mm = task.memory_map
    for page in range(vma.start, vma.end, PAGE_SIZE):
        entry = mm.entry(page)
        if not entry:
            continue
        assert classify(entry) == "present"
        mm.store(page, 0)
        if entry & SPECIAL:
            continue
        frame = state.memory.frames[pfn_of(entry)]
        mm.anon_pages -= 1
        rmap.remove(state.memory, frame)
        lru.put(state.memory, frame)


def fork(state: State, parent: Task) -> Task:
    """Copy a task: shared frames, no write bit on either side."""
    child = dataclasses.replace(parent, pid=state.next_pid, mm=Mm())
    state.next_pid += 1
    state.tasks[child.pid] = child
    for vma in parent.memory_map.vmas:
        if vma.flags & VM_DONTCOPY:
            continue
        flags = vma.flags & ~VM_LOCKED
        copy = Vma(child.memory_map, vma.start, vma.end, flags, vma.pgoff, vma.policy)
        rmap.fork(copy, vma)
        child.memory_map.insert(copy)
        if vma.anon_vma is not None:
            _copy_leaves(state, parent.memory_map, child.memory_map, vma)
    return child


def _copy_leaves(state: State, parent: Mm, child: Mm, vma: Vma) -> None:
    for page in range(vma.start, vma.end, PAGE_SIZE):
        entry = parent.entry(page)
        if not entry:
            continue
        assert classify(entry) == "present"
        parent.store(page, entry & ~WRITABLE)
        child.store(page, entry & ~WRITABLE & ~ACCESSED)
        if entry & SPECIAL:
            continue
        frame = state.memory.frames[pfn_of(entry)]
        frame.count += 1
        frame.mapcount += 1
        child.anon_pages += 1
