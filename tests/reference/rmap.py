"""From a page back to the entries that map it.

Start with :func:`places`. A VMA has links to anon_vmas, newest first; an
anon_vma has an ordered list of VMAs.

Source: data model 7.1, RP-8 of migration.md, supporting paths 4.
Left out: file mappings, KSM. An anon_vma that lost its last VMA simply has an
empty list, which is the tombstone of Q26.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .memory import Flag, Frame, Memory

if TYPE_CHECKING:
    from .vmas import Mm, Vma


@dataclasses.dataclass(eq=False)
class AnonVma:
    """An ordered list of VMAs that may map the pages of one family."""

    vmas: list[Vma] = dataclasses.field(default_factory=list)


def prepare(mm: Mm, vma: Vma) -> None:
    """``anon_vma_prepare``: a neighbour's anon_vma if it fits, else a new one."""
    if vma.anon_vma is not None:
        return
    position = mm.vmas.index(vma)
    following = mm.vmas[position + 1] if position + 1 < len(mm.vmas) else None
    previous = mm.vmas[position - 1] if position else None
    chosen = AnonVma()
    if following is not None and _is_reusable(following, vma, following):
        chosen = following.links[0]
    elif previous is not None and _is_reusable(previous, previous, vma):
        chosen = previous.links[0]
    vma.anon_vma = chosen
    vma.links.insert(0, chosen)
    chosen.vmas.insert(0, vma)


def _is_reusable(donor: Vma, lower: Vma, upper: Vma) -> bool:
    from .entries import VM_ACCESS

    return (
        lower.end == upper.start
        and lower.policy == upper.policy
        and not (lower.flags ^ upper.flags) & ~VM_ACCESS
        and upper.pgoff == lower.pgoff + (lower.end - lower.start) // 4096
        and donor.anon_vma is not None
        and len(donor.links) == 1
    )


def clone_links(new: Vma, old: Vma) -> None:
    """Give ``new`` the links of ``old``, in order, at the tail of each list."""
    for anon_vma in old.links:
        new.links.append(anon_vma)
        anon_vma.vmas.append(new)


def fork(child: Vma, parent: Vma) -> None:
    """``anon_vma_fork``: all of the parent's links, and a private one in front."""
    if parent.anon_vma is None:
        return
    clone_links(child, parent)
    child.anon_vma = AnonVma([child])
    child.links.insert(0, child.anon_vma)


def unlink(vma: Vma) -> None:
    """Take a VMA off every list it is on."""
    for anon_vma in vma.links:
        anon_vma.vmas.remove(vma)
    vma.links.clear()
    vma.anon_vma = None


def places(frame: Frame) -> Iterator[tuple[Vma, int]]:
    """Yield the (VMA, address) pairs at which an anonymous page may be mapped."""
    if frame.owner is None:
        return
    assert frame.index is not None
    for vma in list(frame.owner.vmas):
        address = vma.start + (frame.index - vma.pgoff) * 4096
        if vma.start <= address < vma.end:
            yield vma, address


def add_new(memory: Memory, frame: Frame, vma: Vma, address: int) -> None:
    """The rmap half of ``page_add_new_anon_rmap``; the LRU half is the fault's."""
    frame.flags |= Flag.SWAPBACKED
    frame.mapcount = 1
    memory.add(frame, "nr_anon_pages", 1)
    frame.owner = vma.anon_vma
    frame.index = vma.linear_index(address)


def add(memory: Memory, frame: Frame, vma: Vma, address: int) -> None:
    """``page_add_anon_rmap``: the first map re-points the page (Q14)."""
    assert frame.has(Flag.LOCKED)
    frame.mapcount += 1
    if frame.mapcount == 1:
        memory.add(frame, "nr_anon_pages", 1)
        frame.owner = vma.links[-1]
        frame.index = vma.linear_index(address)
    assert frame.index == vma.linear_index(address)


def remove(memory: Memory, frame: Frame) -> None:
    """``page_remove_rmap``: the mapping field stays."""
    frame.mapcount -= 1
    assert frame.mapcount >= 0, frame
    if frame.mapcount == 0:
        memory.add(frame, "nr_anon_pages", -1)
