"""Address spaces: VMAs in order, and the dictionary that is the page table.

Start with :class:`Mm` and :func:`change_range`. Entries are kept by page
address; a missing key is an entry of 0.

A split makes a new VMA of what lies outside the range that is changed, but
``munmap`` of what lies inside (the project's reading; only ``i_mmap`` shows it).

Source: data model 6.1, 6.5 and 7.2, supporting paths 6 (mprotect), 15 (mlock splits
and merges), syscalls 6.2 (how a policy is applied to a range).
Left out: intermediate tables, which hold nothing an operation can see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from . import cache, rmap
from .entries import (
    PAGE_SIZE,
    VM_HUGETLB,
    VM_INSERTPAGE,
    VM_IO,
    VM_PFNMAP,
    VM_RESERVED,
    VM_SHARED,
    VM_WRITE,
    protection,
)
from .policy import Policy


@dataclasses.dataclass(eq=False)
class Vma:
    """One area, from ``start`` up to but not including ``end``."""

    mm: Mm
    start: int
    end: int
    flags: int
    pgoff: int
    policy: Policy | None = None
    file: cache.AddressSpace | None = None
    anon_vma: rmap.AnonVma | None = None
    links: list[rmap.AnonVma] = dataclasses.field(default_factory=list)

    @property
    def protection(self) -> int:
        """``vm_page_prot``."""
        return protection(self.flags, wants_notice=self.wants_write_notice)

    @property
    def wants_write_notice(self) -> bool:
        """Whether a first store must fault, so that the file can be told."""
        if self.file is None or not (self.flags & VM_SHARED and self.flags & VM_WRITE):
            return False
        if self.file.filesystem.page_mkwrite:
            return True
        return self.file.filesystem.accounts_dirty and not self.flags & (VM_PFNMAP | VM_INSERTPAGE)

    @property
    def is_migratable(self) -> bool:
        """``vma_migratable``."""
        if self.file is not None and self.file.filesystem.below_policy_zone:
            return False
        return not self.flags & (VM_IO | VM_HUGETLB | VM_PFNMAP | VM_RESERVED)

    def linear_index(self, address: int) -> int:
        """``linear_page_index``."""
        return (address - self.start) // PAGE_SIZE + self.pgoff


@dataclasses.dataclass(eq=False)
class Mm:
    """One address space. Only KSM goes by its number."""

    number: int = 0
    vmas: list[Vma] = dataclasses.field(default_factory=list)
    entries: dict[int, int] = dataclasses.field(default_factory=dict)
    file_pages: int = 0
    anon_pages: int = 0
    swap_entries: int = 0

    def find_vma(self, address: int) -> Vma | None:
        """The VMA with the lowest end above ``address``; it may start later (Q10)."""
        return next((vma for vma in self.vmas if vma.end > address), None)

    def containing(self, address: int) -> Vma | None:
        """The VMA that contains ``address``."""
        vma = self.find_vma(address)
        return vma if vma is not None and vma.start <= address else None

    def entry(self, address: int) -> int:
        """The leaf at a page address."""
        return self.entries.get(address, 0)

    def store(self, address: int, entry: int) -> None:
        """Store a leaf; 0 is none."""
        if entry:
            self.entries[address] = entry
        else:
            self.entries.pop(address, None)

    def insert(self, vma: Vma) -> None:
        """Add a VMA in address order."""
        self.vmas.append(vma)
        self.vmas.sort(key=lambda other: other.start)


def split(vma: Vma, address: int, *, new_below: bool = False) -> tuple[Vma, Vma]:
    """Cut a VMA in two; return the lower and the upper half, one of which is new."""
    assert vma.start < address < vma.end
    start, end = (vma.start, address) if new_below else (address, vma.end)
    new = Vma(vma.mm, start, end, vma.flags, vma.linear_index(start), vma.policy, vma.file)
    rmap.clone_links(new, vma)
    new.anon_vma = vma.anon_vma
    cache.map_file(new)
    if new_below:
        vma.pgoff = vma.linear_index(address)
        vma.start = address
    else:
        vma.end = address
    vma.mm.insert(new)
    return (new, vma) if new_below else (vma, new)


def cut_out(vma: Vma, start: int, end: int, *, inside_is_new: bool = False) -> Vma:
    """Split a VMA so that [start, end) of it is a VMA of its own; return that."""
    if vma.start < start:
        _, vma = split(vma, start, new_below=not inside_is_new)
    if end < vma.end:
        vma, _ = split(vma, end, new_below=inside_is_new)
    return vma


def _fits(lower: Vma, upper: Vma) -> bool:
    return (
        lower.end == upper.start
        and lower.flags == upper.flags
        and lower.policy == upper.policy
        and lower.file is upper.file
        and upper.pgoff == lower.linear_index(upper.start)
        and (lower.anon_vma is None or upper.anon_vma is None or lower.anon_vma is upper.anon_vma)
    )


def _adopt(growing: Vma, other: Vma) -> None:
    """A growing area without links takes those of what it grows into."""
    if growing.anon_vma is None and other.anon_vma is not None:
        rmap.clone_links(growing, other)
        growing.anon_vma = other.anon_vma


def _remove(vma: Vma) -> None:
    rmap.unlink(vma)
    vma.mm.vmas.remove(vma)


def _set_start(vma: Vma, start: int) -> None:
    vma.pgoff += (start - vma.start) // PAGE_SIZE
    vma.start = start


def reshape(
    vma: Vma, start: int, end: int, flags: int, policy: Policy | None, *, upwards_only: bool = False
) -> Vma:
    """Give [start, end) of a VMA new flags and a new policy; return what holds it then.

    It merges with neighbours that are equal then: they grow into it, the lower one
    first, also where they belong to different anon_vmas. Otherwise it becomes a VMA
    of its own.
    """
    vmas = vma.mm.vmas
    at = vmas.index(vma)
    wanted = Vma(vma.mm, start, end, flags, vma.linear_index(start), policy, vma.file, vma.anon_vma)
    below = at > 0 and vma.start == start and not upwards_only
    lower = vmas[at - 1] if below and _fits(vmas[at - 1], wanted) else None
    upper = vmas[at + 1] if at + 1 < len(vmas) and vma.end == end and _fits(wanted, vmas[at + 1]) else None
    if lower is not None:
        _adopt(lower, vma)
        lower.end = end
        if end < vma.end:
            _set_start(vma, end)
            return lower
        _remove(vma)
        if upper is not None and _fits(lower, upper):
            _adopt(lower, upper)
            lower.end = upper.end
            _remove(upper)
        return lower
    if upper is not None:
        _adopt(upper, vma)
        _set_start(upper, start)
        if vma.start < start:
            vma.end = start
        else:
            _remove(vma)
        return upper
    piece = cut_out(vma, start, end)
    piece.flags, piece.policy = flags, policy
    return piece


def pieces(mm: Mm, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of [start, end) that VMAs cover, one for each VMA."""
    return [
        (max(start, vma.start), min(end, vma.end)) for vma in mm.vmas if vma.start < end and vma.end > start
    ]


