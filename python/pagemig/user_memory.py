"""User memory as a system call sees it: bytes that may fault.

A user pointer is None (null), a numpy array, or a `UserMemory`, which is an array of which
only some may be touched. Reading a value works or faults; a fault is not an exception here
but the end of what can be read or written, so every function answers with a length.

Neighbours: `pagemig.syscalls`, which turns lengths into -EFAULT at the right entry.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from .arguments import integer
from .errors import UsageError

_Number = TypeVar("_Number", np.uint64, np.int32)

ADDRESS = np.dtype(np.uint64)
"""The type of an address in user memory."""

NODE = np.dtype(np.int32)
"""The type of a node, and of a status."""

UserPointer: TypeAlias = "npt.NDArray[Any] | UserMemory | None"
"""Null, all of an array, or as much of one as a `UserMemory` permits."""


class UserMemory:
    """An array in user memory of which not every byte can be touched.

    Parameters
    ----------
    array
        The bytes: a contiguous array with one dimension.
    readable, writable
        Whether reading, or writing, is permitted at all.
    valid_bytes
        How many leading bytes exist; the first access beyond faults. By default all.

    Raises
    ------
    UsageError
        ``array`` is not such an array, or shorter than ``valid_bytes``.

    Examples
    --------
    A status array whose third entry lies on a page that is not there:

    >>> status = UserMemory(np.zeros(4, np.int32), valid_bytes=8)
    >>> status
    UserMemory(int32[4], readable=True, writable=True, valid_bytes=8)
    """

    __slots__ = ("array", "readable", "valid_bytes", "writable")

    def __init__(
        self,
        array: npt.NDArray[Any],
        readable: bool = True,
        writable: bool = True,
        valid_bytes: int | None = None,
    ) -> None:
        _require_plain(array, "array")
        for what, value in (("readable", readable), ("writable", writable)):
            if not isinstance(value, bool):
                raise UsageError(f"{what} is {value!r}; it must be True or False")
        self.array = array
        self.readable = readable
        self.writable = writable
        self.valid_bytes = (
            array.nbytes if valid_bytes is None else integer(valid_bytes, "valid_bytes", high=array.nbytes)
        )

    def __repr__(self) -> str:
        return (
            f"UserMemory({self.array.dtype}[{self.array.size}], readable={self.readable}, "
            f"writable={self.writable}, valid_bytes={self.valid_bytes})"
        )

    def copy(self) -> UserMemory:
        """Copy it, bytes and faults.

        Returns
        -------
        UserMemory
            One with memory of its own.
        """
        return UserMemory(self.array.copy(), self.readable, self.writable, self.valid_bytes)


def read_values(
    pointer: UserPointer, wanted: np.dtype[_Number], most: int, what: str
) -> npt.NDArray[_Number]:
    """Return the leading values that can be read whole, at most ``most`` of them.

    Parameters
    ----------
    pointer
        Where they are. An array of another type is refused, unless it is plain bytes.
    wanted
        `ADDRESS` or `NODE`.
    most
        How many the caller wants; may exceed what exists.
    what
        The name of the argument, for the error.
    """
    array: npt.NDArray[Any]
    if isinstance(pointer, UserMemory):
        array = _as_values(pointer.array, wanted, what)
        most = min(most, (pointer.valid_bytes if pointer.readable else 0) // wanted.itemsize)
    elif pointer is None:
        return np.empty(0, dtype=wanted)
    else:
        array = _as_values(pointer, wanted, what)
    return array if array.size <= most else array[:most]


def writable_bytes(pointer: UserPointer, what: str, wanted: np.dtype[Any] = NODE) -> int:
    """Return how many leading bytes can be written; none of an array that is read-only.

    ``wanted`` is the type of the values that shall be written.
    """
    if pointer is None:
        return 0
    array = pointer.array if isinstance(pointer, UserMemory) else pointer
    _as_values(array, wanted, what)
    if not array.flags.writeable:
        return 0
    if isinstance(pointer, UserMemory):
        return pointer.valid_bytes if pointer.writable else 0
    return array.nbytes


def write_bytes(pointer: UserPointer, values: npt.NDArray[Any], first: int, end: int) -> None:
    """Write the bytes ``first..end`` of ``values`` to the same place in user memory.

    The caller has found out with `writable_bytes` that they can be written.
    """
    if pointer is None or end <= first:
        return
    array = pointer.array if isinstance(pointer, UserMemory) else pointer
    if array.dtype is NODE and values.dtype is NODE and not (first | end) & 3:
        array[first >> 2 : end >> 2] = values[first >> 2 : end >> 2]
    else:
        array.view(np.uint8)[first:end] = values.view(np.uint8)[first:end]


def _as_values(array: object, wanted: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    """See an array as ``wanted``: same width, or plain bytes; anything else is refused."""
    if type(array) is np.ndarray and array.dtype is wanted and array.ndim == 1:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    _require_plain(array, what)
    assert isinstance(array, np.ndarray)
    if array.dtype == np.uint8:
        whole = array.nbytes - array.nbytes % wanted.itemsize
        seen = array[:whole].view(wanted)
    elif array.dtype.kind in "iu" and array.dtype.itemsize == wanted.itemsize and array.dtype.isnative:
        seen = array.view(wanted)
    else:
        raise UsageError(f"{what} is an array of {array.dtype}; it must be {wanted}, or uint8 bytes")
    return seen if seen.flags.aligned else seen.copy()


def _require_plain(array: object, what: str) -> None:
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{what} is {array!r}; a user pointer is None, a numpy array or a UserMemory")
    if array.ndim != 1 or not array.flags.c_contiguous:
        raise UsageError(f"{what} has shape {array.shape}; it must be contiguous, with one dimension")
