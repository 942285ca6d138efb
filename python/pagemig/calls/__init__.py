"""Everything a task can be in the middle of, as values for `pagemig.Machine.start`.

Each function here has the name and the arguments of a verb of `pagemig.Task`, `pagemig.Machine`
or one of its handles, and returns a frozen value that does nothing by itself. `run_now` drives
one to its end at once: that is what the verbs are. So a verb and a call in flight are the same
code. `placement` has the calls that move whole nodes and ranges, `files`, `memory`, `cpusets`
and `kernel` those that their names say.

Source: architecture "Steps"; errors and order of checks as in each verb.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..arguments import address_array, integer, node_array, read_only
from ..errors import OutOfMemoryError, UsageError, syscall_error
from ..flags import USER_END, GiB, MoveScope, Protection
from ..region import HasPid, Region, Where, addresses_in, require_own
from ..results import AccessResult, ArrayValue
from ..syscalls.move_pages import prepare
from ..user_memory import UserMemory, UserPointer, writable_bytes, write_bytes
from .cpusets import attach_cpuset, set_cpuset_mems
from .engine import migrate_frames
from .files import (
    complete_io,
    invalidate,
    lookup,
    read_file,
    truncate,
    write_file,
    writeback,
)
from .kernel import ksm_scan, offline, reclaim, soft_offline
from .memory import madvise, mremap, swap_out
from .placement import mbind, migrate_pages
from .value import Plain, refuse, target_pid

if TYPE_CHECKING:
    from ..system import System

READ_MAX = GiB
"""Bytes of the longest read: the host must hold what comes back."""

# move_pages ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class MovePages(ArrayValue):
    """See `pagemig.Task.move_pages`."""

    pages: Region | npt.NDArray[np.uint64]
    nodes: int | npt.NDArray[np.int32] | None
    target: int
    scope: MoveScope
    status: npt.NDArray[Any] | UserMemory | None

    def _request(self, system: System, pid: int) -> _core.Request:
        where = addresses_in(self.pages, self.target or pid)
        count = where.size
        wanted = None if self.nodes is None else node_array(self.nodes, count)
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

    ``status`` is user memory that the statuses are written to as the call goes on: an int32
    array or a `pagemig.UserMemory`.
    """
    where = pages if isinstance(pages, Region) else read_only(address_array(pages, "pages").copy())
    wanted: int | npt.NDArray[np.int32] | None
    if nodes is None or isinstance(nodes, int):
        wanted = nodes if nodes is None else integer(nodes, "nodes", -(1 << 31), (1 << 31) - 1)
    else:
        count = len(where) if isinstance(where, Region) else where.size
        wanted = read_only(node_array(nodes, count).copy())
    return MovePages(where, wanted, target_pid(target), require_scope(scope), status)


def require_scope(scope: MoveScope) -> MoveScope:
    """Return ``scope`` if it is one."""
    if not isinstance(scope, MoveScope):
        raise UsageError(f"scope is {scope!r}; it must be MoveScope.EXCLUSIVE or MoveScope.SHARED")
    return scope


