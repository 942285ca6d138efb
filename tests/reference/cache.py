"""An address space: the pages of a file, or of the swap device, by index.

Start with :class:`AddressSpace`. The ordered tree is a dictionary, and its two
tags are sets of indices. ``page_cache`` puts pages in and takes them out.

Source: data model 5.1, 5.2, 7.2, and 8 for the swap cache.
Left out: nodes of the tree, non-linear mappings.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from .filesystems import FileSystem
from .memory import Flag, Frame, Owner
from .policy import Policy

if TYPE_CHECKING:
    from .vmas import Vma


@dataclasses.dataclass(eq=False)
class AddressSpace(Owner):
    """The cached pages of one file; number 0 is the swap cache.

    ``disk`` has the bytes of written pages. ``swapped`` and ``policies`` are of
    shmem alone: the slot, and the shared policy, of an index.
    """

    number: int
    filesystem: FileSystem
    size: int = 0
    name: str = ""
    pages: dict[int, Frame] = dataclasses.field(default_factory=dict)
    dirty: set[int] = dataclasses.field(default_factory=set)
    writeback: set[int] = dataclasses.field(default_factory=set)
    i_mmap: list[Vma] = dataclasses.field(default_factory=list)
    had_io_error: bool = False
    had_no_space: bool = False
    disk: dict[int, bytes] = dataclasses.field(default_factory=dict)
    swapped: dict[int, int] = dataclasses.field(default_factory=dict)
    policies: dict[int, Policy] = dataclasses.field(default_factory=dict)
    writes_done: int = 0
    reads_done: int = 0

    is_anon: ClassVar[bool] = False

    @property
    def is_shmem(self) -> bool:
        """Whether pages go to swap."""
        return self.filesystem.write == "swap" and self.number != 0

    @property
    def end_index(self) -> int:
        """The first index that is beyond the end of the file."""
        return -(-self.size // 4096)

    def set_policy(self, first: int, pages: int, rule: Policy | None) -> None:
        """The set-policy method of shmem's areas: the shared policy of a range of indices."""
        for index in range(first, first + pages):
            self.policies.pop(index, None)
            if rule is not None:
                self.policies[index] = rule

    def drop_slot(self, index: int) -> None:
        """Empty a slot; its tags go too."""
        del self.pages[index]
        self.dirty.discard(index)
        self.writeback.discard(index)


def index_of(frame: Frame) -> int:
    """``page_index``."""
    if frame.has(Flag.SWAPCACHE):
        return frame.private
    assert frame.index is not None
    return frame.index


def map_file(vma: Vma) -> None:
    """A new mapping goes to the end of ``i_mmap``."""
    if vma.file is not None:
        vma.file.i_mmap.append(vma)


def map_child(child: Vma, parent: Vma) -> None:
    """A fork's child goes behind the run of its parent's group."""
    if child.file is None:
        return
    areas = child.file.i_mmap
    position = areas.index(parent)
    while position < len(areas) and _group(areas[position]) == _group(parent):
        position += 1
    areas.insert(position, child)


def _group(vma: Vma) -> tuple[int, int]:
    return vma.pgoff, vma.end - vma.start
