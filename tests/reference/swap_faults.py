"""Faults on an entry that names a swap slot.

Start with :func:`fault` (``do_swap_page``).

Source: supporting paths 2.5.
Left out: leaves that change under the fault, read errors.
"""

from __future__ import annotations

from . import copying, groups, lru, rmap, swap
from .entries import DIRTY, VM_LOCKED, VM_WRITE, WRITABLE, make, swap_slot
from .memory import Flag, Frame
from .outcomes import FAILED, Fault
from .tasks import State, Task
from .vmas import Vma


def fault(state: State, task: Task, vma: Vma, page: int, *, write: bool) -> Fault:
    """``do_swap_page``."""
    memory, mm = state.memory, task.memory_map
    slot = swap_slot(mm.entry(page))
    frame = state.swap.space.pages.get(slot)
    result = Fault.DONE
    if frame is not None:
        frame.count += 1
    else:
        rule = state.policy_at(task, vma, page)
        frame = swap.read_around(state, task, slot, rule, vma.linear_index(page))
        if frame is None:
            return Fault.NO_MEMORY
        result = Fault.MAJOR
    frame.flags |= Flag.LOCKED
    usable = _private_copy(state, task, vma, page, frame)
    frame = usable or frame
    if usable is None or not groups.charge(state.group_of(task)):
        frame.flags &= ~Flag.LOCKED
        lru.put(memory, frame)
        return Fault.NO_MEMORY
    mm.anon_pages += 1
    mm.swap_entries -= 1
    leaf = make(frame.pfn, vma.protection)
    if write and swap.reuse(state, frame):
        leaf |= DIRTY | (WRITABLE if vma.flags & VM_WRITE else 0)
        write = False
    mm.store(page, leaf)
    rmap.add(memory, frame, vma, page)
    groups.commit(state.group_of(task), frame, groups.Kind.MAPPED)
    state.swap.free(slot)
    if state.swap.is_full or vma.flags & VM_LOCKED or frame.has(Flag.MLOCKED):
        swap.try_to_free(state, frame)
    frame.flags &= ~Flag.LOCKED
    if write:
        copied = copying.write_protected(state, task, vma, page)
        return copied if copied in FAILED else result | copied
    return result


def _private_copy(state: State, task: Task, vma: Vma, page: int, frame: Frame) -> Frame | None:
    """The KSM check: a page of another family is copied; None without memory.

    The original is unlocked and dropped when there is a copy.
    """
    if not isinstance(frame.owner, rmap.AnonVma):
        return frame
    if frame.owner is vma.anon_vma and frame.index == vma.linear_index(page):
        return frame
    copy = copying.new_page(state, task, vma, page)
    if copy is None:
        return None
    copy.content = frame.content
    copy.flags |= Flag.DIRTY | Flag.SWAPBACKED | Flag.LOCKED
    copying.add_to_lru(state, task, vma, copy)
    frame.flags &= ~Flag.LOCKED
    lru.put(state.memory, frame)
    return copy
