"""Reclaim: taking pages away from those who did not use them lately.

Start with :func:`reclaim` (``shrink_inactive_list``) and :func:`swap_out`, which
reclaims the one page at an address.

Source: supporting paths 7 (``__remove_mapping``) and 12.
Readings: looking at the accessed bits clears them, and PG_referenced with them;
PG_reclaim is set for a write, and stays while it lasts. A scan looks at no page twice.
Left out: the lists of active pages, throttling, slab.
"""

from __future__ import annotations

import enum

from . import lru, removal, rmap, swap, transfers, writeback
from .entries import ACCESSED
from .lookup import follow
from .memory import Flag, Frame
from .tasks import State, Task
from .unmap import Unmapped, maps, try_to_unmap

BATCH = 32


class Verdict(enum.Enum):
    """What becomes of a page that was looked at."""

    FREE = "free it"
    KEEP = "leave it"
    ACTIVATE = "it is in use"
    CULL = "it cannot be reclaimed"


def swap_out(state: State, task: Task, address: int) -> bool:
    """Reclaim the page at an address as if it had aged, and wait for the write; whether it was freed."""
    cpu = state.cpu_of(task)
    frame = follow(state, task.memory_map, address)
    if not isinstance(frame, Frame):
        return False
    lru.drain(state.memory, cpu)
    if not lru.isolate(state.memory, frame):
        return False
    return _shrink(state, cpu, [frame], insists=True) == 1


def reclaim(state: State, task: Task, node: int, pages: int, *, anonymous: bool) -> int:
    """Scan up to ``pages`` pages of one inactive list, none twice; return how many were freed."""
    cpu = state.cpu_of(task)
    lru.drain(state.memory, cpu)
    tail = state.memory.nodes[node].lists[lru.INACTIVE_ANON if anonymous else lru.INACTIVE_FILE]
    freed = 0
    pages = min(pages, len(tail))
    while pages > 0:
        batch = [state.memory.frames[pfn] for pfn in reversed(tail[-min(BATCH, pages) :])]
        for frame in batch:
            lru.isolate(state.memory, frame)
        pages -= len(batch)
        freed += _shrink(state, cpu, batch)
    return freed


def _shrink(state: State, cpu: lru.Cpu, batch: list[Frame], *, insists: bool = False) -> int:
    """``shrink_page_list`` and the putback of what is left."""
    for frame in batch:
        frame.flags &= ~Flag.ACTIVE
        state.memory.add(frame, lru.isolated_counter(frame), 1)
    counters = [lru.isolated_counter(frame) for frame in batch]
    left = []
    freed = 0
    for frame in batch:
        was_written = frame.has(Flag.WRITEBACK)
        verdict = _judge_locked(state, cpu, frame, aged=insists)
        if insists and frame.has(Flag.WRITEBACK) and not was_written:
            transfers.wait_for_writeback(state, frame)
            verdict = _judge_locked(state, cpu, frame, aged=True)
        if verdict is Verdict.FREE:
            freed += 1
            lru.put(state.memory, frame)
        elif verdict is Verdict.CULL:
            lru.putback(state.memory, cpu, frame)
        else:
            if verdict is Verdict.ACTIVATE:
                frame.flags |= Flag.ACTIVE
            left.append(frame)
    for frame in left:
        _put_back(state, cpu, frame)
    for frame, counter in zip(batch, counters, strict=True):
        state.memory.add(frame, counter, -1)
    return freed


def _put_back(state: State, cpu: lru.Cpu, frame: Frame) -> None:
    """Straight to the head of its list; what is not evictable takes the usual way."""
    if not lru.is_evictable(frame):
        lru.putback(state.memory, cpu, frame)
        return
    frame.flags &= ~Flag.UNEVICTABLE
    lru.link(state.memory, frame, lru.list_of(frame))
    lru.put(state.memory, frame)


def _judge_locked(state: State, cpu: lru.Cpu, frame: Frame, *, aged: bool) -> Verdict:
    frame.flags |= Flag.LOCKED
    verdict = _judge(state, cpu, frame, aged=aged)
    frame.flags &= ~Flag.LOCKED
    return verdict


def _judge(state: State, cpu: lru.Cpu, frame: Frame, *, aged: bool) -> Verdict:
    """One page of ``shrink_page_list``, locked; FREE leaves it with one reference."""
    if not lru.is_evictable(frame):
        return Verdict.CULL
    if frame.has(Flag.WRITEBACK):
        return Verdict.KEEP
    verdict, only_if_clean = _references(frame)
    if verdict is not None and not aged:
        return verdict
    if frame.is_anon and not frame.has(Flag.SWAPCACHE) and not swap.add_to_swap(state, frame):
        return Verdict.ACTIVATE
    if frame.mapcount and writeback.mapping_of(state, frame) is not None:
        result = try_to_unmap(state, cpu, frame, migration=False)
        if result is not Unmapped.SUCCESS:
            return {Unmapped.FAIL: Verdict.ACTIVATE, Unmapped.MLOCK: Verdict.CULL}.get(result, Verdict.KEEP)
    if frame.has(Flag.DIRTY):
        verdict = Verdict.KEEP if only_if_clean and not aged else _page_out(state, frame)
        if verdict is not None:
            return verdict
    if frame.has_private:
        if not writeback.try_to_release(state, frame):
            return Verdict.ACTIVATE
        if frame.owner is None and frame.count == 1:
            return Verdict.FREE
    if writeback.mapping_of(state, frame) is None or not removal.remove_unused(state, frame):
        return Verdict.KEEP
    return Verdict.FREE


def _references(frame: Frame) -> tuple[Verdict | None, bool]:
    """``page_check_references``: a verdict, or whether only a clean page may go."""
    accessed = False
    for vma, address in rmap.places(frame) if frame.mapcount else ():
        if maps(vma, address, frame) and vma.mm.entry(address) & ACCESSED:
            vma.mm.store(address, vma.mm.entry(address) & ~ACCESSED)
            accessed = True
    was_referenced = frame.test_and_clear(Flag.REFERENCED)
    if not accessed:
        return None, was_referenced
    if frame.is_anon:
        return Verdict.ACTIVATE, False
    frame.flags |= Flag.REFERENCED
    return (Verdict.ACTIVATE if was_referenced else Verdict.KEEP), False


def _page_out(state: State, frame: Frame) -> Verdict | None:
    """``pageout``: None where the page turned out clean and can go."""
    if frame.count - int(frame.has_private) != 2:
        return Verdict.KEEP
    space = writeback.mapping_of(state, frame)
    if space is None:
        if frame.has_private and writeback.try_to_free_buffers(state, frame):
            frame.flags &= ~Flag.DIRTY
            return None
        return Verdict.KEEP
    if space.filesystem.write == "never":
        return Verdict.ACTIVATE
    if space.filesystem.congested:
        return Verdict.KEEP
    if not writeback.clear_dirty_for_io(state, frame):
        return None
    frame.flags |= Flag.RECLAIM
    result = writeback.write_page(state, frame)
    writeback.remember_error(space, result)
    frame.flags |= Flag.LOCKED
    if result == writeback.ACTIVATE:
        frame.flags &= ~Flag.RECLAIM
        return Verdict.ACTIVATE
    if not frame.has(Flag.WRITEBACK):
        frame.flags &= ~Flag.RECLAIM
    state.memory.add(frame, "nr_vmscan_write", 1)
    if frame.has(Flag.WRITEBACK | Flag.DIRTY):
        return Verdict.KEEP
    return None
