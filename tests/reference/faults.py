"""What happens when a task touches memory, and how a page is looked up.

Start with :func:`access`, the hardware and the fault handler together, and
:func:`get_user_page`, the kernel's own way to a page.

Source: supporting paths 1 (``follow_page``), 2.2 (anonymous fault), 2.4 (write
to a read-only leaf), 17 (``get_user_pages``); data model 6.3.
Left out: files, swap, migration entries (nothing is ever half done here).
"""

from __future__ import annotations

import enum

from . import lru, policy, rmap
from .entries import (
    ACCESSED,
    DIRTY,
    PRESENT,
    SPECIAL,
    VM_ACCESS,
    VM_DONTEXPAND,
    VM_IO,
    VM_LOCKED,
    VM_PFNMAP,
    VM_READ,
    VM_RESERVED,
    VM_WRITE,
    WRITABLE,
    classify,
    make,
    pfn_of,
)
from .memory import Flag, Frame
from .tasks import State, Task
from .vmas import Vma

NEVER_LOCKED = VM_IO | VM_DONTEXPAND | VM_RESERVED | VM_PFNMAP
"""Areas whose pages stay evictable although VM_LOCKED is set (``page_evictable``)."""

ZERO_PAGE_PFN_BITS = (1 << 40) - 1
"""What stands in the frame bits of a zero-page leaf: the number of no other frame."""


class Outcome(enum.Enum):
    """How one access ended."""

    HIT = "hit"
    MINOR = "minor"
    COW = "cow"
    SEGV = "sigsegv"
    NO_MEMORY = "out of memory"


class Lookup(enum.Enum):
    """What ``follow_page`` answers when it has no page."""

    NO_PAGE = "no page"
    BAD = "-EFAULT"


def access(state: State, task: Task, address: int, *, write: bool) -> Outcome:
    """One load or store, faulting and trying again until it is through."""
    mm = task.memory_map
    page = address & ~4095
    outcome = Outcome.HIT
    while True:
        entry = mm.entry(page)
        if entry & PRESENT and (not write or entry & WRITABLE):
            mm.store(page, entry | ACCESSED | (DIRTY if write else 0))
            return outcome
        vma = mm.containing(address)
        if vma is None or not vma.flags & (VM_WRITE if write else VM_ACCESS):
            return Outcome.SEGV
        outcome = handle_fault(state, task, vma, page, write=write)
        if outcome is Outcome.NO_MEMORY:
            return outcome


def handle_fault(state: State, task: Task, vma: Vma, page: int, *, write: bool) -> Outcome:
    """``handle_mm_fault`` on an entry that is none or present."""
    mm = task.memory_map
    entry = mm.entry(page)
    if classify(entry) == "none":
        if not write:
            mm.store(page, make(ZERO_PAGE_PFN_BITS, vma.protection | SPECIAL))
            return Outcome.MINOR
        return _anonymous_write(state, task, vma, page)
    assert classify(entry) == "present"
    if write and not entry & WRITABLE:
        return _write_protected(state, task, vma, page)
    raise AssertionError("a permitted access does not fault here")


def _new_frame(state: State, task: Task, vma: Vma, page: int) -> Frame | None:
    effective = vma.policy if vma.policy is not None else task.policy
    frame = policy.allocate(
        state.memory,
        state.zonelists,
        effective,
        cpu_node=state.cpu_of(task).node,
        mems_allowed=task.mems_allowed,
        interleave_index=vma.linear_index(page),
    )
    if frame is not None:
        frame.flags |= Flag.UPTODATE
    return frame


def _add_to_lru(state: State, task: Task, vma: Vma, frame: Frame) -> None:
    if vma.flags & VM_LOCKED and not vma.flags & NEVER_LOCKED:
        if not frame.has(Flag.MLOCKED):
            frame.flags |= Flag.MLOCKED
            state.memory.add(frame, "nr_mlock", 1)
        lru.link(state.memory, frame, lru.UNEVICTABLE)
        return
    lru.cache_add(state.memory, state.cpu_of(task), frame, lru.ACTIVE_ANON)