def statuses_of(outcome: tuple[int, npt.NDArray[np.int32], int]) -> npt.NDArray[np.int32]:
    """Return the statuses of a ``move_pages`` call, or raise its failure with those written."""
    result, statuses, written = outcome
    if result < 0:
        raise syscall_error(-result, "move_pages", read_only(statuses[: written // 4]))
    return statuses


# accesses --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Touch(Plain, ArrayValue):
    """See `pagemig.Task.touch` and `pagemig.Task.access`."""

    where: Region | npt.NDArray[np.uint64]
    write: bool | npt.NDArray[np.bool_]
    """Whether each is a store: one for all, or an array."""

    def _request(self, system: System, pid: int) -> _core.Request:
        return access_request(self.where, self.write, pid)

    def _result(self, system: System, pid: int, outcome: Any) -> AccessResult:
        return accesses_of(outcome)


def touch(where: Where, *, write: bool = True) -> Touch:
    """Fault pages in; see `pagemig.Task.touch`."""
    return Touch(_kept(where), require_bool(write, "write"))


def access(addresses: Where, writes: npt.ArrayLike) -> Touch:
    """Play a batch of accesses; see `pagemig.Task.access`."""
    return Touch(_kept(addresses), read_only(np.array(_stores(writes))))


def access_request(where: Where, writes: npt.ArrayLike, pid: int) -> _core.Request:
    """Check a batch of accesses and make the request for it; ``where`` is not copied."""
    stores = _stores(writes)
    if isinstance(where, Region) and stores.ndim == 0 and len(where):
        require_own(where, pid)
        return _core.Request.touch_range(where.start, len(where), bool(stores))
    addresses = addresses_in(where, pid, "addresses")
    if stores.shape not in ((), addresses.shape):
        raise UsageError(f"writes has shape {stores.shape}; it must be one bool, or {addresses.size} of them")
    stores = np.ascontiguousarray(np.broadcast_to(stores, addresses.shape))
    return _core.Request.touch_list(addresses, stores)


def require_bool(value: object, what: str) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise UsageError(f"{what} is {value!r}; it must be True or False")
    return bool(value)


def _stores(writes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    stores = np.asarray(writes)
    if stores.dtype != np.bool_ or stores.ndim > 1:
        raise UsageError(f"writes is {stores.ndim}-dimensional {stores.dtype}; it must be one bool or a list")
    return stores


def _kept(where: Where) -> Region | npt.NDArray[np.uint64]:
    return where if isinstance(where, Region) else address_array(where, "addresses").copy()


def accesses_of(outcome: Any) -> AccessResult:
    """Return what the core says of a batch of accesses; raise if a page found no frame."""
    hits, minor, major, cow, spurious, sigsegv, sigbus, out_of_memory = outcome
    result = AccessResult(hits, minor, major, cow, spurious, sigsegv, sigbus)
    if out_of_memory:
        raise OutOfMemoryError("no frame for a page that was touched; what happened before stays", result)
    return result


@dataclass(frozen=True, slots=True)
class Read(Plain):
    """See `pagemig.Task.read`."""

    address: int
    size: int

    def _request(self, system: System, pid: int) -> _core.Request:
        _require_contents(system)
        return _core.Request.read(self.address, self.size)

    def _result(self, system: System, pid: int, outcome: Any) -> bytes:
        data, *accesses = outcome
        _refuse_signal(accesses_of(accesses), "read")
        return bytes(data)


def read(address: int, size: int) -> Read:
    """Read bytes; see `pagemig.Task.read`."""
    return Read(*_span(address, integer(size, "size", high=READ_MAX)))


@dataclass(frozen=True, slots=True)
class Write(Plain):
    """See `pagemig.Task.write`."""

    address: int
    data: bytes

    def _request(self, system: System, pid: int) -> _core.Request:
        _require_contents(system)
        return _core.Request.write(self.address, self.data)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        _refuse_signal(accesses_of(outcome), "write")


def write(address: int, data: bytes) -> Write:
    """Write bytes; see `pagemig.Task.write`."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise UsageError(f"data is {type(data).__name__}; it must be bytes")
    kept = bytes(data)
    return Write(_span(address, len(kept))[0], kept)


def _span(address: int, size: int) -> tuple[int, int]:
    start = integer(address, "address")
    if start + size > USER_END:
        raise UsageError(f"{size} bytes at {start:#x} leave user space, which ends at {USER_END:#x}")
    return start, size


def _require_contents(system: System) -> None:
    if not system.contents:
        raise UsageError("this machine has no contents; build it with contents=True")


def _refuse_signal(accesses: AccessResult, call: str) -> None:
    for name, addresses in (("SIGSEGV", accesses.sigsegv), ("SIGBUS", accesses.sigbus)):
        if addresses.size:
            raise syscall_error(14, call, text=f"{name} at {int(addresses[0]):#x}")


# address spaces --------------------------------------------------------------------------


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
    """Make a child; see `pagemig.Task.fork`."""
    return Fork(None if name is None else require_name(name))


def require_name(name: str) -> str:
    """Return ``name`` if a task can be called so."""
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UsageError(f"name is {name!r}; it must be printable text")
    return name


@dataclass(frozen=True, slots=True)
class Exit(Plain):
    """See `pagemig.Task.exit`."""

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.exit()

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        return None


def exit() -> Exit:
    """End the task; see `pagemig.Task.exit`."""
    return Exit()


@dataclass(frozen=True, slots=True)
class Munmap(Plain):
    """See `pagemig.Task.munmap`."""

    region: Region

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.munmap(region.start, region.length)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "munmap")


def munmap(region: Region) -> Munmap:
    """Remove a mapping; see `pagemig.Task.munmap`."""
    return Munmap(region)


@dataclass(frozen=True, slots=True)
class Mprotect(Plain):
    """See `pagemig.Task.mprotect`."""

    region: Region
    protection: Protection

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.mprotect(region.start, region.length, int(self.protection))

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "mprotect")


def mprotect(region: Region, protection: Protection) -> Mprotect:
    """Change what a mapping permits; see `pagemig.Task.mprotect`."""
    return Mprotect(region, require_protection(protection))


def require_protection(protection: Protection) -> Protection:
    """Return ``protection`` if it is one."""
    if not isinstance(protection, Protection):
        raise UsageError(f"protection is {protection!r}; it must be a Protection, such as pm.RW")
    return protection


@dataclass(frozen=True, slots=True)
class Mlock(Plain):
    """See `pagemig.Task.mlock` and `pagemig.Task.munlock`."""

    region: Region
    lock: bool

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.mlock(region.start, region.length, self.lock)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "mlock" if self.lock else "munlock")


def mlock(region: Region) -> Mlock:
    """Lock pages in memory; see `pagemig.Task.mlock`."""
    return Mlock(region, True)


def munlock(region: Region) -> Mlock:
    """Unlock them; see `pagemig.Task.munlock`."""
    return Mlock(region, False)


# references and pagevecs -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pin(Plain):
    """See `pagemig.Task.pin`."""

    address: int
    write: bool

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.pin(self.address, self.write)

    def _result(self, system: System, pid: int, outcome: Any) -> int | None:
        return None if outcome is None else int(outcome)


def pin(address: int, *, write: bool = False) -> Pin:
    """Take a reference on the page at an address; see `pagemig.Task.pin`."""
    return Pin(_span(address, 1)[0], require_bool(write, "write"))


@dataclass(frozen=True, slots=True)
class Unpin(Plain):
    """See `pagemig.Task.unpin`."""

    pfn: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.unpin(system.pfn(self.pfn))

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        return None


def unpin(pfn: int) -> Unpin:
    """Drop a reference taken by `pin`; see `pagemig.Task.unpin`."""
    return Unpin(integer(pfn, "pfn"))


@dataclass(frozen=True, slots=True)
class Drain(Plain):
    """See `pagemig.Machine.drain`."""

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.drain()

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        return None


def drain() -> Drain:
    """Drain all pagevecs; see `pagemig.Machine.drain`."""
    return Drain()


__all__ = [
    "access",
    "attach_cpuset",
    "complete_io",
    "drain",
    "exit",
    "fork",
    "invalidate",
    "ksm_scan",
    "lookup",
    "madvise",
    "mbind",
    "migrate_frames",
    "migrate_pages",
    "mlock",
    "move_pages",
    "mprotect",
    "mremap",
    "munlock",
    "munmap",
    "offline",
    "pin",
    "read",
    "read_file",
    "reclaim",
    "set_cpuset_mems",
    "soft_offline",
    "swap_out",
    "touch",
    "truncate",
    "unpin",
    "write",
    "write_file",
    "writeback",
]
