"""What a move did, counted and explained.

``move_pages`` answers with one number a page. This module turns those numbers into sentences:
:func:`tally` sorts them into :class:`Outcome` rows, each with the count, the name and the reason,
and tells a page that was moved from one that had been there all along.

Start with :func:`tally`. Below: numpy. Above: :mod:`pagemig.plots`, :mod:`pagemig.webpage` and the
command line, which draw, lay out and print these rows.

Source: the table of statuses in ``docs/spec/syscalls.md``, section 3.3. Left out: the chain of
reasons over the ten passes of one page, which needs the machine's trace.
"""

from __future__ import annotations

import enum
import errno
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arguments import integers
from ..errors import UsageError


class Kind(enum.Enum):
    """What became of one entry of a ``move_pages`` call; the value is how a person calls it."""

    MOVED = "moved"
    ALREADY_THERE = "already there"
    SHARED = "shared"
    BUSY = "pinned or busy"
    OFF_LRU = "not isolated"
    NOT_PRESENT = "not present"
    NO_MAPPING = "no mapping"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table of statuses.

    Attributes
    ----------
    kind
        What happened to these pages.
    status
        The negative errno that the call wrote, or ``None`` where it wrote a node.
    pages
        How many entries of the call ended so.
    reason
        Why, in one sentence.
    """

    kind: Kind
    status: int | None
    pages: int
    reason: str

    @property
    def code(self) -> str:
        """The status as the manuals write it: ``-EACCES``, or ``node`` for a node number."""
        return "node" if self.status is None else f"-{errno.errorcode.get(-self.status, -self.status)}"


_REASONS: dict[int, tuple[Kind, str]] = {
    -errno.EACCES: (
        Kind.SHARED,
        "More than one page-table entry maps the page, and the caller did not ask for MPOL_MF_MOVE_ALL.",
    ),
    -errno.EAGAIN: (
        Kind.BUSY,
        "Something outside the page tables held a reference in all ten passes, so the page was put back.",
    ),
    -errno.EBUSY: (
        Kind.OFF_LRU,
        "The page was on no LRU list when it was looked up: in a pagevec, or isolated by someone else.",
    ),
    -errno.ENOENT: (
        Kind.NOT_PRESENT,
        "An area covers the address, but no page that can move is there: never touched, or the zero page.",
    ),
    -errno.EFAULT: (Kind.NO_MAPPING, "No area ends above the address, or the area's pages may not move."),
    -errno.EIO: (Kind.FAILED, "The page had to be written back first, and the write failed."),
    -errno.EINVAL: (Kind.FAILED, "The page is dirty, and its filesystem can neither move nor write it."),
}

_MOVED = "Copied to a new frame on the target node; its page-table entry follows, the old frame is free."
_ALREADY = "The page was on the target node before the call; nothing was done."
_OTHER = "The migration method of the page's mapping failed with this code."


def reason_for(status: int, before: int) -> str:
    """Return why an entry of a ``move_pages`` call ended with a status, in one sentence.

    >>> reason_for(1, 1)
    'The page was on the target node before the call; nothing was done.'
    """
    if status >= 0:
        return _ALREADY if status == before else _MOVED
    known = _REASONS.get(status)
    return known[1] if known else _OTHER


def kinds(statuses: npt.NDArray[np.integer], before: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Sort every entry of a call into a kind.

    Parameters
    ----------
    statuses
        What the call wrote, shape (entries,).
    before
        The node of each page before the call, -1 where none was present; same shape.

    Returns
    -------
    numpy.ndarray
        For each entry the position of its :class:`Kind` in ``list(Kind)``; uint8, shape (entries,).

    Raises
    ------
    UsageError
        They are no integers, or not as many of one as of the other.
    """
    statuses, before = integers(statuses, "statuses"), integers(before, "before")
    if statuses.shape != before.shape:
        raise UsageError(f"statuses and nodes must be of one length, not {len(statuses)} and {len(before)}")
    order = {kind: position for position, kind in enumerate(Kind)}
    sorted_out = np.full(statuses.shape, order[Kind.FAILED], dtype=np.uint8)
    sorted_out[statuses >= 0] = order[Kind.MOVED]
    sorted_out[(statuses >= 0) & (statuses == before)] = order[Kind.ALREADY_THERE]
    for status, (kind, _) in _REASONS.items():
        sorted_out[statuses == status] = order[kind]
    return sorted_out


def tally(statuses: npt.NDArray[np.integer], before: npt.NDArray[np.integer]) -> tuple[Outcome, ...]:
    """Count the statuses of a call and give the reason behind each.

    Parameters
    ----------
    statuses
        What the call wrote: int32, shape (entries,).
    before
        The node of each page before the call, -1 where none was present; same shape.

    Returns
    -------
    tuple
        Rows in the order of :class:`Kind`; a kind that did not happen has none.

    Raises
    ------
    UsageError
        They are no integers, or not as many of one as of the other.

    Examples
    --------
    >>> rows = tally(np.array([2, 2, -13], np.int32), np.array([0, 2, 0], np.int32))
    >>> [(row.kind.value, row.code, row.pages) for row in rows]
    [('moved', 'node', 1), ('already there', 'node', 1), ('shared', '-EACCES', 1)]
    """
    of_entry = kinds(statuses, before)
    statuses = integers(statuses, "statuses")
    rows = []
    for position, kind in enumerate(Kind):
        of_kind = statuses[of_entry == position]
        if not len(of_kind):
            continue
        if kind in (Kind.MOVED, Kind.ALREADY_THERE):
            rows.append(Outcome(kind, None, len(of_kind), _MOVED if kind is Kind.MOVED else _ALREADY))
            continue
        for status, pages in zip(*np.unique(of_kind, return_counts=True), strict=True):
            rows.append(Outcome(kind, int(status), int(pages), reason_for(int(status), -1)))
    return tuple(rows)
