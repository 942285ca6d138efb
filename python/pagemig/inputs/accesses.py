"""Recorded accesses as columns, and as accesses to pages.

Start with `Accesses`. A trace gives it in the order of the program; `page_accesses` makes of
it what a machine plays: one entry for each page that an access touches.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arguments import address_array, read_only
from ..errors import UsageError
from ..flags import PAGE_SIZE
from ..results import ArrayValue
from ..tables import Table


class AccessKind(enum.IntEnum):
    """What an access did, as it stands in `Accesses.kinds`."""

    LOAD = 0
    STORE = 1
    MODIFY = 2
    """A load, then a store at the same place."""
    INSTRUCTION = 3
    """An instruction was fetched."""


@dataclass(frozen=True, slots=True, eq=False)
class Accesses(ArrayValue):
    """Accesses in the order in which they happened; its length is their number.

    Parameters
    ----------
    addresses
        First byte of each: read-only uint64, shape (accesses,).
    sizes
        Bytes of each, at least 1: read-only uint8, shape (accesses,). What is wider than 255
        bytes stands here as neighbours of at most 128.
    kinds
        What each did, an `AccessKind`: read-only uint8, shape (accesses,).

    Raises
    ------
    UsageError
        The columns differ in type or length from the above.

    Examples
    --------
    >>> import numpy as np
    >>> seen = Accesses(np.array([0x1000, 0x2000], "u8"), np.array([8, 4], "u1"), np.array([0, 1], "u1"))
    >>> len(seen), seen.writes
    (2, array([False,  True]))
    """

    addresses: npt.NDArray[np.uint64]
    sizes: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        length = len(self.addresses)
        for name, type_ in (("addresses", np.uint64), ("sizes", np.uint8), ("kinds", np.uint8)):
            column = getattr(self, name)
            if not isinstance(column, np.ndarray) or column.dtype != type_ or column.shape != (length,):
                raise UsageError(f"{name} must be an array of {length} {np.dtype(type_)} in one dimension")
            # A view of its own, so that the caller's array stays writable.
            object.__setattr__(self, name, read_only(column.view()))

    @property
    def writes(self) -> npt.NDArray[np.bool_]:
        """Whether each stores: stores and modifies do. Read-only bool, shape (accesses,)."""
        return read_only((self.kinds == AccessKind.STORE) | (self.kinds == AccessKind.MODIFY))

    @property
    def table(self) -> Table:
        """The columns as a table, which goes to any dataframe."""
        return Table({"addresses": self.addresses, "sizes": self.sizes, "kinds": self.kinds})

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the columns, for dataframes (Arrow PyCapsule interface)."""
        return self.table.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return len(self.addresses)


def page_accesses(
    addresses: npt.ArrayLike, sizes: npt.ArrayLike, writes: npt.ArrayLike
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return one access for each page touched, in order.

    An access that straddles a page boundary touches both pages, the lower first. A modify
    reads and writes one place: as an access to a page it is one write.

    Parameters
    ----------
    addresses
        First byte of each access, shape (accesses,).
    sizes
        Bytes of each, at least 1, of the same shape.
    writes
        Whether each stores, bool, of the same shape.

    Returns
    -------
    addresses
        Where each access touches its page: its first byte, or the start of the page for all
        pages but the first of an access. Read-only uint64.
    writes
        Whether each stores. Read-only bool.

    Raises
    ------
    UsageError
        The columns differ in length, a size is 0, or an access ends beyond 64 bits.

    Examples
    --------
    >>> touched, stores = page_accesses([0x1000, 0x1ffc], [8, 8], [False, True])
    >>> [hex(address) for address in touched], stores.tolist()
    (['0x1000', '0x1ffc', '0x2000'], [False, True, True])
    """
    first, bytes_each, stores = _columns(addresses, sizes, writes)
    if not first.size:
        return read_only(first.view()), read_only(stores.view())
    widest = int(bytes_each.max())
    if not bytes_each.min() or int(first.max()) + widest > 1 << 64:
        _refuse(first, bytes_each.astype(np.uint64))
    offset = first & np.uint64(PAGE_SIZE - 1)
    if widest <= PAGE_SIZE:
        # Both sums fit into 16 bits, which halves the time that they take.
        room = np.uint16(PAGE_SIZE) - offset.astype(np.uint16)
        straddling = np.flatnonzero(bytes_each > room)
    else:
        straddling = np.flatnonzero(bytes_each.astype(np.uint64) > np.uint64(PAGE_SIZE) - offset)
    if not straddling.size:
        return read_only(first.view()), read_only(stores.view())
    return _parted(first, bytes_each, stores, straddling)


def _columns(
    addresses: npt.ArrayLike, sizes: npt.ArrayLike, writes: npt.ArrayLike
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.unsignedinteger], npt.NDArray[np.bool_]]:
    """Return the three as arrays of one length."""
    first = address_array(addresses, "addresses")
    bytes_each = np.asarray(sizes)
    # Recorded sizes are bytes already, and widening millions of them takes longer than all the rest.
    if bytes_each.dtype != np.uint8:
        bytes_each = address_array(sizes, "sizes")
    stores = np.asarray(writes)
    if stores.dtype != np.bool_ or not first.shape == bytes_each.shape == stores.shape:
        raise UsageError(
            f"{first.size} addresses, {bytes_each.size} sizes and {stores.size} writes of {stores.dtype}; "
            "they must be as many, and writes must be bool"
        )
    return first, bytes_each, stores


def _parted(
    first: npt.NDArray[np.uint64],
    bytes_each: npt.NDArray[np.unsignedinteger],
    stores: npt.NDArray[np.bool_],
    straddling: npt.NDArray[np.intp],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Put the further pages of some accesses in, each behind the access that touches it."""
    page = np.uint64(PAGE_SIZE)
    last = first[straddling] + bytes_each[straddling].astype(np.uint64) - np.uint64(1)
    further = (last // page - first[straddling] // page).astype(np.int64)
    origin = np.repeat(straddling, further)
    step = np.arange(origin.size) - np.repeat(np.cumsum(further) - further, further) + 1
    begin = (first[origin] // page + step.astype(np.uint64)) * page
    return (
        read_only(np.insert(first, origin + 1, begin)),
        read_only(np.insert(stores, origin + 1, stores[origin])),
    )


def _refuse(first: npt.NDArray[np.uint64], bytes_each: npt.NDArray[np.uint64]) -> None:
    """Raise for the first access that no program makes, if there is one."""
    last = first + bytes_each - np.uint64(1)
    wrong = np.flatnonzero((bytes_each == 0) | (last < first))
    if wrong.size:
        at = int(wrong[0])
        raise UsageError(
            f"access {at} has {int(bytes_each[at])} bytes at {int(first[at]):#x}; it must have "
            "at least 1 and end within 64 bits"
        )
