"""A `Report` as plain text: what ``str(report)`` and ``print`` show.

The command line has tables of its own; this is for a notebook, a log, a failed test.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from .run import CallReport, Report, WhyNot


def status_name(status: int) -> str:
    """Return a status as the manuals write it.

    >>> status_name(1), status_name(-16)
    ('node 1', '-EBUSY')
    """
    return f"node {status}" if status >= 0 else f"-{errno.errorcode.get(-status, str(-status))}"


def told(report: Report) -> str:
    """Return a report as lines of text."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield report.title
    for call in report.calls:
        yield f"  {call.id}: {call.by} does {call.text}: {outcome_of(call)}"
    if report.statuses:
        counts = ", ".join(f"{pages} x {status_name(status)}" for status, pages in report.statuses.items())
        yield f"  statuses: {counts}"
    for region in report.regions:
        before, after = histogram(region.before.histogram), histogram(region.after.histogram)
        yield f"  {region.task}.{region.name}: {before} before, {after} after, {region.moved} moved"
    for why in report.why_not:
        yield f"  {why.page} stayed ({status_name(why.status)}): {chain(why)}"
    for item in report.expectations:
        yield f"  {'holds' if item.holds else 'FAILS'}: {item}"
    for finding in report.findings:
        yield f"  FINDING: {finding}"
    if report.deadlock is not None:
        yield f"  deadlock: {report.deadlock}"


def verdict(report: Report) -> str:
    """Return in a sentence whether all is as it was expected to be."""
    held, failed, findings = len(report.expectations), len(report.failed), len(report.findings)
    if report.ok:
        holds = {0: "nothing was expected", 1: "the one expectation holds"}
        return (
            f"As expected: {holds.get(held, f'all {held} expectations hold')}, the audit finds nothing else."
        )
    fails = "expectation fails" if held == 1 else "expectations fail"
    return f"Not as expected: {failed} of {held} {fails}, {findings} finding{'' if findings == 1 else 's'}."


_ONE = {"flushes": "flush", "copies": "copy", "retries": "retry", "passes": "pass", "batches": "batch"}


def counted(count: int, name: str) -> str:
    """Return how many of an elementary operation there were.

    >>> counted(2, "copies"), counted(1, "copies"), counted(1, "lock_waits")
    ('2 copies', '1 copy', '1 lock wait')
    """
    words = name.replace("_", " ")
    if count != 1:
        return f"{count:,} {words}"
    first, _, last = words.rpartition(" ")
    return f"1 {first} {_ONE.get(last, last.removesuffix('s'))}".replace("  ", " ")


def outcome_of(call: CallReport) -> str:
    """Return what a call came to, in a few words."""
    if not call.done:
        return f"waits for {call.waiting_for}" if call.waiting_for else "not done"
    if call.errno is not None:
        return call.errno
    if call.error is not None:
        return call.error
    if call.statuses is not None:
        return runs(call.statuses)
    return "ok" if call.result is None else told_result(call.result)


def told_result(result: object) -> str:
    """Return what a call returned in a few words; of a table only what is not zero."""
    if isinstance(result, dict):
        parts = [f"{key} {value}" for key, value in result.items() if value not in (0, [], None, ())]
        return ", ".join(parts) if parts else "nothing"
    return repr(result) if isinstance(result, str) else str(result)


def runs(statuses: tuple[int, ...]) -> str:
    """Return statuses with equal neighbours told once.

    >>> runs((1, 1, 1, -16))
    '3 x node 1, -EBUSY'
    """
    parts: list[tuple[int, int]] = []
    for status in statuses:
        if parts and parts[-1][0] == status:
            parts[-1] = (status, parts[-1][1] + 1)
        else:
            parts.append((status, 1))
    shown = [f"{count} x {status_name(s)}" if count > 1 else status_name(s) for s, count in parts[:8]]
    more = [f"... ({len(statuses)} pages)"] if len(parts) > 8 else []
    return ", ".join([*shown, *more]) if shown else "no pages"


def histogram(pages: dict[int, int]) -> str:
    """Return how many pages are where, in words.

    >>> histogram({-1: 2, 1: 3})
    '2 not present, 3 on node 1'
    """
    words = [f"{n} not present" if node < 0 else f"{n} on node {node}" for node, n in pages.items()]
    return ", ".join(words) if words else "no pages"


def chain(why: WhyNot, *, blame: bool = True) -> str:
    """Return the reasons why a page stayed, equal neighbours told once, and who is to blame."""
    parts: list[tuple[str, int, int]] = []
    for number, reason in enumerate(why.reasons, 1):
        first = reason.attempt or number
        last = first + reason.times - 1
        if parts and parts[-1][0] == reason.text:
            parts[-1] = (reason.text, parts[-1][1], last)
        else:
            parts.append((reason.text, first, last))
    shown = []
    for text, first, last in parts:
        tried = why.reasons[0].attempt is not None
        span = f"attempt {first}: " if first == last else f"attempts {first} to {last}: "
        shown.append((span if tried else "") + text)
    culprits = f" [{'; '.join(why.culprits)}]" if why.culprits and blame else ""
    return "; then ".join(shown) + culprits
