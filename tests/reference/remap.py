"""mremap and madvise.

Start with :func:`mremap` and :func:`madvise`.

Source: supporting paths 6 (moving leaves, zapping), data model 7.1 and 7.2 (links
of the new area). How a range grows in place, and what advice does to areas, is
what the manual pages say.
"""

from __future__ import annotations

import errno

from . import cache, mapping, rmap
from .entries import (
    PAGE_SIZE,
    VM_DONTCOPY,
    VM_DONTEXPAND,
    VM_HUGETLB,
    VM_IO,
    VM_LOCKED,
    VM_MAYSHARE,
    VM_MERGEABLE,
    VM_PFNMAP,
    VM_RESERVED,
    VM_SHARED,
)
from .mlock import populate
from .tasks import State, Task
from .unmap import zap
from .vmas import Mm, Vma, change_flags, pieces, reshape

DONTNEED, DONTFORK, DOFORK, MERGEABLE, UNMERGEABLE = 4, 10, 11, 12, 13
NEVER_MERGED = VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_RESERVED | VM_HUGETLB


def mremap(
    state: State, task: Task, start: int, length: int, new_length: int, to: int | None, room: int
) -> int:
    """Shrink, grow or move one area's range; the new address or -errno.

    ``room`` is where it goes if it must move and nobody says where.
    """
    mm = task.memory_map
    vma = mm.containing(start)
    if vma is None or vma.end < start + length:
        return -errno.EFAULT
    if to is not None:
        if to < start + length and start < to + new_length:
            return -errno.EINVAL
        mapping.munmap(state, task, to, to + new_length)
    if new_length < length:
        mapping.munmap(state, task, start + new_length, start + length)
        length = new_length
    if to is None and new_length == length:
        return start
    vma = mm.containing(start)
    assert vma is not None
    if to is None and _may_grow(mm, vma, start, length, new_length):
        vma.end = start + new_length
        if vma.flags & VM_LOCKED:
            populate(state, task, start + length, start + new_length)
        return start
    if not state.ksm.unmerge(state, task, vma, start, start + length):
        return -errno.ENOMEM
    to = room if to is None else to
    _move(state, task, vma, start, length, to, new_length)
    return to


def _may_grow(mm: Mm, vma: Vma, start: int, length: int, new_length: int) -> bool:
    if start + length != vma.end:
        return False
    return not pieces(mm, vma.end, start + new_length)


def _move(state: State, task: Task, vma: Vma, start: int, length: int, to: int, new_length: int) -> None:
    """``move_vma``: a new area, the leaves as they are, and the old range unmapped."""
    mm = task.memory_map
    pgoff = vma.linear_index(start)
    if vma.file is None and vma.anon_vma is None:
        pgoff = to // PAGE_SIZE
    new = Vma(mm, to, to + new_length, vma.flags, pgoff, vma.policy, vma.file)
    rmap.clone_links(new, vma)
    new.anon_vma = vma.anon_vma
    cache.map_file(new)
    mm.insert(new)
    new = reshape(new, new.start, new.end, new.flags, new.policy)
    for page in range(start, start + length, PAGE_SIZE):
        entry = mm.entry(page)
        mm.store(page, 0)
        mm.store(page - start + to, entry)
    was_locked = vma.flags & VM_LOCKED
    mapping.munmap(state, task, start, start + length)
    if was_locked:
        populate(state, task, to + length, to + new_length)


def madvise(state: State, task: Task, start: int, length: int, advice: int) -> int:
    """Apply advice to a range: 0 or -errno; what lies before an error has been done."""
    mm = task.memory_map
    covered = pieces(mm, start, start + length)
    for piece_start, piece_end in covered:
        vma = mm.containing(piece_start)
        assert vma is not None
        error = _advise(state, task, vma, piece_start, piece_end, advice)
        if error:
            return error
    if sum(end - begin for begin, end in covered) != length:
        return -errno.ENOMEM
    return 0


def _advise(state: State, task: Task, vma: Vma, start: int, end: int, advice: int) -> int:
    mm = task.memory_map
    if advice == DONTNEED:
        if vma.flags & (VM_LOCKED | VM_HUGETLB | VM_PFNMAP):
            return -errno.EINVAL
        zap(state, task, vma, start, end)
    elif advice == DONTFORK:
        change_flags(mm, start, end, lambda flags: flags | VM_DONTCOPY)
    elif advice == DOFORK:
        if vma.flags & VM_IO:
            return -errno.EINVAL
        change_flags(mm, start, end, lambda flags: flags & ~VM_DONTCOPY)
    elif advice == MERGEABLE:
        if not vma.flags & (NEVER_MERGED | VM_MERGEABLE):
            state.ksm.register(mm)
            change_flags(mm, start, end, lambda flags: flags | VM_MERGEABLE)
    else:
        assert advice == UNMERGEABLE
        if vma.flags & VM_MERGEABLE:
            if not state.ksm.unmerge(state, task, vma, start, end):
                return -errno.ENOMEM
            change_flags(mm, start, end, lambda flags: flags & ~VM_MERGEABLE)
    return 0