def _writable_leaf(vma: Vma, frame: Frame) -> int:
    write = WRITABLE if vma.flags & VM_WRITE else 0
    return make(frame.pfn, vma.protection | DIRTY | write)


def _anonymous_write(state: State, task: Task, vma: Vma, page: int) -> Outcome:
    mm = task.memory_map
    rmap.prepare(mm, vma)
    frame = _new_frame(state, task, vma, page)
    if frame is None:
        return Outcome.NO_MEMORY
    mm.anon_pages += 1
    rmap.add_new(state.memory, frame, vma, page)
    _add_to_lru(state, task, vma, frame)
    mm.store(page, _writable_leaf(vma, frame))
    return Outcome.MINOR


def _write_protected(state: State, task: Task, vma: Vma, page: int) -> Outcome:
    """``do_wp_page``: take the page over if it is ours alone, else copy."""
    mm, memory = task.memory_map, state.memory
    entry = mm.entry(page)
    old = None if entry & SPECIAL else memory.frames[pfn_of(entry)]
    if old is not None and old.mapcount <= 1:
        old.owner = vma.anon_vma
        write = WRITABLE if vma.flags & VM_WRITE else 0
        mm.store(page, entry | ACCESSED | DIRTY | write)
        return Outcome.COW
    if old is not None:
        old.count += 1
    rmap.prepare(mm, vma)
    new = _new_frame(state, task, vma, page)
    if new is None:
        if old is not None:
            lru.put(memory, old)
        return Outcome.NO_MEMORY
    if old is not None:
        new.content = old.content
        if vma.flags & VM_LOCKED:
            clear_mlock(state, task, old)
    else:
        mm.anon_pages += 1
    rmap.add_new(memory, new, vma, page)
    _add_to_lru(state, task, vma, new)
    mm.store(page, _writable_leaf(vma, new))
    if old is not None:
        rmap.remove(memory, old)
        lru.put(memory, old)
        lru.put(memory, old)
    return Outcome.COW


def clear_mlock(state: State, task: Task, frame: Frame) -> None:
    """Clear PG_mlocked and try to move the page off the unevictable list."""
    if not frame.test_and_clear(Flag.MLOCKED):
        return
    assert frame.owner is not None
    state.memory.add(frame, "nr_mlock", -1)
    if lru.isolate(state.memory, frame):
        lru.putback(state.memory, state.cpu_of(task), frame)


def follow(
    state: State, task: Task, address: int, *, write: bool = False, touch: bool = False, dump: bool = False
) -> Frame | Lookup:
    """``follow_page``: the page at an address, or why there is none.

    No reference is taken: nothing else runs, so a caller that wants one raises
    the count itself.
    """
    page = address & ~4095
    entry = task.memory_map.entry(page)
    if classify(entry) == "none":
        return Lookup.BAD if dump else Lookup.NO_PAGE
    if classify(entry) != "present" or (write and not entry & WRITABLE):
        return Lookup.NO_PAGE
    if entry & SPECIAL:
        if dump:
            return Lookup.BAD
        frame = state.memory.zero_page
    else:
        frame = state.memory.frames[pfn_of(entry)]
    if touch:
        if write and not entry & DIRTY:
            frame.flags |= Flag.DIRTY
        lru.mark_accessed(state.memory, frame)
    return frame


def get_user_page(state: State, task: Task, address: int, *, write: bool) -> Frame | Outcome:
    """``get_user_pages`` for one page: a referenced frame, SEGV or NO_MEMORY."""
    vma = task.memory_map.containing(address)
    if vma is None or vma.flags & (VM_IO | VM_PFNMAP) or not vma.flags & (VM_WRITE if write else VM_READ):
        return Outcome.SEGV
    while True:
        frame = follow(state, task, address, write=write, touch=True)
        if isinstance(frame, Frame):
            frame.count += 1
            return frame
        if handle_fault(state, task, vma, address & ~4095, write=write) is Outcome.NO_MEMORY:
            return Outcome.NO_MEMORY
