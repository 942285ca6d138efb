"""A report as a table: one row for each page that a call was asked to move, or asked about.

Start with `table`. The reason is that of the page's chain where the report has one, else what the
status itself says.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np

from ..tables import Table
from .statuses import reason_for
from .text import chain

if TYPE_CHECKING:
    from .run import CallReport, Report

_PENDING = "The call is not done."
_QUERY = "It was only asked where the page is."
_STARTED = "The page was moved; the call ended with an error all the same."


def table(report: Report) -> Table:
    """Return the rows; see `pagemig.Report.table`."""
    calls: list[str] = []
    addresses: list[int] = []
    statuses: list[int] = []
    before: list[int] = []
    after: list[int] = []
    reasons: list[str] = []
    for call in report.calls:
        if call.asked is None:
            continue
        calls += [call.id] * len(call.asked.addresses)
        addresses += call.asked.addresses
        statuses += call.asked.statuses
        before += call.asked.before
        after += call.asked.after
        told = _told(report, call)
        reasons += [told.get(entry) or _reason(call, entry) for entry in range(len(call.asked.statuses))]
    return Table(
        {
            "call": tuple(calls),
            "address": np.array(addresses, dtype=np.uint64),
            "status": np.array(statuses, dtype=np.int32),
            "before": np.array(before, dtype=np.int32),
            "after": np.array(after, dtype=np.int32),
            "reason": tuple(reasons),
        }
    )


def _told(report: Report, call: CallReport) -> dict[int, str]:
    """Return the chains of reasons that the report has for the pages of a call, by position."""
    told: dict[int, str] = {}
    for why in report.why_not:
        if why.call == call.id:
            words = chain(why)
            told |= {entry: words for start, stop in why.entries for entry in range(start, stop)}
    return told


def _reason(call: CallReport, entry: int) -> str:
    if call.asked is None:
        return ""
    status, before, after = call.asked.statuses[entry], call.asked.before[entry], call.asked.after[entry]
    if status == -errno.EINPROGRESS:
        return _PENDING
    if call.asked.is_query and status >= 0:
        return _QUERY
    if status < 0 and call.errno is not None and status == -getattr(errno, call.errno):
        return _STARTED if 0 <= after != before else f"The call ended before: {call.errno}."
    return reason_for(status, before)
