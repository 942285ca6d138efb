"""Calls that access memory: touching, reading and writing it, and holding on to a page.

Neighbours: `pagemig.Task`, whose verbs these are. Source: supporting-paths 1, 2 and 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..arguments import address_array, integer, read_only, require_bool
from ..errors import UsageError, syscall_error
from ..flags import USER_END, GiB
from ..region import Region, Where
from ..results import AccessResult, ArrayValue
from .batch import access_request, accesses_of, stores_in
from .value import Plain

if TYPE_CHECKING:
    from ..system import System

READ_MAX = GiB
"""Bytes of the longest read: the host must hold what comes back."""


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
    """Fault pages in; see `pagemig.Task.touch`.

    Parameters
    ----------
    where
        A region, or addresses, in the order of the accesses.
    write
        Whether to store (the byte that is there already) or to load.

    Returns
    -------
    Touch
        The call. Its result is a `pagemig.AccessResult`.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    return Touch(_kept(where), require_bool(write, "write"))


def access(addresses: Where, writes: npt.ArrayLike) -> Touch:
    """Play a batch of accesses; see `pagemig.Task.access`.

    Parameters
    ----------
    addresses
        Where, one entry an access, in order; or a region.
    writes
        Whether each is a store: bool array of the same length, or one bool for all.

    Returns
    -------
    Touch
        The call. Its result is a `pagemig.AccessResult`.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    stores = stores_in(writes)
    return Touch(_kept(addresses), read_only(np.array(stores)) if stores.ndim else bool(stores))


def _kept(where: Where) -> Region | npt.NDArray[np.uint64]:
    return where if isinstance(where, Region) else address_array(where, "addresses").copy()


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
    """Read bytes; see `pagemig.Task.read`.

    Parameters
    ----------
    address
        Of the first byte.
    size
        How many bytes, at most 1 GiB.

    Returns
    -------
    Read
        The call. Its result is the bytes.

    Raises
    ------
    UsageError
        The bytes are too many, or leave user space.
    """
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
    """Write bytes; see `pagemig.Task.write`.

    Parameters
    ----------
    address
        Of the first byte.
    data
        What to write; copied.

    Returns
    -------
    Write
        The call. It has no result.

    Raises
    ------
    UsageError
        ``data`` is not bytes, or leaves user space.
    """
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
    """Take a reference on the page at an address; see `pagemig.Task.pin`.

    Parameters
    ----------
    address
        Any byte of the page.
    write
        Whether the page shall be written to, so that a shared one is copied first.

    Returns
    -------
    Pin
        The call. Its result is the frame number, or None if there is no page to be had.

    Raises
    ------
    UsageError
        The address is not in user space, or ``write`` is no bool.
    """
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
    """Drop a reference taken by `pin`; see `pagemig.Task.unpin`.

    Parameters
    ----------
    pfn
        The frame number that the pin gave.

    Returns
    -------
    Unpin
        The call. It has no result.

    Raises
    ------
    UsageError
        ``pfn`` is no frame number.
    """
    return Unpin(integer(pfn, "pfn"))
