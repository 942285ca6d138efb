"""KSM: equal anonymous pages become one, until somebody writes.

Start with :class:`Ksm`.

Source: data model 7.3, supporting paths 16.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .memory import Frame
from .rmap import StableNode

if TYPE_CHECKING:
    from .tasks import State, Task
    from .vmas import Mm, Vma


@dataclasses.dataclass(eq=False)
class Ksm:
    """The daemon's state: the address spaces it visits, and the stable nodes."""

    spaces: list[Mm] = dataclasses.field(default_factory=list)
    nodes: list[StableNode] = dataclasses.field(default_factory=list)

    def register(self, mm: Mm) -> None:
        """Visit an address space from now on."""
        if mm not in self.spaces:
            self.spaces.append(mm)

    def moved(self, old: Frame, new: Frame) -> None:
        """MC-7: a stable node follows its page."""
        node = new.owner
        assert isinstance(node, StableNode) and node.kpfn in (old.pfn, None)
        if node.kpfn is not None:
            node.kpfn = new.pfn

    def forget_range(self, state: State, first: int, end: int) -> None:
        """Drop the nodes that still point into frames that are gone."""
        self.nodes = [node for node in self.nodes if node.kpfn is None or not first <= node.kpfn < end]

    def unmerge(self, state: State, task: Task, vma: Vma, start: int, end: int) -> None:
        """Break every KSM page of a range."""

    def scan(self, state: State, task: Task) -> int:
        """One round over everything that may be merged."""
        return 0

    def in_order(self) -> list[StableNode]:
        """The stable nodes by the frame they name."""
        return sorted(self.nodes, key=lambda node: node.kpfn or 0)
