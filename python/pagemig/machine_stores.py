"""What a machine has besides tasks: files, swap, memory cgroups, cpusets, KSM. Made and found.

`MachineStores` is part of `pagemig.Machine`. Its handles are `pagemig.File`, `pagemig.Memcg`,
`pagemig.Cpuset` and `pagemig.Ksm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from .arguments import file_size, integer, node_mask, require_bool, require_name
from .cpuset import Cpuset
from .errors import UsageError, syscall_error
from .file import File
from .filesystems import EXT, FileSystem
from .ksm import Ksm
from .machine_view import MachineView
from .memcg import Memcg, limit_pages
from .system import System

# What has a number or a name, as rows that begin with both.
_Listing: TypeAlias = Callable[[int | str], Sequence[tuple[Any, ...]]]


class MachineStores(MachineView):
    """The files and groups of `pagemig.Machine`."""

    __slots__ = ()

    # its files ---------------------------------------------------------------------------

    def create_file(self, name: str, size: int, *, filesystem: FileSystem = EXT) -> File:
        """Make a file of zeroes, none of whose pages is in memory.

        Parameters
        ----------
        name
            What to call it: printable text; no other file may be called so.
        size
            Bytes, up to 2^51.
        filesystem
            What can be done with its pages: one of `pagemig.filesystems`, or a `pagemig.FileSystem`.

        Returns
        -------
        File
            Its handle.

        Raises
        ------
        UsageError
            The name is taken, or an argument is not of its kind.
        """
        system = self._system
        _require_new_name(name, system.core.files, "file")
        if not isinstance(filesystem, FileSystem):
            raise UsageError(
                f"filesystem is {filesystem!r}; it must be a FileSystem, such as filesystems.EXT"
            )
        number = system.core.create_file(name, file_size(size), filesystem.for_core)
        system.filesystems[number] = filesystem
        return File(system, number)

    @property
    def files(self) -> tuple[File, ...]:
        """All files, in the order of their numbers; shared anonymous memory has files too."""
        return tuple(File(self._system, number) for number, *_ in self._system.core.files())

    def file(self, which: str | int) -> File:
        """Return a file by its name or number.

        Parameters
        ----------
        which
            What it is called, or its number.

        Returns
        -------
        File
            Its handle, equal to every other one.

        Raises
        ------
        UsageError
            There is no such file.
        """
        return File(self._system, _number_of(which, self._system.core.files, "file"))

    def set_swap_device(self, *, io_ticks: int | None = 1, congested: bool = False) -> None:
        """Say how the disk behind swap behaves.

        Parameters
        ----------
        io_ticks
            Ticks that a transfer takes from now on; None: it never ends.
        congested
            Whether it has more to do than it can, so that reclaim does not write to it.
        """
        ticks = None if io_ticks is None else integer(io_ticks, "io_ticks")
        self._system.core.set_swap_device(ticks, require_bool(congested, "congested"))

    # its groups --------------------------------------------------------------------------

    def create_memcg(self, name: str, *, limit: int | None = None, parent: Memcg | None = None) -> Memcg:
        """Make a memory cgroup; the first one makes the machine count who pays for what.

        Parameters
        ----------
        name
            What to call it: printable text; no other group may be called so.
        limit
            Bytes at most, rounded down to pages; None for no limit.
        parent
            The group it is in, whose limit holds for it too; by default the root.

        Returns
        -------
        Memcg
            Its handle.

        Raises
        ------
        UsageError
            The name is taken, or an argument is not of its kind.
        """
        system = self._system
        _require_new_name(name, system.core.memcgs, "memory cgroup")
        above = 0 if parent is None else own(system, parent, Memcg, "parent")
        return Memcg(system, system.core.create_memcg(name, limit_pages(limit), above))

    @property
    def memcgs(self) -> tuple[Memcg, ...]:
        """All memory cgroups, the root first; before the first is made, the root alone."""
        return tuple(Memcg(self._system, number) for number, *_ in self._system.core.memcgs())

    def memcg(self, which: str | int) -> Memcg:
        """Return a memory cgroup by its name or number.

        Parameters
        ----------
        which
            What it is called, or its number.

        Returns
        -------
        Memcg
            Its handle, equal to every other one.

        Raises
        ------
        UsageError
            There is no such group.
        """
        return Memcg(self._system, _number_of(which, self._system.core.memcgs, "memory cgroup"))

    def create_cpuset(
        self, name: str, *, mems: Iterable[int], memory_migrate: bool = False, parent: Cpuset | None = None
    ) -> Cpuset:
        """Make a cpuset.

        Parameters
        ----------
        name
            What to call it: printable text; no other cpuset may be called so.
        mems
            Its nodes, ids; may be none.
        memory_migrate
            Whether pages follow when the nodes change, and when a task comes in.
        parent
            The cpuset it is in; by default the root.

        Returns
        -------
        Cpuset
            Its handle.

        Raises
        ------
        OSError
            EINVAL: a node without memory; EACCES: a node that is not the parent's.
        UsageError
            The name is taken, or an argument is not of its kind.
        """
        system = self._system
        _require_new_name(name, system.core.cpusets, "cpuset")
        above = 0 if parent is None else own(system, parent, Cpuset, "parent")
        follow = require_bool(memory_migrate, "memory_migrate")
        number = system.core.create_cpuset(name, node_mask(mems, "mems"), follow, above)
        if number < 0:
            raise syscall_error(-number, "cpuset.mems")
        system.expect_cpusets()
        return Cpuset(system, number)

    @property
    def cpusets(self) -> tuple[Cpuset, ...]:
        """All cpusets, the root first."""
        return tuple(Cpuset(self._system, number) for number, *_ in self._system.core.cpusets())

    def cpuset(self, which: str | int) -> Cpuset:
        """Return a cpuset by its name or number.

        Parameters
        ----------
        which
            What it is called, or its number.

        Returns
        -------
        Cpuset
            Its handle, equal to every other one.

        Raises
        ------
        UsageError
            There is no such cpuset.
        """
        return Cpuset(self._system, _number_of(which, self._system.core.cpusets, "cpuset"))

    @property
    def ksm(self) -> Ksm:
        """What it merges."""
        return Ksm(self._system)


def own(system: System, group: Memcg | Cpuset, kind: type[Memcg | Cpuset], what: str) -> int:
    """Return the number of a group of this machine."""
    if not isinstance(group, kind):
        raise UsageError(f"{what} is {group!r}; it must be a {kind.__name__}")
    if group._system is not system:
        raise UsageError(f"{what} is {group!r} of another machine")
    return group.number


def _number_of(which: str | int, listed: _Listing, what: str) -> int:
    """Return the number of what is called or numbered ``which``."""
    if isinstance(which, str):
        rows = listed(which) if which.isprintable() else ()
    else:
        number = integer(which, what)
        rows = listed(number) if number < 1 << 32 else ()
    if not rows:
        raise UsageError(f"no {what} {which!r} on this machine")
    return int(rows[0][0])


def _require_new_name(name: str, listed: _Listing, what: str) -> None:
    """Refuse a name that is none, or that is another's."""
    if listed(require_name(name)):
        raise UsageError(f"there is a {what} called {name!r} already; give it another name")
