"""The migration engine: ten passes over a list of isolated pages.

Start with :func:`migrate_pages`. Below it ``_attempt`` is ``unmap_and_move``,
``_move_to_new`` is ``move_to_new_page``; step labels stand beside the steps.

Source: migration.md 2 to 4, 6, 7, 13 to 15; supporting paths 5.
Left out: file pages, swap-cache pages, KSM, memory cgroups, waiting (nobody
else ever holds a lock).
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable

from . import lru, rmap
from .entries import (
    ACCESSED,
    DIRTY,
    WRITABLE,
    classify,
    is_write_migration,
    make,
    make_migration,
    migration_pfn,
    pfn_of,
)
from .memory import Flag, Frame
from .tasks import State


@dataclasses.dataclass
class Target:
    """A new frame, and where the result of the attempt is written (may be nowhere)."""

    frame: Frame
    report: Callable[[int], None]


NewPage = Callable[[Frame], Target | None]
COPIED = Flag.ERROR | Flag.REFERENCED | Flag.UPTODATE | Flag.CHECKED | Flag.MAPPEDTODISK


def migrate_pages(state: State, cpu: lru.Cpu, pages: list[Frame], new_page: NewPage) -> int:
    """Move isolated pages; return how many stayed, or -ENOMEM (MP-1 to MP-6)."""
    failed = 0
    retry = 1
    for _pass in range(10):
        if not retry:
            break
        retry = 0
        for frame in list(pages):
            result = _attempt(state, cpu, pages, frame, new_page)
            if result == -errno.ENOMEM:
                putback_all(state, cpu, pages)
                return result
            if result == -errno.EAGAIN:
                retry += 1
            elif result:
                failed += 1
    putback_all(state, cpu, pages)
    return failed + retry


def putback_all(state: State, cpu: lru.Cpu, pages: list[Frame]) -> None:
    """``putback_lru_pages`` (PB-1 to PB-4)."""
    for frame in pages:
        state.memory.add(frame, isolated_counter(frame), -1)
        lru.putback(state.memory, cpu, frame)
    pages.clear()


def isolated_counter(frame: Frame) -> str:
    """The isolated counter of the page's family."""
    return "nr_isolated_anon" if frame.has(Flag.SWAPBACKED) else "nr_isolated_file"


def _attempt(state: State, cpu: lru.Cpu, pages: list[Frame], old: Frame, new_page: NewPage) -> int:
    """``unmap_and_move``."""
    target = new_page(old)  # UM-1
    if target is None:
        return -errno.ENOMEM
    result = 0
    if old.count > 1:  # UM-2
        assert not old.has(Flag.LOCKED)
        old.flags |= Flag.LOCKED  # UM-3
        result = -errno.EAGAIN
        _unmap(state, old)  # UM-9
        if old.mapcount == 0:
            result = _move_to_new(state, target.frame, old)  # UM-10
        if result:
            _restore(state, old, old)  # UM-11
        old.flags &= ~Flag.LOCKED  # UM-15
        if result != -errno.EAGAIN:  # UM-16
            pages.remove(old)
            state.memory.add(old, isolated_counter(old), -1)
            lru.putback(state.memory, cpu, old)
    node = target.frame.node
    lru.putback(state.memory, cpu, target.frame)  # UM-17
    target.report(result or node)  # UM-18
    return result


def _unmap(state: State, frame: Frame) -> None:
    """``try_to_unmap`` for migration: every leaf becomes a migration entry."""
    if not frame.mapcount:
        return
    for vma, address in rmap.places(frame):
        entry = vma.mm.entry(address)
        if classify(entry) != "present" or pfn_of(entry) != frame.pfn:
            continue
        if entry & DIRTY:
            frame.flags |= Flag.DIRTY
        vma.mm.store(address, make_migration(frame.pfn, write=bool(entry & WRITABLE)))
        rmap.remove(state.memory, frame)
        lru.put(state.memory, frame)
        if not frame.mapcount:
            return


def _move_to_new(state: State, new: Frame, old: Frame) -> int:
    """``move_to_new_page`` with ``migrate_page`` for a page without address space."""
    assert not new.has(Flag.LOCKED)
    new.flags |= Flag.LOCKED  # MN-1
    new.index, new.owner = old.index, old.owner  # MN-2
    new.flags |= old.flags & Flag.SWAPBACKED
    result = 0 if old.count == 1 else -errno.EAGAIN  # MM-1
    if result == 0:
        _copy(state, new, old)  # MG-3
        _restore(state, old, new)  # MN-4
    else:
        new.owner = None
    new.flags &= ~Flag.LOCKED  # MN-5
    return result


def _copy(state: State, new: Frame, old: Frame) -> None:
    """``migrate_page_copy`` (MC-1 to MC-9)."""
    new.content = old.content
    new.flags |= old.flags & COPIED
    if old.test_and_clear(Flag.ACTIVE):
        assert not old.has(Flag.UNEVICTABLE)
        new.flags |= Flag.ACTIVE
    elif old.test_and_clear(Flag.UNEVICTABLE):
        new.flags |= Flag.UNEVICTABLE
    if old.test_and_clear(Flag.DIRTY):
        new.flags |= Flag.DIRTY
    if old.test_and_clear(Flag.MLOCKED):
        new.flags |= Flag.MLOCKED
        state.memory.add(old, "nr_mlock", -1)
        state.memory.add(new, "nr_mlock", 1)
    old.owner = None


def _restore(state: State, old: Frame, new: Frame) -> None:
    """``remove_migration_ptes``: entries that name ``old`` become leaves of ``new``."""
    for vma, address in rmap.places(new):
        entry = vma.mm.entry(address)
        if classify(entry) != "migration" or migration_pfn(entry) != old.pfn:
            continue
        new.count += 1  # RP-5
        write = WRITABLE if is_write_migration(entry) else 0
        vma.mm.store(address, make(new.pfn, (vma.protection & ~ACCESSED) | write))  # RP-6, RP-7
        rmap.add(state.memory, new, vma, address)  # RP-8
