"""One swap device: slots with use counts, the swap cache, reading in and writing out.

Start with :class:`SwapArea`, then :func:`add_to_swap` and :func:`read_around`.
A slot's neutral value is its number; slot 0 is the header.
Reading: shmem reads without readahead.

Source: data model 8, supporting paths 2.5 (reading in) and 11.
Left out: several devices, bad slots, counts that overflow, swap-off.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from . import groups, lru, page_cache, transfers
from .cache import AddressSpace
from .filesystems import SWAP
from .memory import Flag, Frame
from .policy import Policy

if TYPE_CHECKING:
    from .tasks import State, Task

READ_AROUND = 8


@dataclasses.dataclass(eq=False)
class SwapArea:
    """``slots`` usable slots, numbered from 1. ``of_shmem`` slots count one user each."""

    slots: int
    space: AddressSpace = dataclasses.field(default_factory=lambda: AddressSpace(0, SWAP))
    uses: dict[int, int] = dataclasses.field(default_factory=dict)
    of_shmem: set[int] = dataclasses.field(default_factory=set)
    has_cache: set[int] = dataclasses.field(default_factory=set)

    def users(self, slot: int) -> int:
        """Use count, ownership by shmem included."""
        return self.uses.get(slot, 0) + int(slot in self.of_shmem)

    def is_free(self, slot: int) -> bool:
        """Whether the slot's byte is 0."""
        return not self.users(slot) and slot not in self.has_cache

    @property
    def free_slots(self) -> int:
        """``nr_swap_pages``."""
        return sum(self.is_free(slot) for slot in range(1, self.slots + 1))

    @property
    def is_full(self) -> bool:
        """``vm_swap_full``."""
        return self.free_slots * 2 < self.slots

    def take(self) -> int | None:
        """The lowest free slot, marked as cached."""
        for slot in range(1, self.slots + 1):
            if self.is_free(slot):
                self.has_cache.add(slot)
                return slot
        return None

    def duplicate(self, slot: int) -> None:
        """``swap_duplicate``; a slot that nobody uses is left alone."""
        if not self.is_free(slot):
            self.uses[slot] = self.uses.get(slot, 0) + 1

    def free(self, slot: int) -> None:
        """``swap_free``: one user less."""
        if slot in self.of_shmem:
            self.of_shmem.remove(slot)
            return
        self.uses[slot] -= 1
        assert self.uses[slot] >= 0


def enter_cache(state: State, frame: Frame, slot: int) -> None:
    """Put a page into the swap cache; the slot is marked already."""
    frame.flags |= Flag.SWAPCACHE | Flag.SWAPBACKED
    frame.private = slot
    page_cache.insert(state.memory, state.swap.space, slot, frame)


def add_to_swap(state: State, frame: Frame) -> bool:
    """``add_to_swap`` of an anonymous page; False without a free slot."""
    slot = state.swap.take()
    if slot is None:
        return False
    enter_cache(state, frame, slot)
    frame.flags |= Flag.DIRTY
    return True


def delete_from_cache(state: State, frame: Frame) -> None:
    """Take a page out of the swap cache, with the reference and the charge."""
    slot = frame.private
    forget(state, frame)
    users = state.swap.users(slot)
    groups.uncharge(frame, groups.Kind.SWAPOUT if users else groups.Kind.DROPPED)
    lru.put(state.memory, frame)


def forget(state: State, frame: Frame) -> None:
    """Empty the page's slot of the swap cache; reference and charge stay."""
    assert frame.has(Flag.SWAPCACHE) and not frame.has(Flag.WRITEBACK)
    state.swap.space.drop_slot(frame.private)
    state.swap.has_cache.remove(frame.private)
    state.memory.add(frame, "nr_file_pages", -1)
    frame.flags &= ~Flag.SWAPCACHE
    frame.private = 0


def try_to_free(state: State, frame: Frame) -> bool:
    """``try_to_free_swap``: a page that no entry names leaves the swap cache."""
    if not frame.has(Flag.SWAPCACHE) or frame.has(Flag.WRITEBACK):
        return False
    if state.swap.users(frame.private):
        return False
    delete_from_cache(state, frame)
    frame.flags |= Flag.DIRTY
    return True


def free_slot_and_cache(state: State, slot: int) -> None:
    """``free_swap_and_cache``: one user less, and the last takes the cached page along."""
    state.swap.free(slot)
    if state.swap.users(slot) or slot not in state.swap.has_cache:
        return
    frame = state.swap.space.pages[slot]
    frame.count += 1
    if not frame.has(Flag.WRITEBACK) and (not frame.mapcount or state.swap.is_full):
        delete_from_cache(state, frame)
        frame.flags |= Flag.DIRTY
    lru.put(state.memory, frame)


def reuse(state: State, frame: Frame) -> bool:
    """``reuse_swap_page``: whether a write may take the page over."""
    if frame.is_ksm:
        return False
    users = frame.mapcount
    if users <= 1 and frame.has(Flag.SWAPCACHE):
        users += state.swap.users(frame.private)
        if users == 1 and not frame.has(Flag.WRITEBACK):
            delete_from_cache(state, frame)
            frame.flags |= Flag.DIRTY
    return users <= 1


def write(state: State, frame: Frame, *, fails: bool) -> None:
    """The write method of the swap cache; the page is unlocked afterwards."""
    if not try_to_free(state, frame):
        transfers.start_writeback(state, state.swap.space, frame.private, frame, [], fails=fails)
    frame.flags &= ~Flag.LOCKED


def block_of(area: SwapArea, slot: int) -> range:
    """The aligned block that is read together with a slot; there is no slot 0."""
    first = slot - slot % READ_AROUND
    return range(max(first, 1), min(first + READ_AROUND, area.slots + 1))


def read_around(state: State, task: Task, slot: int, rule: Policy | None, index: int) -> Frame | None:
    """Read a slot and its aligned block in; return the page, referenced, or None without memory."""
    for each in block_of(state.swap, slot):
        if not state.swap.users(each) or each in state.swap.has_cache:
            continue
        frame = read_in(state, task, each, rule, index)
        if frame is None:
            break
        lru.put(state.memory, frame)
    lru.drain(state.memory, state.cpu_of(task))
    wanted = state.swap.space.pages.get(slot)
    if wanted is not None:
        wanted.count += 1
        return wanted
    return read_in(state, task, slot, rule, index)


def read_in(state: State, task: Task, slot: int, rule: Policy | None, index: int) -> Frame | None:
    """Read one slot into the swap cache; return the page, referenced, or None without memory."""
    frame = state.allocate(task, rule, index)
    if frame is None:
        return None
    state.swap.has_cache.add(slot)
    enter_cache(state, frame, slot)
    lru.cache_add(state.memory, state.cpu_of(task), frame, lru.INACTIVE_ANON)
    if state.memory.contents:
        frame.content = state.swap.space.disk.get(slot, bytes(4096))
    frame.flags |= Flag.UPTODATE
    return frame
