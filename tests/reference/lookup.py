"""How the kernel finds the page at an address without faulting.

Start with :func:`follow`.

Source: supporting paths 1 (``follow_page``).
Left out: huge mappings.
"""

from __future__ import annotations

import enum

from . import lru, writeback
from .entries import DIRTY, SPECIAL, WRITABLE, classify, pfn_of
from .memory import Flag, Frame
from .tasks import State
from .vmas import Mm


class Lookup(enum.Enum):
    """What ``follow_page`` answers when it has no page."""

    NO_PAGE = "no page"
    BAD = "-EFAULT"


def follow(
    state: State, mm: Mm, address: int, *, write: bool = False, touch: bool = False, dump: bool = False
) -> Frame | Lookup:
    """``follow_page``: the page at an address, or why there is none.

    No reference is taken: nothing else runs, so a caller that wants one raises
    the count itself.
    """
    page = address & ~4095
    entry = mm.entry(page)
    if classify(entry) == "none":
        vma = mm.find_vma(address)
        has_fault_method = vma is not None and vma.file is not None
        return Lookup.BAD if dump and not has_fault_method else Lookup.NO_PAGE
    if classify(entry) != "present" or (write and not entry & WRITABLE):
        return Lookup.NO_PAGE
    if entry & SPECIAL:
        if dump:
            return Lookup.BAD
        frame = state.memory.zero_page
    else:
        frame = state.memory.frames[pfn_of(entry)]
    if touch:
        if write and not entry & DIRTY and not frame.has(Flag.DIRTY):
            writeback.set_dirty(state, frame)
        lru.mark_accessed(state.memory, frame)
    return frame
