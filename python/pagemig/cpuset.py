"""Cpusets: which nodes a group of tasks may allocate from.

`Cpuset` is a handle, made by `pagemig.Machine.create_cpuset`. A task that is in none has the
nodes that it was given by hand (`pagemig.Task.mems_allowed`).

Source: data-model 10, supporting-paths 18. Left out: CPUs of a cpuset.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import calls
from .arguments import nodes_in, require_bool
from .calls.value import run_now
from .errors import said_by
from .region import HasPid
from .system import System

if TYPE_CHECKING:
    from .task import Task


class Cpuset:
    """A cpuset. Made by `pagemig.Machine.create_cpuset`.

    Two handles are equal if they name the same cpuset of the same machine. ``by`` of a verb is the
    task that writes: it is the one that moves pages, if pages are to follow. By default the kernel
    does.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB] * 2)
    >>> app = machine.spawn()
    >>> group = machine.create_cpuset("group", mems=[1])
    >>> group.attach(app)
    >>> app.mems_allowed, group.tasks == (app,)
    (frozenset({1}), True)
    """

    __slots__ = ("_number", "_system")

    def __init__(self, system: System, number: int) -> None:
        self._system = system
        self._number = number

    @property
    def number(self) -> int:
        """Its number on the machine; 0 is the root."""
        return self._number

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self._row[1])

    @property
    def parent(self) -> Cpuset | None:
        """The cpuset it is in, None of the root."""
        parent = self._row[2]
        return None if parent is None else Cpuset(self._system, parent)

    @property
    def mems(self) -> frozenset[int]:
        """Its nodes. Setting them is `set_mems` by the kernel."""
        return frozenset(nodes_in(self._row[3]))

    @mems.setter
    def mems(self, mems: Iterable[int]) -> None:
        self.set_mems(mems)

    @property
    def memory_migrate(self) -> bool:
        """Whether pages follow when nodes change, and when a task comes in; may be set."""
        return bool(self._row[4])

    @memory_migrate.setter
    def memory_migrate(self, is_on: bool) -> None:
        self._system.core.set_memory_migrate(self._number, require_bool(is_on, "memory_migrate"))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Its tasks, in the order of their pids."""
        system = self._system
        return tuple(system.make_task(system, pid) for pid in sorted(system.core.cpuset_pids(self._number)))

    def set_mems(self, mems: Iterable[int], *, by: HasPid | None = None) -> None:
        """Give it other nodes; its tasks, their policies and, if so wanted, their pages follow.

        Parameters
        ----------
        mems
            Its new nodes, ids.
        by
            Who; by default the kernel.

        Raises
        ------
        OSError
            EACCES: it is the root, or a node is not its parent's; EINVAL: a node without memory;
            EBUSY: a cpuset in it has a node that would go; ENOSPC: none left, but it has tasks.
        """
        self._run(calls.set_cpuset_mems(self, mems), by)

    def attach(self, task: HasPid | int, *, by: HasPid | None = None) -> None:
        """Put a task into it, out of the one it was in.

        Parameters
        ----------
        task
            Whom, or his pid.
        by
            Who; by default the kernel.

        Raises
        ------
        OSError
            ENOSPC: it has no nodes; ESRCH: the task has ended before its turn came.
        UsageError
            The machine has no such task.
        """
        self._run(calls.attach_cpuset(self, self._system.pid_of(task)), by)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cpuset):
            return NotImplemented
        return self._system is other._system and self._number == other._number

    def __hash__(self) -> int:
        return hash((id(self._system), self._number))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with its machine."""
        return Cpuset, (self._system, self._number)

    def __repr__(self) -> str:
        return f"<Cpuset {self._number} {said_by(lambda: repr(self.name))}>"

    @property
    def _row(self) -> tuple[Any, ...]:
        return self._system.core.cpusets(self._number)[0]

    def _run(self, what: Any, by: HasPid | None) -> Any:
        return run_now(self._system, self._system.acting(by), what)
