"""From a page back to the entries that map it.

Start with :func:`places`. A VMA has links to anon_vmas, newest first; an
anon_vma has an ordered list of VMAs. File pages are found through ``i_mmap``,
KSM pages through the items of their stable node.

Source: data model 7, RP-8 of migration.md, supporting paths 4.
Left out: non-linear mappings. An anon_vma that lost its last VMA simply has an
empty list, which is the tombstone of Q26.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from . import groups
from .cache import AddressSpace
from .entries import VM_ACCESS
from .memory import Flag, Frame, Memory, Owner

if TYPE_CHECKING:
    from .vmas import Mm, Vma


@dataclasses.dataclass(eq=False)
class AnonVma(Owner):
    """An ordered list of VMAs that may map the pages of one family."""

    vmas: list[Vma] = dataclasses.field(default_factory=list)

    is_anon: ClassVar[bool] = True


@dataclasses.dataclass(eq=False)
class RmapItem:
    """One address that KSM merged into a stable node."""

    mm: Mm
    address: int
    anon_vma: AnonVma


@dataclasses.dataclass(eq=False)
class StableNode(Owner):
    """The owner of a KSM page; ``items`` newest first. Without a frame it is the null node."""

    kpfn: int | None = None
    items: list[RmapItem] = dataclasses.field(default_factory=list)

    is_anon: ClassVar[bool] = True
    is_ksm: ClassVar[bool] = True


NULL_NODE = StableNode()
"""What a page that was merged, but is not in the stable tree, points at."""


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
    return (
        lower.end == upper.start
        and lower.policy == upper.policy
        and lower.file is upper.file
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
    if vma.file is not None:
        vma.file.i_mmap.remove(vma)


def address_in(frame: Frame, vma: Vma) -> int | None:
    """``vma_address``: where a page lies in a VMA, by its index."""
    assert frame.index is not None
    address = vma.start + (frame.index - vma.pgoff) * 4096
    return address if vma.start <= address < vma.end else None


def places(frame: Frame) -> Iterator[tuple[Vma, int]]:
    """Yield the (VMA, address) pairs at which a page may be mapped, in walking order."""
    owner = frame.owner
    if isinstance(owner, StableNode):
        for item in list(owner.items):
            areas = [vma for vma in item.anon_vma.vmas if vma.start <= item.address < vma.end]
            yield from [(vma, item.address) for vma in areas if vma.mm is item.mm]
        for item in list(owner.items):
            areas = [vma for vma in item.anon_vma.vmas if vma.start <= item.address < vma.end]
            yield from [(vma, item.address) for vma in areas if vma.mm is not item.mm]
        return
    areas = []
    if isinstance(owner, AnonVma):
        areas = list(owner.vmas)
    elif isinstance(owner, AddressSpace):
        areas = list(owner.i_mmap)
    for vma in areas:
        address = address_in(frame, vma)
        if address is not None:
            yield vma, address


def add_new(memory: Memory, frame: Frame, vma: Vma, address: int) -> None:
    """The rmap half of ``page_add_new_anon_rmap``; the LRU half is the fault's."""
    frame.flags |= Flag.SWAPBACKED
    frame.mapcount = 1
    memory.add(frame, "nr_anon_pages", 1)
    frame.owner = vma.anon_vma
    frame.index = vma.linear_index(address)


def add(memory: Memory, frame: Frame, vma: Vma, address: int) -> None:
    """``page_add_anon_rmap``: the first map re-points the page (Q14), unless it is KSM's."""
    assert frame.has(Flag.LOCKED) or frame.is_ksm
    frame.mapcount += 1
    if frame.mapcount == 1:
        memory.add(frame, "nr_anon_pages", 1)
        if not frame.is_ksm:
            frame.owner = vma.links[-1]
            frame.index = vma.linear_index(address)
    assert frame.is_ksm or frame.index == vma.linear_index(address)


def add_file(memory: Memory, frame: Frame) -> None:
    """``page_add_file_rmap``."""
    frame.mapcount += 1
    if frame.mapcount == 1:
        memory.add(frame, "nr_mapped", 1)
        groups.count_mapped_file(frame, 1)


def remove(memory: Memory, frame: Frame) -> None:
    """``page_remove_rmap``: the mapping field stays."""
    frame.mapcount -= 1
    assert frame.mapcount >= 0, frame
    if frame.mapcount:
        return
    if frame.is_anon:
        groups.uncharge_mapped(frame)
        memory.add(frame, "nr_anon_pages", -1)
    else:
        memory.add(frame, "nr_mapped", -1)
        groups.count_mapped_file(frame, -1)
