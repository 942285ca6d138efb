"""Memory cgroups: who pays for pages, and how many he may have.

`Memcg` is a handle, made by `pagemig.Machine.create_memcg`. Until a machine has its first group
nothing is charged to anybody.

Source: data-model 9, supporting-paths 13. Left out: moving charges when a task changes its group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .arguments import integer
from .errors import UsageError, said_by, syscall_error
from .flags import PAGE_SIZE
from .region import HasPid
from .system import System

if TYPE_CHECKING:
    from .task import Task

LIMIT_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class MemcgStatistics:
    """What a group has, bytes (``memory.stat``). Quirks can make ``mapped_file`` negative (Q17)."""

    cache: int
    """Page cache."""
    rss: int
    """Anonymous memory."""
    mapped_file: int
    """Page cache that is mapped."""
    swapout: int
    """Memory that was swapped out."""


class Memcg:
    """A memory cgroup. Made by `pagemig.Machine.create_memcg`.

    Two handles are equal if they name the same group of the same machine.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB])
    >>> group = machine.create_memcg("batch", limit=100_000)
    >>> group.limit, group.usage
    (98304, 0)
    >>> app = machine.spawn(memcg=group)
    >>> app.touch(app.mmap(2 * pm.PAGE_SIZE)).minor
    2
    >>> group.usage, group.statistics.rss
    (8192, 8192)
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
    def parent(self) -> Memcg | None:
        """The group it is in, None of the root."""
        parent = self._row[2]
        return None if parent is None else Memcg(self._system, parent)

    @property
    def usage(self) -> int:
        """Bytes charged to it and to the groups below it. The root's is not kept and reads 0."""
        return int(self._row[3]) * PAGE_SIZE

    @property
    def limit(self) -> int | None:
        """Bytes at most; None for no limit. Whole pages: what is set is rounded down.

        Raises
        ------
        OSError
            EBUSY: set below what is used.
        UsageError
            The root has no limit, and can be given none.
        """
        pages = self._row[4]
        return None if pages is None else int(pages) * PAGE_SIZE

    @limit.setter
    def limit(self, limit: int | None) -> None:
        if self._number == 0:
            raise UsageError("the root group has no limit and can be given none")
        code = self._system.core.set_memcg_limit(self._number, limit_pages(limit))
        if code:
            raise syscall_error(-code, "memory.limit_in_bytes")

    @property
    def statistics(self) -> MemcgStatistics:
        """What it has, by kind."""
        return MemcgStatistics(*(int(pages) * PAGE_SIZE for pages in self._row[5:9]))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Its tasks, in the order of their pids."""
        system = self._system
        pids = (pid for pid in system.core.pids() if system.core.task_groups(pid)[1] == self._number)
        return tuple(system.make_task(system, pid) for pid in pids)

    def attach(self, task: HasPid | int) -> None:
        """Make it pay for what a task takes from now on.

        Parameters
        ----------
        task
            Whom, or his pid.

        Raises
        ------
        UsageError
            The machine has no such task.
        """
        self._system.core.attach_memcg(self._number, self._system.pid_of(task))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Memcg):
            return NotImplemented
        return self._system is other._system and self._number == other._number

    def __hash__(self) -> int:
        return hash((id(self._system), self._number))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with its machine."""
        return Memcg, (self._system, self._number)

    def __repr__(self) -> str:
        return f"<Memcg {self._number} {said_by(lambda: repr(self.name))}>"

    @property
    def _row(self) -> tuple[Any, ...]:
        return self._system.core.memcgs(self._number)[0]


def limit_pages(limit: int | None) -> int | None:
    """Return a limit in pages, rounded down; None for none."""
    return None if limit is None else integer(limit, "limit", high=LIMIT_MAX) // PAGE_SIZE
