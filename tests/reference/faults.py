"""What happens when a task touches memory.

Start with :func:`access`, the hardware and the fault handler together, and
:func:`get_user_page`, the kernel's own way to a page. Files are in
``file_faults``, copies in ``copying``, swap in ``swap_faults``.

Source: supporting paths 2 (the table), 2.2, 17 (``get_user_pages``); data model 6.3.
Left out: migration entries (nothing is ever half done here).
"""

from __future__ import annotations

import dataclasses

from . import copying, file_faults, groups, rmap, swap_faults
from .entries import (
    ACCESSED,
    DIRTY,
    PRESENT,
    SPECIAL,
    VM_ACCESS,
    VM_IO,
    VM_PFNMAP,
    VM_READ,
    VM_WRITE,
    WRITABLE,
    classify,
    make,
)
from .lookup import follow
from .memory import Frame
from .outcomes import FAILED, Fault
from .tasks import State, Task
from .vmas import Vma

ZERO_PAGE_PFN_BITS = (1 << 40) - 1
"""What stands in the frame bits of a zero-page leaf: the number of no other frame."""


@dataclasses.dataclass
class Touched:
    """What a batch of accesses met; ``cow`` of the minor faults broke copy-on-write."""

    hits: int = 0
    minor: int = 0
    major: int = 0
    cow: int = 0
    sigsegv: list[int] = dataclasses.field(default_factory=list)
    sigbus: list[int] = dataclasses.field(default_factory=list)
    out_of_memory: bool = False

    def add(self, address: int, fault: Fault | None) -> None:
        """Count one fault, or None for an access that needed none."""
        if fault is None:
            self.hits += 1
        elif fault is Fault.SEGV:
            self.sigsegv.append(address)
        elif fault is Fault.BUS:
            self.sigbus.append(address)
        elif fault is Fault.NO_MEMORY:
            self.out_of_memory = True
        elif Fault.MAJOR in fault:
            self.major += 1
        else:
            self.minor += 1
            self.cow += int(Fault.WRITE in fault)


def access(state: State, task: Task, address: int, *, write: bool, seen: Touched | None = None) -> bool:
    """One load or store, faulting and trying again; whether it got through."""
    mm = task.memory_map
    page = address & ~4095
    seen = seen if seen is not None else Touched()
    faulted = False
    while True:
        entry = mm.entry(page)
        if entry & PRESENT and (not write or entry & WRITABLE):
            mm.store(page, entry | ACCESSED | (DIRTY if write else 0))
            if not faulted:
                seen.add(address, None)
            return True
        vma = mm.containing(address)
        if vma is None or not vma.flags & (VM_WRITE if write else VM_ACCESS):
            seen.add(address, Fault.SEGV)
            return False
        result = handle_fault(state, task, vma, page, write=write)
        seen.add(address, result)
        faulted = True
        if result in FAILED:
            return False


def handle_fault(state: State, task: Task, vma: Vma, page: int, *, write: bool) -> Fault:
    """``handle_mm_fault``."""
    entry = task.memory_map.entry(page)
    kind = classify(entry)
    if kind == "none":
        if vma.file is not None:
            return file_faults.fault(state, task, vma, page, write=write)
        return _anonymous(state, task, vma, page, write=write)
    if kind == "swap":
        return swap_faults.fault(state, task, vma, page, write=write)
    assert kind == "present"
    if write and not entry & WRITABLE:
        return copying.write_protected(state, task, vma, page)
    raise AssertionError("a permitted access does not fault here")


def _anonymous(state: State, task: Task, vma: Vma, page: int, *, write: bool) -> Fault:
    mm = task.memory_map
    if not write:
        mm.store(page, make(ZERO_PAGE_PFN_BITS, vma.protection | SPECIAL))
        return Fault.DONE
    rmap.prepare(mm, vma)
    frame = copying.new_page(state, task, vma, page)
    if frame is None:
        return Fault.NO_MEMORY
    group = state.group_of(task)
    if not groups.charge(group):
        state.put(frame.pfn)
        return Fault.NO_MEMORY
    mm.anon_pages += 1
    copying.map_new(state, task, vma, page, frame)
    return Fault.DONE


def get_user_page(state: State, task: Task, address: int, *, write: bool) -> Frame | Fault:
    """``get_user_pages`` for one page: a referenced frame, or why there is none."""
    vma = task.memory_map.containing(address)
    if vma is None or vma.flags & (VM_IO | VM_PFNMAP) or not vma.flags & (VM_WRITE if write else VM_READ):
        return Fault.SEGV
    while True:
        frame = follow(state, task.memory_map, address, write=write, touch=True)
        if isinstance(frame, Frame):
            frame.count += 1
            return frame
        result = handle_fault(state, task, vma, address & ~4095, write=write)
        if result in FAILED:
            return result
