"""Calls that change cpusets: their nodes, and who is in them.

A cpuset is given as a `pagemig.Cpuset` or its number; values hold the number.

Neighbours: `pagemig.Cpuset`, whose verbs these are. Source: supporting-paths 18; all refusals
are the core's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from ..arguments import integer, node_mask
from ..call import HandleNumber
from ..region import HasPid
from .value import HasNumber, Plain, refuse

if TYPE_CHECKING:
    from ..system import System

_CPUSET_MAX = (1 << 16) - 1
_PID_MAX = (1 << 31) - 1


def cpuset_number(cpuset: HasNumber | int) -> int:
    """Return the number of a cpuset; 0 is the root."""
    return HandleNumber.of(cpuset, integer(getattr(cpuset, "number", cpuset), "cpuset", high=_CPUSET_MAX))


@dataclass(frozen=True, slots=True)
class SetCpusetMems(Plain):
    """See `pagemig.Cpuset.set_mems`."""

    cpuset: int
    mask: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.set_cpuset_mems(self.cpuset, self.mask)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "cpuset.mems")


def set_cpuset_mems(cpuset: HasNumber | int, mems: Iterable[int]) -> SetCpusetMems:
    """Give a cpuset other nodes; see `pagemig.Cpuset.set_mems`.

    Parameters
    ----------
    cpuset
        Which one, or its number.
    mems
        Its new nodes, ids.

    Returns
    -------
    SetCpusetMems
        The call. It has no result.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    return SetCpusetMems(cpuset_number(cpuset), node_mask(mems, "mems"))


@dataclass(frozen=True, slots=True)
class AttachCpuset(Plain):
    """See `pagemig.Cpuset.attach`."""

    cpuset: int
    task: int

    def _request(self, system: System, pid: int) -> _core.Request:
        system.facts(self.task)
        return _core.Request.attach_cpuset(self.cpuset, self.task)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "cpuset.tasks")


def attach_cpuset(cpuset: HasNumber | int, task: HasPid | int) -> AttachCpuset:
    """Put a task into a cpuset; see `pagemig.Cpuset.attach`.

    Parameters
    ----------
    cpuset
        Which one, or its number.
    task
        Whom, or his pid.

    Returns
    -------
    AttachCpuset
        The call. It has no result.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    pid = HandleNumber.of(task, integer(getattr(task, "pid", task), "task", 1, _PID_MAX))
    return AttachCpuset(cpuset_number(cpuset), pid)
