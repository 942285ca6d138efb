"""A simulated process: what it is in, its life, its files, and where its pages are.

`Task` is a handle: a machine and a pid. Verbs that take time run to their end at once; the
same verbs as calls that can be stopped and raced are in `pagemig.calls`.

Neighbours: `pagemig.task_view` for what a task is, `pagemig.task_memory` for what it does with its
memory, `pagemig.region` for ranges of memory, `pagemig.syscalls` for what the kernel checks.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from . import calls
from .arguments import Nodes, require_bool, require_scope, wanted_nodes
from .calls.value import Progress, refuse, run_now, target_pid
from .cpuset import Cpuset
from .errors import UsageError, syscall_error
from .file import File
from .flags import MPOL_MF_MOVE, MbindFlags, MoveScope
from .memcg import Memcg
from .policy import Policy, require_policy
from .region import HasPid, Region, Where, pages_in
from .syscalls.move_pages import prepare, statuses_of
from .syscalls.set_mempolicy import replace as replace_policy
from .system import System
from .task_memory import TaskMemory


class Task(TaskMemory):
    """A simulated process. Made by `pagemig.Machine.spawn` and `pagemig.Task.fork`.

    Two handles are equal if they name the same task of the same machine.

    Every verb can raise besides what it says: `pagemig.UsageError` if an argument is not of its kind, if the
    task has gone or has no memory, if it would have to wait for a call in flight, or if the host has no room
    for what it needs; `pagemig.MachineBusyError` while another thread runs the machine. Nothing has changed
    then.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[64 * pm.MiB] * 2)
    >>> app = machine.spawn("app")
    >>> heap = app.mmap(3 * pm.PAGE_SIZE)
    >>> app.touch(heap).minor
    3
    >>> machine.drain()
    >>> app.move_pages(heap, 1)
    array([1, 1, 1], dtype=int32)
    """

    __slots__ = ()

    def __init__(self, system: System, pid: int) -> None:
        self._system = system
        self._pid = pid

    # its groups -------------------------------------------------------------------------

    @property
    def cpuset(self) -> Cpuset | None:
        """The cpuset it is in; None if its nodes were given to it by hand."""
        number = self._system.core.task_groups(self._pid)[0]
        return None if number is None else Cpuset(self._system, number)

    @property
    def memcg(self) -> Memcg:
        """The memory cgroup that pays for its pages."""
        return Memcg(self._system, self._system.core.task_groups(self._pid)[1])

    def signal(self, *, pending: bool = True) -> None:
        """Send it a signal that nobody handles, or take it back.

        Only offlining looks at signals, between its rounds (S48): it gives up with EINTR.

        Parameters
        ----------
        pending
            Whether there is one from now on.
        """
        self._system.core.set_signal(self._pid, require_bool(pending, "pending"))

    # its files --------------------------------------------------------------------------

    def read_file(self, file: File, offset: int, size: int) -> bytes:
        """Read bytes of a file through the page cache; see `pagemig.File.read`.

        Parameters
        ----------
        file
            Which one.
        offset
            Of the first byte.
        size
            How many bytes, at most 1 GiB.

        Returns
        -------
        bytes
            Those that there are, up to the end of the file.

        Raises
        ------
        OSError
            EIO: the disk failed; ENOMEM: no frame, or a refused charge.
        """
        return _file(file).read(offset, size, by=self)

    def write_file(
        self, file: File, offset: int, data: bytes | None = None, *, size: int | None = None
    ) -> int:
        """Write bytes to a file through the page cache; see `pagemig.File.write`.

        Parameters
        ----------
        file
            Which one.
        offset
            Of the first byte.
        data
            What to write, at most 1 GiB.
        size
            Instead of ``data``: how many bytes that nobody looks at.

        Returns
        -------
        int
            How many bytes were written.

        Raises
        ------
        OSError
            EIO: the disk failed; ENOMEM: no frame, or a refused charge.
        """
        return _file(file).write(offset, data, size=size, by=self)

    # its life ---------------------------------------------------------------------------

    def fork(self, name: str | None = None) -> Task:
        """Make a child that shares all pages copy-on-write.

        Parameters
        ----------
        name
            What to call it; by default as its parent.

        Returns
        -------
        Task
            The child.

        Raises
        ------
        OSError
            ENOMEM: no room for the child's page tables.
        """
        child: Task = self._run(calls.fork(name))
        return child

    def exit(self) -> None:
        """End the task: its memory is freed and its pid names nobody afterwards.

        Raises
        ------
        UsageError
            Another call of the task is in flight.
        """
        self._run(calls.exit())

    # where its pages are ----------------------------------------------------------------

    def move_pages(
        self,
        pages: Where,
        nodes: npt.ArrayLike | None = None,
        *,
        target: HasPid | int | None = None,
        scope: MoveScope = MoveScope.EXCLUSIVE,
        progress: Progress | None = None,
    ) -> Nodes:
        """Move pages to nodes, or ask where they are.

        Parameters
        ----------
        pages
            A region, or addresses (any byte of a page will do).
        nodes
            Where to: one node for all, or one for each page. None: do not move, only ask.
        target
            Whose pages: a task or pid; by default this task's own.
        scope
            Whether pages that something else maps too are moved.
        progress
            As for `touch`.

        Returns
        -------
        numpy.ndarray
            int32, one a page: the node where it is now, or a negative errno. **A page that
            would not move is a number, not an exception.** Read-only.

        Raises
        ------
        OSError
            The call itself failed; ``statuses`` of the exception holds what it had written. ESRCH: no
            such task; EINVAL: it has no memory; EPERM: not allowed; ENODEV: no such node, or one without
            memory; EACCES: one that is not the target's; ENOMEM: the node has no room. A
            `pagemig.SecurityHook` gives its own.
        UsageError
            The arguments make no sense, or the region lies in another task.
        """
        system, pid = self._system, self._pid
        number = 0 if target is None else self._target_pid(target)
        where = pages_in(pages, number or pid)
        count = len(where)
        wanted = None if nodes is None else wanted_nodes(nodes, count)
        flags = MPOL_MF_MOVE if scope is MoveScope.EXCLUSIVE else require_scope(scope).value
        request = prepare(system, pid, number, count, where, wanted, 4 * count, flags)
        if isinstance(request, int):
            raise syscall_error(-request, "move_pages", np.empty(0, dtype=np.int32))
        return statuses_of(
            system.do(
                pid, request, lambda: calls.move_pages(pages, nodes, target=target, scope=scope), progress
            )
        )

    def migrate_pages(
        self,
        target: HasPid | int | None,
        old_nodes: Iterable[int],
        new_nodes: Iterable[int],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Move all pages of a task from some nodes to others.

        Parameters
        ----------
        target
            Whose pages: a task or pid; None for this task's own.
        old_nodes, new_nodes
            Node ids: sets, without order. The i-th of the old goes to the i-th of the new,
            counted cyclically.
        progress
            As for `touch`; if it raises, the call stays in flight.

        Returns
        -------
        int
            How many pages were isolated but did not move.

        Raises
        ------
        OSError
            ESRCH: no such task; EPERM: not allowed, or a node that is not the target's; EINVAL: the
            target or a new node has no memory; ENOMEM: no room anywhere. A `pagemig.SecurityHook` gives
            its own.
        """
        what = calls.migrate_pages(self._target_pid(target), old_nodes, new_nodes)
        return int(run_now(self._system, self._pid, what, progress))

    def set_mempolicy(self, policy: Policy) -> None:
        """Set where new pages go in areas without a policy of their own.

        Parameters
        ----------
        policy
            Where; seen through the cpuset that the task has now.

        Raises
        ------
        OSError
            EINVAL: the policy contradicts itself, or names no permitted node with memory.
        """
        code = replace_policy(self._system, self._pid, require_policy(policy))
        refuse(code, "set_mempolicy")

    def mbind(
        self,
        region: Region,
        policy: Policy,
        *,
        flags: MbindFlags = MbindFlags.NONE,
        progress: Progress | None = None,
    ) -> None:
        """Set where new pages of a region go.

        Parameters
        ----------
        region
            The range: of this task; an empty one is done at once.
        policy
            Where; seen through the cpuset that the task has now.
        flags
            What becomes of pages that are there already; by default they stay.
        progress
            As for `touch`, of the pages that move; if it raises, the call stays in flight.

        Raises
        ------
        OSError
            EINVAL as `set_mempolicy`; EPERM: ``MOVE_ALL`` without CAP_SYS_NICE; EFAULT: the
            region has holes; EIO: ``STRICT`` was given, and a page is elsewhere already or, with
            ``MOVE`` or ``MOVE_ALL``, did not move.
        """
        system, what = self._system, calls.mbind(region, policy, flags=flags)
        made = what.prepare(system, self._pid)
        refuse(made if isinstance(made, int) else system.do(self._pid, made, lambda: what, progress), "mbind")

    def _target_pid(self, target: HasPid | int | None) -> int:
        if getattr(target, "_system", self._system) is not self._system:
            raise UsageError(f"{target!r} belongs to another machine; use machine.task(...) of this one")
        return target_pid(target)


def _file(file: File) -> File:
    """Return ``file`` if it is one."""
    if not isinstance(file, File):
        raise UsageError(f"file is {file!r}; it must be a File, such as machine.file('name')")
    return file
