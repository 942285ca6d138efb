"""A simulated process: its credentials, its memory, and what it can do.

`Task` is a handle: a machine and a pid. Verbs that take time run to their end at once; the
same verbs as calls that can be stopped and raced are in `pagemig.calls`.

Neighbours: `pagemig.task_view` for what a task is, `pagemig.region` for ranges of memory,
`pagemig.syscalls` for what the kernel checks.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from . import calls
from .arguments import Nodes, node_array, page_multiple
from .calls.files import FILE_BYTES_MAX
from .calls.memory import whole_pages
from .calls.placement import require_policy
from .calls.value import Progress, refuse, run_now, target_pid
from .cpuset import Cpuset
from .errors import UsageError, syscall_error
from .file import File
from .flags import MPOL_MF_MOVE, USER_END, Advice, MbindFlags, MoveScope, Protection, VmFlags
from .memcg import Memcg
from .policy import Policy
from .region import HasPid, Region, Where, addresses_in
from .results import AccessResult
from .syscalls.move_pages import prepare
from .syscalls.set_mempolicy import replace as replace_policy
from .system import System
from .task_view import TaskView

_MAY = VmFlags.MAYREAD | VmFlags.MAYWRITE | VmFlags.MAYEXEC
BY_PROTECTION = VmFlags.READ | VmFlags.WRITE | VmFlags.EXEC | VmFlags.SHARED | VmFlags.MAYSHARE


class Task(TaskView):
    """A simulated process. Made by `pagemig.Machine.spawn` and `Task.fork`.

    Two handles are equal if they name the same task of the same machine.

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

    # its groups --------------------------------------------------------------------------

    @property
    def cpuset(self) -> Cpuset | None:
        """The cpuset it is in; None if its nodes were given to it by hand."""
        number = self._system.core.task_groups(self._pid)[0]
        return None if number is None else Cpuset(self._system, number)

    @property
    def memcg(self) -> Memcg | None:
        """The memory cgroup that pays for its pages; None while the machine has no groups."""
        number = self._system.core.task_groups(self._pid)[1]
        return Memcg(self._system, number) if self._system.core.memcgs() else None

    def signal(self, *, pending: bool = True) -> None:
        """Send it a signal that nobody handles, or take it back.

        Only offlining looks at signals, between its rounds (S48): it gives up with EINTR.
        """
        self._system.core.set_signal(self._pid, calls.require_bool(pending, "pending"))

    # its mappings ------------------------------------------------------------------------

    def mmap(
        self,
        length: int,
        *,
        at: int | None = None,
        protection: Protection = Protection.READ | Protection.WRITE,
        file: File | None = None,
        offset: int = 0,
        shared: bool = False,
        flags: VmFlags | Iterable[VmFlags] = (),
    ) -> Region:
        """Map memory: a file, or anonymous memory without one. Areas are never merged.

        Parameters
        ----------
        length
            Bytes, rounded up to pages as ``mmap(2)`` does.
        at
            Where, page aligned; by default the kernel chooses.
        protection
            What accesses are permitted.
        file
            What to map; it may end before the mapping does.
        offset
            From which byte of the file on, a multiple of the page size.
        shared
            Whether stores reach the file, and others that map it. Without a file: whether children
            share the memory, which is a new file of shmem then.
        flags
            Further flags of the area.

        Raises
        ------
        UsageError
            The range is empty, taken, unaligned or beyond user space, or leaves what a file can have.
        """
        system = self._system
        size = whole_pages(length)
        start = None if at is None else page_multiple(at, "at")
        if start is not None and start + size > USER_END:
            raise UsageError(f"{size:#x} bytes at {start:#x} leave user space, which ends at {USER_END:#x}")
        first = page_multiple(offset, "offset")
        if file is None and first:
            raise UsageError(f"offset is {first:#x}, but there is no file: leave it out")
        if file is not None and not isinstance(file, File):
            raise UsageError(f"file is {file!r}; it must be a File, such as machine.file('name')")
        if file is not None and file._system is not system:
            raise UsageError(f"{file!r} belongs to another machine")
        if first + size > FILE_BYTES_MAX:
            raise UsageError(
                f"{size:#x} bytes from {first:#x} on end beyond {FILE_BYTES_MAX:#x}: no file does"
            )
        vm_flags = int(calls.require_protection(protection)) | _MAY | _area_flags(flags)
        if calls.require_bool(shared, "shared"):
            vm_flags |= VmFlags.SHARED | VmFlags.MAYSHARE
        number = None if file is None else file.number
        return Region(self._pid, system.core.mmap(self._pid, size, start, int(vm_flags), number, first), size)

    def munmap(self, region: Region) -> None:
        """Remove what is mapped in a region, which may have holes."""
        self._run(calls.Munmap(region))

    def mprotect(self, region: Region, protection: Protection) -> None:
        """Change what accesses a region permits.

        Raises
        ------
        OSError
            ENOMEM: part of the region is not mapped.
        """
        self._run(calls.mprotect(region, protection))

    def mlock(self, region: Region) -> None:
        """Fault the pages of a region in and keep them off the reclaimable lists.

        Raises
        ------
        OSError
            ENOMEM: part of the region is not mapped.
        """
        self._run(calls.mlock(region))

    def munlock(self, region: Region) -> None:
        """Undo `mlock`."""
        self._run(calls.munlock(region))

    def mremap(self, region: Region, length: int | None = None, *, to: int | None = None) -> Region:
        """Move a mapping, or change its length.

        Parameters
        ----------
        region
            What is mapped now.
        length
            How long it shall be, bytes, rounded up to pages; by default as it is.
        to
            Where it shall be, page aligned; what is mapped there goes. By default it stays if it
            can, and the kernel chooses if it cannot.

        Returns
        -------
        Region
            Where it is now.

        Raises
        ------
        OSError
            EFAULT: nothing, or more than one area, is mapped there; EINVAL: old and new overlap;
            ENOMEM: no room.
        """
        moved: Region = self._run(calls.mremap(region, length, to=to))
        return moved

    def madvise(self, region: Region, advice: Advice) -> None:
        """Say what a region is for.

        Raises
        ------
        OSError
            ENOMEM: part of the region is not mapped; EINVAL: not for such areas.
        """
        self._run(calls.madvise(region, advice))

    def swap_out(self, where: Where) -> int:
        """Reclaim pages, one after the other, as the kernel does when memory is short.

        Anonymous pages go to swap, file pages to their file; what has to be written first is
        waited for. Uses before do not count, as if the pages had aged; whatever else keeps a page,
        such as a pin or a full swap device, keeps it here.

        Parameters
        ----------
        where
            A region, or addresses.

        Returns
        -------
        int
            How many pages were freed.
        """
        addresses = addresses_in(where, self._pid, "where").tolist()
        return sum(bool(self._run(call)) for call in [calls.swap_out(address) for address in addresses])

    def same(self, region: Region) -> Region:
        """Return this task's view of a region of another task, such as its parent's.

        Raises
        ------
        UsageError
            ``region`` is no `Region`.
        """
        if not isinstance(region, Region):
            raise UsageError(f"region is {region!r}; it must be a Region")
        return Region(self._pid, region.start, region.length)

    # its accesses ------------------------------------------------------------------------

    def touch(self, where: Where, *, write: bool = True, progress: Progress | None = None) -> AccessResult:
        """Access every page once, faulting it in.

        Parameters
        ----------
        where
            A region, or addresses, in the order of the accesses.
        write
            Whether to store (the byte that is there already) or to load.
        progress
            Called now and then during a long call with the pages done and the pages asked for; what it
            raises ends the call there, as Ctrl-C does. The machine refuses it, being busy.

        Raises
        ------
        OutOfMemoryError
            A page found no frame. What happened until then stays.
        """
        return self._accesses(where, calls.require_bool(write, "write"), progress)

    def access(
        self, addresses: Where, writes: npt.ArrayLike, *, progress: Progress | None = None
    ) -> AccessResult:
        """Play a batch of accesses, in order.

        Parameters
        ----------
        addresses
            Where, one entry an access.
        writes
            Whether each is a store: bool array of the same length, or one bool for all.
        progress
            As for `touch`.

        Raises
        ------
        OutOfMemoryError
            As `touch`.
        """
        return self._accesses(addresses, writes, progress)

    def read(self, address: int, size: int) -> bytes:
        """Read bytes through the page tables, faulting as needed.

        Raises
        ------
        OSError
            EFAULT, where a program would get SIGSEGV or SIGBUS.
        UsageError
            The machine has no contents.
        """
        return bytes(self._run(calls.read(address, size)))

    def write(self, address: int, data: bytes) -> None:
        """Write bytes through the page tables, faulting as needed; raises as `read`."""
        self._run(calls.write(address, data))

    def pin(self, address: int, *, write: bool = False) -> int | None:
        """Take a reference on the page at an address, as direct I/O does.

        While it is held the page cannot be moved. Returns the frame number, None if there is
        no page to be had (no mapping, or one that does not permit the access).
        """
        pfn: int | None = self._run(calls.pin(address, write=write))
        return pfn

    def unpin(self, pfn: int) -> None:
        """Drop a reference taken by `pin`."""
        self._run(calls.unpin(pfn))

    # its files ---------------------------------------------------------------------------

    def read_file(self, file: File, offset: int, size: int) -> bytes:
        """Read bytes of a file through the page cache; see `pagemig.File.read`."""
        return file.read(offset, size, by=self)

    def write_file(
        self, file: File, offset: int, data: bytes | None = None, *, size: int | None = None
    ) -> int:
        """Write bytes to a file through the page cache; see `pagemig.File.write`."""
        return file.write(offset, data, size=size, by=self)

    # its life ----------------------------------------------------------------------------

    def fork(self, name: str | None = None) -> Task:
        """Make a child that shares all pages copy-on-write; named as its parent by default.

        Raises
        ------
        OSError
            ENOMEM.
        """
        child: Task = self._run(calls.fork(name))
        return child

    def exit(self) -> None:
        """End the task: its memory is freed and its pid names nobody afterwards."""
        self._run(calls.exit())

    # where its pages are -----------------------------------------------------------------

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
            The call itself failed; ``statuses`` of the exception holds what it had written.
        UsageError
            The arguments make no sense, or the region lies in another task.
        """
        system, pid = self._system, self._pid
        number = 0 if target is None else self._target_pid(target)
        where = addresses_in(pages, number or pid)
        count = where.size
        wanted = None if nodes is None else node_array(nodes, count)
        flags = MPOL_MF_MOVE if scope is MoveScope.EXCLUSIVE else calls.require_scope(scope).value
        request = prepare(system, pid, number, count, where, wanted, 4 * count, flags)
        if isinstance(request, int):
            raise syscall_error(-request, "move_pages", np.empty(0, dtype=np.int32))
        what = partial(calls.move_pages, pages, nodes, target=target, scope=scope)
        return calls.statuses_of(system.do(pid, request, what, progress))

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
            ESRCH, EPERM, EINVAL: no such task, not allowed, a node without memory; ENOMEM.
        """
        what = calls.migrate_pages(self._target_pid(target), old_nodes, new_nodes)
        return int(run_now(self._system, self._pid, what, progress))

    def set_mempolicy(self, policy: Policy) -> None:
        """Set where new pages go in areas without a policy of their own.

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

        ``progress`` is as for `touch`, of the pages that move; if it raises, the call stays in flight.

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

    def _run(self, what: Any) -> Any:
        return run_now(self._system, self._pid, what)

    def _target_pid(self, target: HasPid | int | None) -> int:
        if getattr(target, "_system", self._system) is not self._system:
            raise UsageError(f"{target!r} belongs to another machine; use machine.task(...) of this one")
        return target_pid(target)

    def _accesses(self, where: Where, writes: npt.ArrayLike, progress: Progress | None) -> AccessResult:
        request = calls.access_request(where, writes, self._pid)
        what = partial(calls.access, where, writes)
        return calls.accesses_of(self._system.do(self._pid, request, what, progress))


def _area_flags(flags: VmFlags | Iterable[VmFlags]) -> VmFlags:
    listed = [flags] if isinstance(flags, VmFlags) else flags
    if not isinstance(listed, Iterable) or isinstance(listed, (str, bytes)):
        raise UsageError(f"flags is {flags!r}; it must be VmFlags")
    kept = list(listed)
    for flag in kept:
        if not isinstance(flag, VmFlags):
            raise UsageError(f"flags holds {flag!r}; it must be VmFlags, such as VmFlags.LOCKED")
    extra = reduce(operator.or_, kept, VmFlags(0))
    if extra & BY_PROTECTION:
        raise UsageError(f"flags holds {extra & BY_PROTECTION!r}: say that with protection and shared")
    return extra
