"""What a person passes in: taken as it should be, or refused in plain words.

Every function answers with the value in the form that the rooms above want, or raises a
`UsageError` that names the argument, what it was and what would be right.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from .errors import UsageError
from .flags import FILE_BYTES_MAX, FILE_PAGES_MAX, NODES_MAX, PAGE_SIZE, USER_END, MoveScope, Protection

if TYPE_CHECKING:
    from pathlib import Path

Addresses: TypeAlias = npt.NDArray[np.uint64]
Nodes: TypeAlias = npt.NDArray[np.int32]

_ADDRESS = np.dtype(np.uint64)
_FEW = 16
"""A list of up to so many addresses is looked at one by one."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


def integer(value: object, what: str, low: int = 0, high: int = (1 << 64) - 1) -> int:
    """Return ``value`` as an int in ``low..high``, both included.

    >>> integer(7, "cpu", high=3)
    Traceback (most recent call last):
        ...
    pagemig.errors.UsageError: cpu is 7; it must be 0 to 3
    """
    if isinstance(value, bool):
        raise UsageError(f"{what} is {value}; it must be an integer")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{what} is {value!r}; it must be an integer{_as_bytes(value)}") from None
    if not low <= number <= high:
        raise UsageError(f"{what} is {number}; it must be {low} to {high}")
    return number


def _as_bytes(value: object) -> str:
    """Say how Python code writes a size that a scenario and the command line take as text."""
    size = re.fullmatch("([0-9]+) ?([KMG])(iB)?", value) if isinstance(value, str) else None
    return "" if size is None else f", such as {size[1]} * pm.{size[2]}iB"


def register(value: object, what: str) -> int:
    """Return the 64 bits that a register holds after ``value`` was put into it."""
    if type(value) is int and 0 <= value < 1 << 64:
        return value
    return integer(value, what, -(1 << 63)) & ((1 << 64) - 1)


def require_bool(value: object, what: str) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise UsageError(f"{what} is {value!r}; it must be True or False")
    return bool(value)


def require_name(name: str) -> str:
    """Return ``name`` if a task can be called so."""
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UsageError(f"name is {name!r}; it must be printable text")
    return name


def host_path(path: object) -> Path:
    """Return ``path`` as a path of the host, if it can be one."""
    from pathlib import Path  # a twentieth of the time that importing us takes

    try:
        place = Path(path)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"path is {path!r}; it must name a file") from None
    try:
        encoded = os.fsencode(place)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise UsageError(f"path is {str(place)!r}; it must name a file")
    return place


def page_multiple(value: object, what: str) -> int:
    """Return a number of bytes that is a whole number of pages."""
    number = integer(value, what)
    if number % PAGE_SIZE:
        below = number - number % PAGE_SIZE
        raise UsageError(
            f"{what} is {number:#x}, not a multiple of {PAGE_SIZE}; "
            f"{below:#x} or {below + PAGE_SIZE:#x} would be"
        )
    return number


def listed(values: object) -> list[Any] | None:
    """Return what a list or another iterable holds; None of what is none, or is text.

    An array without a dimension looks like one and holds nothing that could be listed.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        return None
    if isinstance(values, np.ndarray) and values.ndim == 0:
        return None
    return list(values)


def node_mask(nodes: object, what: str) -> int:
    """Return a set of node ids as a mask, bit n for node n."""
    ids = listed(nodes)
    if ids is None:
        raise UsageError(f"{what} is {nodes!r}; it must be node ids, such as [0, 1]")
    mask = 0
    for node in ids:
        mask |= 1 << integer(node, f"a node of {what}", high=NODES_MAX - 1)
    return mask


def nodes_in(mask: int) -> tuple[int, ...]:
    """Return the nodes of a mask, ascending."""
    return tuple(node for node in range(NODES_MAX) if mask >> node & 1)


def address_array(where: object, what: str) -> Addresses:
    """Return addresses as a one-dimensional uint64 array, in the order given.

    Calls for few pages are made by the million, so what most of them bring is looked at first.
    """
    if type(where) is np.ndarray:
        if where.dtype is _ADDRESS and where.ndim == 1 and where.flags.c_contiguous:
            return where
    elif type(where) is list and 0 < len(where) <= _FEW:
        for address in where:
            if type(address) is not int or not 0 <= address < 1 << 64:
                break
        else:
            return np.array(where, dtype=_ADDRESS)
    array = integers(where, what)
    if array.dtype.kind == "i" and array.size and int(array.min()) < 0:
        raise UsageError(f"{what} holds {int(array.min())}; an address is 0 or more")
    return np.ascontiguousarray(array, dtype=np.uint64)


def wanted_nodes(nodes: object, count: int) -> Nodes | int:
    """Return the node for all pages, or one a page: ``nodes`` is one node, or ``count`` of them.

    Whether such nodes exist is for the simulated kernel to say; here they must only fit
    into the 32 bits that it reads.
    """
    if not isinstance(nodes, Iterable) or (isinstance(nodes, np.ndarray) and nodes.ndim == 0):
        return integer(nodes, "nodes", -(1 << 31), (1 << 31) - 1)
    array = integers(nodes, "nodes")
    if array.size != count:
        raise UsageError(f"{array.size} nodes for {count} pages; give one node, or one for each page")
    if array.dtype != np.int32 and array.size:
        low, high = int(array.min()), int(array.max())
        if low < -(1 << 31) or high >= 1 << 31:
            raise UsageError(f"nodes holds numbers from {low} to {high}; they must fit into 32 bits")
    return np.ascontiguousarray(array, dtype=np.int32)


def read_only(array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    """Return ``array`` itself, closed for writing."""
    array.setflags(write=False)
    return array


def integers(values: object, what: str) -> npt.NDArray[np.integer]:
    """Return a list of integers as a one-dimensional array of some integer type."""
    if isinstance(values, (str, bytes)):
        raise UsageError(f"{what} is {values!r}; it must be integers")
    items = list(values) if isinstance(values, Iterable) and not isinstance(values, np.ndarray) else values
    try:
        array = np.asarray(items)
        if array.dtype.kind == "f" and isinstance(items, list) and all(type(n) is int for n in items):
            # numpy finds no common type for numbers on both sides of 2**63.
            array = np.array(items, dtype=np.uint64)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"{what} is not a list of integers") from None
    if array.ndim == 0:
        array = array.reshape(1)
    if array.size == 0 and array.ndim == 1:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(
            f"{what} is an array of {array.dtype} with {array.ndim} dimensions; "
            "it must be integers of up to 64 bits, with one dimension"
        )
    return array


def whole_pages(length: int) -> int:
    """Return the length of a mapping, rounded up to pages as ``mmap(2)`` does."""
    return -(-integer(length, "length", 1, USER_END) // PAGE_SIZE) * PAGE_SIZE


def file_page(page: int) -> int:
    """Return the offset of a page in a file, counted in pages."""
    return integer(page, "page", high=FILE_PAGES_MAX - 1)


def file_size(size: int, what: str = "size") -> int:
    """Return the size of a file, bytes."""
    return integer(size, what, high=FILE_BYTES_MAX)


def require_protection(protection: Protection) -> Protection:
    """Return ``protection`` if it is one."""
    if not isinstance(protection, Protection):
        raise UsageError(f"protection is {protection!r}; it must be a Protection, such as pm.RW")
    return protection


def require_scope(scope: MoveScope) -> MoveScope:
    """Return ``scope`` if it is one."""
    if not isinstance(scope, MoveScope):
        raise UsageError(f"scope is {scope!r}; it must be MoveScope.EXCLUSIVE or MoveScope.SHARED")
    return scope
