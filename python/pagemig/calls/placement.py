"""Calls that place memory by whole nodes and ranges: ``migrate_pages`` and ``mbind``.

Neighbours: `pagemig.syscalls`, whose checks they make when they are started.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from ..arguments import node_mask
from ..errors import UsageError
from ..flags import MbindFlags
from ..policy import Policy, require_policy
from ..region import HasPid, Region, require_own
from ..syscalls.mbind import prepare as prepare_mbind
from ..syscalls.migrate_pages import prepare as prepare_migrate
from .value import Plain, checked, refuse, target_pid

if TYPE_CHECKING:
    from ..system import System


@dataclass(frozen=True, slots=True)
class MigratePages(Plain):
    """See `pagemig.Task.migrate_pages`."""

    target: int
    old_mask: int
    new_mask: int

    def _request(self, system: System, pid: int) -> _core.Request:
        made = prepare_migrate(system, pid, self.target, self.old_mask, self.new_mask)
        return checked(made, "migrate_pages")

    def _result(self, system: System, pid: int, outcome: Any) -> int:
        refuse(outcome, "migrate_pages")
        return int(outcome)


def migrate_pages(
    target: HasPid | int | None, old_nodes: Iterable[int], new_nodes: Iterable[int]
) -> MigratePages:
    """Move all pages from some nodes to others; see `pagemig.Task.migrate_pages`.

    Parameters
    ----------
    target
        Whose pages: a task or pid; None for those of the task that makes the call.
    old_nodes, new_nodes
        Node ids: sets, without order. The i-th of the old goes to the i-th of the new, counted
        cyclically.

    Returns
    -------
    MigratePages
        The call. Its result is how many pages were isolated but did not move.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    old, new = node_mask(old_nodes, "old_nodes"), node_mask(new_nodes, "new_nodes")
    return MigratePages(target_pid(target), old, new)


@dataclass(frozen=True, slots=True)
class Mbind(Plain):
    """See `pagemig.Task.mbind`."""

    region: Region
    policy: Policy
    flags: MbindFlags

    def prepare(self, system: System, pid: int) -> _core.Request | int:
        """Make the checks; return what the engine shall do, or the result if the call is over."""
        require_own(self.region, pid)
        region = self.region
        return prepare_mbind(system, pid, region.start, region.length, self.policy, int(self.flags))

    def _request(self, system: System, pid: int) -> _core.Request:
        return checked(self.prepare(system, pid), "mbind")

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "mbind")


def mbind(region: Region, policy: Policy, *, flags: MbindFlags = MbindFlags.NONE) -> Mbind:
    """Give a range a policy, and move its pages there; see `pagemig.Task.mbind`.

    What the policy comes to in the caller's cpuset is worked out when the call has ``mmap_sem``. A
    region without pages cannot be started.

    Parameters
    ----------
    region
        The range; of the task that makes the call.
    policy
        Where its new pages go.
    flags
        What becomes of pages that are there already.

    Returns
    -------
    Mbind
        The call. It has no result.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    if not isinstance(region, Region):
        raise UsageError(f"region is {region!r}; it must be a Region")
    if not isinstance(flags, MbindFlags):
        raise UsageError(f"flags is {flags!r}; it must be MbindFlags")
    return Mbind(region, require_policy(policy), flags)
