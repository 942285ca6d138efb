"""How a task comes from another, and how it ends: ``fork`` and ``exit``.

Neighbours: `pagemig.Task`, whose verbs these are. Source: supporting-paths 3 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from ..arguments import require_name
from .value import Plain, refuse

if TYPE_CHECKING:
    from ..system import System


@dataclass(frozen=True, slots=True)
class Fork(Plain):
    """See `pagemig.Task.fork`."""

    name: str | None

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.fork(system.facts(pid).name if self.name is None else self.name)

    def _result(self, system: System, pid: int, outcome: Any) -> Any:
        refuse(outcome, "fork")
        return system.make_task(system, outcome)


def fork(name: str | None = None) -> Fork:
    """Make a child; see `pagemig.Task.fork`.

    Parameters
    ----------
    name
        What to call it; by default as its parent.

    Returns
    -------
    Fork
        The call. Its result is the child, a `pagemig.Task`.

    Raises
    ------
    UsageError
        The name is not printable text.
    """
    return Fork(None if name is None else require_name(name))


@dataclass(frozen=True, slots=True)
class Exit(Plain):
    """See `pagemig.Task.exit`."""

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.exit()

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        return None


def exit() -> Exit:
    """End the task; see `pagemig.Task.exit`.

    Returns
    -------
    Exit
        The call. It has no result.
    """
    return Exit()
