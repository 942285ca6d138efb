"""Replacing the entries of a page, and putting real ones back.

Start with :func:`try_to_unmap`, :func:`restore` and :func:`zap`.

Source: supporting paths 5 and 6, RP of migration.md.
Left out: non-linear mappings, poisoned pages. A batch of zapped pages drains the
CPU again at every flush; zapping puts nothing into a pagevec, so only the first
drain can be seen, and only it is here.
"""

from __future__ import annotations

import enum

from . import lru, rmap, swap, writeback
from .cache import AddressSpace
from .entries import (
    ACCESSED,
    DIRTY,
    PAGE_SIZE,
    SPECIAL,
    VM_LOCKED,
    VM_SEQ_READ,
    WRITABLE,
    classify,
    is_write_migration,
    make,
    make_migration,
    make_swap,
    migration_pfn,
    pfn_of,
    swap_slot,
)
from .memory import Flag, Frame
from .mlock_page import lock_page
from .tasks import State, Task
from .vmas import Vma


class Unmapped(enum.IntEnum):
    """The results of ``try_to_unmap``, and of one visit."""

    SUCCESS = 0
    AGAIN = 1
    FAIL = 2
    MLOCK = 3


def try_to_unmap(state: State, cpu: lru.Cpu, frame: Frame, *, migration: bool) -> Unmapped:
    """Replace every entry of a locked page; migration ignores mlock and recent use."""
    assert frame.has(Flag.LOCKED)
    if frame.owner is rmap.NULL_NODE:
        return Unmapped.FAIL
    result = Unmapped.AGAIN
    if frame.mapcount or isinstance(frame.owner, AddressSpace):
        for vma, address in rmap.places(frame):
            if maps(vma, address, frame):
                result = _visit(state, cpu, frame, vma, address, migration=migration)
            if result is not Unmapped.AGAIN or not frame.mapcount:
                break
    if not frame.mapcount and result is not Unmapped.MLOCK:
        return Unmapped.SUCCESS
    return result


def maps(vma: Vma, address: int, frame: Frame) -> bool:
    """``page_check_address``: whether the leaf is present and names the frame."""
    entry = vma.mm.entry(address)
    return classify(entry) == "present" and not entry & SPECIAL and pfn_of(entry) == frame.pfn


def _visit(state: State, cpu: lru.Cpu, frame: Frame, vma: Vma, address: int, *, migration: bool) -> Unmapped:
    """``try_to_unmap_one``."""
    mm = vma.mm
    entry = mm.entry(address)
    if not migration:
        if vma.flags & VM_LOCKED:
            lock_page(state.memory, cpu, frame)
            return Unmapped.MLOCK
        if entry & ACCESSED:
            mm.store(address, entry & ~ACCESSED)
            return Unmapped.FAIL
    if entry & DIRTY:
        writeback.set_dirty(state, frame)
    if frame.is_anon and frame.has(Flag.SWAPCACHE):
        state.swap.duplicate(frame.private)
        mm.anon_pages -= 1
        mm.swap_entries += 1
        mm.store(address, make_swap(frame.private))
    elif migration:
        mm.store(address, make_migration(frame.pfn, write=bool(entry & WRITABLE)))
    else:
        assert not frame.is_anon
        mm.store(address, 0)
        mm.file_pages -= 1
    rmap.remove(state.memory, frame)
    lru.put(state.memory, frame)
    return Unmapped.AGAIN


def restore(state: State, old: Frame, new: Frame, *, read_only: bool = False) -> None:
    """``remove_migration_ptes``: entries that name ``old`` become leaves of ``new``."""
    for vma, address in rmap.places(new):
        entry = vma.mm.entry(address)
        if classify(entry) != "migration" or migration_pfn(entry) != old.pfn:
            continue
        new.count += 1  # RP-5
        leaf = make(new.pfn, vma.protection & ~ACCESSED)
        if is_write_migration(entry):
            leaf |= WRITABLE
        if read_only:
            leaf &= ~WRITABLE
        vma.mm.store(address, leaf)  # RP-6, RP-7
        if new.is_anon:  # RP-8
            rmap.add(state.memory, new, vma, address)
        else:
            rmap.add_file(state.memory, new)


def zap(
    state: State, task: Task, vma: Vma, start: int, end: int, *, only: AddressSpace | None = None
) -> None:
    """Clear the leaves of a range; with ``only``, none but those of pages of that file."""
    lru.drain(state.memory, state.cpu_of(task))
    mm = vma.mm
    for page in range(max(start, vma.start), min(end, vma.end), PAGE_SIZE):
        entry = mm.entry(page)
        kind = classify(entry)
        if kind == "present":
            _zap_present(state, vma, page, only)
        elif kind == "swap" and only is None:
            mm.store(page, 0)
            mm.swap_entries -= 1
            swap.free_slot_and_cache(state, swap_slot(entry))


def _zap_present(state: State, vma: Vma, page: int, only: AddressSpace | None) -> None:
    mm = vma.mm
    entry = mm.entry(page)
    frame = None if entry & SPECIAL else state.memory.frames[pfn_of(entry)]
    if only is not None and frame is not None and frame.owner is not only:
        return
    mm.store(page, 0)
    if frame is None:
        return
    if frame.is_anon:
        mm.anon_pages -= 1
    else:
        if entry & DIRTY:
            writeback.set_dirty(state, frame)
        if entry & ACCESSED and not vma.flags & VM_SEQ_READ:
            lru.mark_accessed(state.memory, frame)
        mm.file_pages -= 1
    rmap.remove(state.memory, frame)
    if frame.has(Flag.SWAPCACHE) and not frame.mapcount:
        swap.try_to_free(state, frame)
    lru.put(state.memory, frame)


def unmap_file_range(
    state: State, task: Task, space: AddressSpace, first: int, count: int | None, *, even_cows: bool
) -> None:
    """``unmap_mapping_range``: pages ``first`` to the end, or ``count`` of them."""
    for vma in list(space.i_mmap):
        length = (vma.end - vma.start) // PAGE_SIZE
        low = max(first, vma.pgoff)
        high = vma.pgoff + length if count is None else min(first + count, vma.pgoff + length)
        if low < high:
            start = vma.start + (low - vma.pgoff) * PAGE_SIZE
            end = vma.start + (high - vma.pgoff) * PAGE_SIZE
            zap(state, task, vma, start, end, only=None if even_cows else space)