def change_flags(mm: Mm, start: int, end: int, new_flags: Callable[[int], int]) -> list[tuple[int, int]]:
    """Change ``vm_flags`` of a range; return the pieces that really changed.

    VMAs are split at the edges and merge with equal neighbours; where the flags
    are as wanted nothing happens at all.
    """
    changed = []
    for piece_start, piece_end in pieces(mm, start, end):
        vma = mm.containing(piece_start)
        assert vma is not None
        flags = new_flags(vma.flags)
        if flags == vma.flags:
            continue
        reshape(vma, piece_start, piece_end, flags, vma.policy)
        changed.append((piece_start, piece_end))
    return changed


def set_policy(mm: Mm, start: int, end: int, policy: Policy | None) -> bool:
    """Apply a policy to a range; False where no VMA contains ``start``.

    Only the first piece can merge: later ones are offered a wrong offset (syscalls
    6.2). For pieces that did not merge, shmem's method is called. A first piece that
    starts inside a VMA is cut off first and can merge upwards only.
    """
    if mm.containing(start) is None:
        return False
    address = start
    while following := pieces(mm, address, end):
        piece_start, piece_end = following[0]
        vma = mm.containing(piece_start)
        assert vma is not None
        if piece_start == start:
            is_cut = vma.start < start
            if is_cut:
                _, vma = split(vma, start, new_below=True)
            piece = reshape(vma, start, piece_end, vma.flags, policy, upwards_only=is_cut)
        else:
            piece = cut_out(vma, piece_start, piece_end)
            piece.policy = policy
        merged = (piece.start, piece.end) != (piece_start, piece_end)
        if not merged and piece.file is not None and piece.file.is_shmem:
            pages = (piece.end - piece.start) // PAGE_SIZE
            piece.file.set_policy(piece.pgoff, pages, policy)
        address = piece.end
    return True
