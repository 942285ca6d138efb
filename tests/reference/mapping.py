"""mmap, mprotect, munmap, fork and exit.

Start anywhere: each is one function.

Source: supporting paths 3 (fork) and 6 (unmapping, mprotect), data model 4.2
(who drains what), 6.1 and 7 (links at fork, ``i_mmap``).
Left out: page tables take no frames, so fork cannot fail.
"""

from __future__ import annotations

import dataclasses

from . import cache, lru, rmap, truncation
from .cache import AddressSpace
from .entries import (
    ACCESSED,
    DIRTY,
    PAGE_SIZE,
    SPECIAL,
    VM_ACCESS,
    VM_DONTCOPY,
    VM_HUGETLB,
    VM_INSERTPAGE,
    VM_LOCKED,
    VM_MAYWRITE,
    VM_MERGEABLE,
    VM_NONLINEAR,
    VM_PFNMAP,
    VM_SHARED,
    WRITABLE,
    classify,
    pfn_of,
    reprotect,
    swap_slot,
)
from .filesystems import TMPFS
from .mlock import munlock_vma
from .tasks import State, Task
from .unmap import zap
from .vmas import Mm, Vma, change_flags, cut_out, pieces

ALWAYS_COPIED = VM_HUGETLB | VM_NONLINEAR | VM_PFNMAP | VM_INSERTPAGE


def mmap(
    state: State, mm: Mm, start: int, length: int, flags: int, file: AddressSpace | None, offset: int
) -> None:
    """Map an area at a place that is free; never merges.

    Shared memory without a file gets a file of its own, which goes with its last area.
    """
    assert not pieces(mm, start, start + length)
    if file is None and flags & VM_SHARED:
        file = AddressSpace(state.next_file, TMPFS, length, "")
        state.files[state.next_file] = file
        state.next_file += 1
    pgoff = start // PAGE_SIZE if file is None else offset // PAGE_SIZE
    vma = Vma(mm, start, start + length, flags, pgoff, None, file)
    mm.insert(vma)
    cache.map_file(vma)
    if flags & VM_MERGEABLE:
        state.ksm.register(mm)


def mprotect(task: Task, start: int, end: int, access: int) -> None:
    """Change what a range permits; leaves lose their write bit."""
    mm = task.memory_map
    changed = change_flags(mm, start, end, lambda flags: (flags & ~VM_ACCESS) | access)
    for piece_start, piece_end in changed:
        vma = mm.containing(piece_start)
        assert vma is not None
        for page in range(piece_start, piece_end, PAGE_SIZE):
            entry = mm.entry(page)
            if classify(entry) == "present":
                new = reprotect(entry, vma.protection)
                keeps_write = vma.wants_write_notice and entry & DIRTY
                mm.store(page, new | WRITABLE if keeps_write else new)


def munmap(state: State, task: Task, start: int, end: int) -> None:
    """Unmap a range; a range without VMAs is left alone."""
    mm = task.memory_map
    if not pieces(mm, start, end):
        return
    doomed = []
    for piece_start, piece_end in pieces(mm, start, end):
        vma = mm.containing(piece_start)
        assert vma is not None
        doomed.append(cut_out(vma, piece_start, piece_end, inside_is_new=True))
    for vma in doomed:
        munlock_vma(state, task, vma)
    _tear_down(state, task, doomed)


def exit_mm(state: State, task: Task) -> None:
    """Unmap everything a task has."""
    doomed = list(task.memory_map.vmas)
    for vma in doomed:
        munlock_vma(state, task, vma, exiting=True)
    _tear_down(state, task, doomed)
    assert not task.memory_map.entries


def _tear_down(state: State, task: Task, doomed: list[Vma]) -> None:
    lru.drain(state.memory, state.cpu_of(task))
    for vma in doomed:
        zap(state, task, vma, vma.start, vma.end)
    for vma in doomed:
        rmap.unlink(vma)
        vma.mm.vmas.remove(vma)
    for vma in doomed:
        file = vma.file
        if file is not None and not file.name and not file.i_mmap and file.size:
            truncation.let_go(state, task, file)


def fork(state: State, parent: Task) -> Task:
    """Copy a task: shared frames, and no write bit on either side of private areas."""
    child = dataclasses.replace(parent, pid=state.next_pid, mm=state.new_mm())
    state.next_pid += 1
    state.tasks[child.pid] = child
    if parent.memory_map in state.ksm.spaces:
        state.ksm.register(child.memory_map)
    for vma in parent.memory_map.vmas:
        if vma.flags & VM_DONTCOPY:
            continue
        flags = vma.flags & ~VM_LOCKED
        copy = Vma(child.memory_map, vma.start, vma.end, flags, vma.pgoff, vma.policy, vma.file)
        rmap.fork(copy, vma)
        cache.map_child(copy, vma)
        child.memory_map.insert(copy)
        if vma.anon_vma is not None or vma.flags & ALWAYS_COPIED:
            _copy_leaves(state, parent.memory_map, child.memory_map, vma)
    return child


def _copy_leaves(state: State, parent: Mm, child: Mm, vma: Vma) -> None:
    copies_on_write = vma.flags & VM_MAYWRITE and not vma.flags & VM_SHARED
    for page in range(vma.start, vma.end, PAGE_SIZE):
        entry = parent.entry(page)
        if not entry:
            continue
        if classify(entry) == "swap":
            state.swap.duplicate(swap_slot(entry))
            child.swap_entries += 1
            child.store(page, entry)
            continue
        assert classify(entry) == "present"
        if copies_on_write:
            entry &= ~WRITABLE
            parent.store(page, entry)
        if vma.flags & VM_SHARED:
            entry &= ~DIRTY
        child.store(page, entry & ~ACCESSED)
        if entry & SPECIAL:
            continue
        frame = state.memory.frames[pfn_of(entry)]
        frame.count += 1
        frame.mapcount += 1
        if frame.is_anon:
            child.anon_pages += 1
        else:
            child.file_pages += 1
