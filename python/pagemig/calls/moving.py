"""The call that moves pages one by one, or asks where they are: ``move_pages``.

Neighbours: `pagemig.Task.move_pages`, whose verb it is; `pagemig.syscalls`, whose checks it makes when it
is started; `placement` has the calls for whole nodes and ranges.

Source: syscalls 2 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..arguments import address_array, read_only, require_scope, wanted_nodes
from ..errors import syscall_error
from ..flags import MoveScope
from ..region import HasPid, Region, Where, pages_in
from ..results import ArrayValue
from ..syscalls.move_pages import prepare, statuses_of
from ..user_memory import UserMemory, UserPointer, writable_bytes, write_bytes
from .value import target_pid

if TYPE_CHECKING:
    from ..system import System


@dataclass(frozen=True, slots=True, eq=False)
class MovePages(ArrayValue):
    """See `pagemig.Task.move_pages`."""

    pages: Region | npt.NDArray[np.uint64]
    nodes: int | npt.NDArray[np.int32] | None
    target: int
    scope: MoveScope
    status: npt.NDArray[Any] | UserMemory | None

    def _request(self, system: System, pid: int) -> _core.Request:
        where = pages_in(self.pages, self.target or pid)
        count = len(where)
        wanted = None if self.nodes is None else wanted_nodes(self.nodes, count)
        room = 4 * count if self.status is None else writable_bytes(self.status, "status")
        made = prepare(system, pid, self.target, count, where, wanted, room, self.scope.value)
        if isinstance(made, int):
            raise syscall_error(-made, "move_pages", np.empty(0, dtype=np.int32))
        return made

    def _result(self, system: System, pid: int, outcome: Any) -> npt.NDArray[np.int32]:
        return statuses_of(outcome)

    def _deliver(self, core: _core.Machine, number: int, done: int) -> int:
        if self.status is None:
            return done
        outcome = core.outcome(number) if core.call(number)[2] else None
        statuses = core.statuses(number) if outcome is None else outcome[1]
        written = statuses.nbytes if outcome is None else outcome[2]
        write_bytes(self.status, statuses, done, written)
        return int(written)

    def _for_clone(self) -> MovePages:
        status = self.status
        if status is not None:
            status = status.copy()
        return MovePages(self.pages, self.nodes, self.target, self.scope, status)

    def __post_init__(self) -> None:
        """See that statuses fit into ``status``, and leave it open for writing."""
        if self.status is not None:
            writable_bytes(self.status, "status")


def move_pages(
    pages: Where,
    nodes: npt.ArrayLike | None = None,
    *,
    target: HasPid | int | None = None,
    scope: MoveScope = MoveScope.EXCLUSIVE,
    status: UserPointer = None,
) -> MovePages:
    """Move pages, or ask where they are; see `pagemig.Task.move_pages`.

    Parameters
    ----------
    pages
        A region, or addresses, shape (pages,); any byte of a page will do.
    nodes
        Where to: one node for all, or one for each page. None: do not move, only ask.
    target
        Whose pages: a task or pid; by default those of the task that makes the call.
    scope
        Whether pages that something else maps too are moved.
    status
        User memory that the statuses are written to as the call goes on: an int32 array or a
        `pagemig.UserMemory`; what it has no room for faults. By default only the result has them.

    Returns
    -------
    MovePages
        The call. Its result is the statuses: int32, shape (pages,), read-only.

    Raises
    ------
    UsageError
        An argument is not of its kind, or there are not as many nodes as pages.
    """
    where = pages if isinstance(pages, Region) else read_only(address_array(pages, "pages").copy())
    wanted = None if nodes is None else wanted_nodes(nodes, len(where))
    if isinstance(wanted, np.ndarray):
        wanted = read_only(wanted.copy())
    return MovePages(where, wanted, target_pid(target), require_scope(scope), status)
