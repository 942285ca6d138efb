"""The engine itself as a call: pages by frame number, through nobody's address space.

Neighbours: `pagemig.Machine.migrate_pages`, the verb. No ``mmap_sem`` is held, as when memory
goes offline (Q34), so it can race with munmap, fork and mprotect of every task that maps a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..arguments import integer, nodes_in
from ..errors import UsageError
from ..results import Anywhere, ByPage, MigrationResult, ToNode, frame_list
from .value import Plain

if TYPE_CHECKING:
    from ..system import System


@dataclass(frozen=True, slots=True)
class MigrateFrames(Plain):
    """See `pagemig.Machine.migrate_pages`."""

    pfns: tuple[int, ...]
    target: ToNode | Anywhere | ByPage
    offlining: bool

    def _request(self, system: System, pid: int) -> _core.Request:
        listed = frame_list(self.pfns, system.frames)
        kind, node, nodes = 1, 0, np.zeros(listed.size, dtype=np.int32)
        if isinstance(self.target, ToNode):
            kind, node = 0, _node_with_memory(system, self.target.node)
        elif isinstance(self.target, ByPage):
            wanted = [_node_with_memory(system, self.target.node_of(pfn)) for pfn in listed.tolist()]
            kind, nodes = 2, np.array(wanted, dtype=np.int32)
        return _core.Request.migrate_frames(listed, kind, node, nodes, self.offlining)

    def _result(self, system: System, pid: int, outcome: Any) -> MigrationResult:
        result, *rest = outcome
        return MigrationResult(None if result < 0 else result, -result if result < 0 else None, *rest)


def migrate_frames(
    pfns: Iterable[int], target: ToNode | Anywhere | ByPage, *, offlining: bool = False
) -> MigrateFrames:
    """Isolate pages and move them, in up to ten passes; see `pagemig.Machine.migrate_pages`.

    Parameters
    ----------
    pfns
        Frame numbers, in the order in which they are tried.
    target
        Where to: `pagemig.ToNode`, `pagemig.Anywhere` or `pagemig.ByPage`.
    offlining
        Whether it is done for memory that goes away, which moves KSM pages too.

    Returns
    -------
    MigrateFrames
        The call. Its result is a `pagemig.MigrationResult`.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    if not isinstance(target, (ToNode, Anywhere, ByPage)):
        raise UsageError(f"target is {target!r}; it must be ToNode, Anywhere or ByPage")
    if not isinstance(offlining, bool):
        raise UsageError(f"offlining is {offlining!r}; it must be True or False")
    listed = frame_list(pfns, 1 << 32).tolist()
    return MigrateFrames(tuple(listed), target, offlining)


def _node_with_memory(system: System, node: object) -> int:
    if not system.memory_mask >> system.node(node, "the target node") & 1:
        raise UsageError(
            f"node {node} has no memory; nodes with memory are {list(nodes_in(system.memory_mask))}"
        )
    return integer(node, "the target node")
