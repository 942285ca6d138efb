"""The five LRU lists of each node, and the per-CPU buffers in front of them.

Start with :func:`cache_add`, :func:`isolate` and :func:`putback`. Lists are
Python lists with the head at position 0; a pagevec is a list in insertion
order. :func:`put` is here because a last reference takes a page off its list.

Source: data model 4, supporting paths 12 (``mark_page_accessed``).
Left out: the statistics that steer reclaim.
"""

from __future__ import annotations

import dataclasses

from .cache import AddressSpace
from .memory import LRU_COUNTERS, Flag, Frame, Memory

INACTIVE_ANON = 0
ACTIVE_ANON = 1
INACTIVE_FILE = 2
ACTIVE_FILE = 3
UNEVICTABLE = 4
PAGEVEC_SIZE = 14


@dataclasses.dataclass(eq=False)
class Cpu:
    """One processor: its node, its addition pagevecs 0..4 and its rotate pagevec."""

    number: int
    node: int
    pagevecs: list[list[int]] = dataclasses.field(default_factory=lambda: [[], [], [], [], []])
    rotate: list[int] = dataclasses.field(default_factory=list)


def is_evictable(frame: Frame) -> bool:
    """``page_evictable`` without a VMA."""
    if frame.has(Flag.MLOCKED):
        return False
    if frame.has(Flag.SWAPCACHE):
        return True
    return not (isinstance(frame.owner, AddressSpace) and frame.owner.filesystem.unevictable)


def list_of(frame: Frame) -> int:
    """``page_lru``: the list that the flags name."""
    if frame.has(Flag.UNEVICTABLE):
        return UNEVICTABLE
    return base_of(frame) + int(frame.has(Flag.ACTIVE))


def base_of(frame: Frame) -> int:
    """The inactive list of the page's family."""
    return INACTIVE_ANON if frame.has(Flag.SWAPBACKED) else INACTIVE_FILE


def isolated_counter(frame: Frame) -> str:
    """The isolated counter of the page's family."""
    return "nr_isolated_anon" if frame.has(Flag.SWAPBACKED) else "nr_isolated_file"


def link(memory: Memory, frame: Frame, index: int) -> None:
    """Put a page at the head of a list of its own node."""
    assert not frame.has(Flag.LRU), frame
    frame.flags |= Flag.LRU
    if index in (ACTIVE_ANON, ACTIVE_FILE):
        frame.flags |= Flag.ACTIVE
    if index == UNEVICTABLE:
        frame.flags |= Flag.UNEVICTABLE
    memory.nodes[frame.node].lists[index].insert(0, frame.pfn)
    memory.add(frame, LRU_COUNTERS[index], 1)


def unlink(memory: Memory, frame: Frame) -> None:
    """Take a page off the list its flags name; the flags stay but for PG_lru."""
    index = list_of(frame)
    frame.flags &= ~Flag.LRU
    memory.nodes[frame.node].lists[index].remove(frame.pfn)
    memory.add(frame, LRU_COUNTERS[index], -1)


def put(memory: Memory, frame: Frame) -> None:
    """Drop a reference; the last one frees the frame."""
    if frame is memory.zero_page:
        frame.count -= 1
        return
    assert frame.count > 0, frame
    frame.count -= 1
    if frame.count == 0:
        if frame.has(Flag.LRU):
            unlink(memory, frame)
            frame.flags &= ~(Flag.ACTIVE | Flag.UNEVICTABLE)
        memory.give_back(frame)


def cache_add(memory: Memory, cpu: Cpu, frame: Frame, index: int) -> None:
    """``lru_cache_add_lru``: into the CPU's pagevec, drained when it is full."""
    if frame.has(Flag.ACTIVE):
        frame.flags &= ~Flag.ACTIVE
    else:
        frame.flags &= ~Flag.UNEVICTABLE
    frame.count += 1
    cpu.pagevecs[index].append(frame.pfn)
    if len(cpu.pagevecs[index]) == PAGEVEC_SIZE:
        drain_one(memory, cpu, index)


def drain_one(memory: Memory, cpu: Cpu, index: int) -> None:
    """Move a pagevec to the lists, then drop its references in the same order."""
    frames = [memory.frames[pfn] for pfn in cpu.pagevecs[index]]
    for frame in frames:
        link(memory, frame, index)
    for frame in frames:
        put(memory, frame)
    cpu.pagevecs[index].clear()


def rotate_later(memory: Memory, cpu: Cpu, frame: Frame) -> None:
    """Put a page into the rotate pagevec, drained when it is full."""
    frame.count += 1
    cpu.rotate.append(frame.pfn)
    if len(cpu.rotate) == PAGEVEC_SIZE:
        drain_rotate(memory, cpu)


def drain_rotate(memory: Memory, cpu: Cpu) -> None:
    """Move inactive pages to the tail of their list, then drop the references."""
    frames = [memory.frames[pfn] for pfn in cpu.rotate]
    for frame in frames:
        if frame.has(Flag.LRU) and not frame.has(Flag.ACTIVE | Flag.UNEVICTABLE):
            pages = memory.nodes[frame.node].lists[list_of(frame)]
            pages.remove(frame.pfn)
            pages.append(frame.pfn)
    for frame in frames:
        put(memory, frame)
    cpu.rotate.clear()


def drain(memory: Memory, cpu: Cpu) -> None:
    """``lru_add_drain`` on one CPU."""
    for index in range(5):
        drain_one(memory, cpu, index)
    drain_rotate(memory, cpu)


def isolate(memory: Memory, frame: Frame) -> bool:
    """Take a page off its list for the caller, who owns one reference then."""
    if not frame.has(Flag.LRU):
        return False
    frame.count += 1
    unlink(memory, frame)
    return True


def putback(memory: Memory, cpu: Cpu, frame: Frame) -> None:
    """Give an isolated page back, to a pagevec or to the unevictable list."""
    assert not frame.has(Flag.LRU)
    active = frame.test_and_clear(Flag.ACTIVE)
    frame.flags &= ~Flag.UNEVICTABLE
    if is_evictable(frame):
        cache_add(memory, cpu, frame, base_of(frame) + int(active))
    else:
        link(memory, frame, UNEVICTABLE)
    put(memory, frame)


def mark_accessed(memory: Memory, frame: Frame) -> None:
    """Age a page that was looked at: referenced first, active next."""
    on_inactive_list = frame.has(Flag.LRU) and not frame.has(Flag.ACTIVE | Flag.UNEVICTABLE)
    if not (on_inactive_list and frame.has(Flag.REFERENCED) and is_evictable(frame)):
        frame.flags |= Flag.REFERENCED
        return
    unlink(memory, frame)
    link(memory, frame, list_of(frame) + 1)
    frame.flags &= ~Flag.REFERENCED
