"""A timeline as text: one line a step, one column a call, what changed beside it.

Start with `text`. Neighbour: `pagemig.Timeline`, whose ``str`` this is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..flags import EntryKind
from ..results import Entry

if TYPE_CHECKING:
    from .moments import LockSpan, Moment, PageAt, Timeline


def text(shown: Timeline) -> str:
    """Return the whole timeline as lines of text."""
    lines = [f"schedule {shown.schedule}" if shown.schedule else "no step yet"]
    lines += [f"  {lane}" + (f": {lane.outcome}" if lane.outcome else "") for lane in shown.lanes]
    width = max((len(_made(moment)) for moment in shown.moments), default=0)
    columns = [min(max(width, 8), 28)] * len(shown.lanes)
    head = "  ".join(lane.letter.ljust(column) for lane, column in zip(shown.lanes, columns, strict=True))
    lines.append(f"step  {head}  what changed".rstrip())
    before: Moment | None = None
    for moment in shown.moments:
        cells = "  ".join(
            _cell(shown, moment, at)[:column].ljust(column) for at, column in enumerate(columns)
        )
        changes = _changes(before, moment)
        lines.append(f"{moment.number:4}  {cells}  {changes}".rstrip())
        before = moment
    lines += [f"finding: {finding}" for finding in shown.findings]
    return "\n".join(lines)


def _made(moment: Moment) -> str:
    return " ".join(moment.labels)


def _cell(shown: Timeline, moment: Moment, at: int) -> str:
    if moment.actor == shown.lanes[at].letter:
        return _made(moment) or "step"
    if moment.waits[at]:
        return "waits"
    return "." if moment.at[at] else ""


def _changes(before: Moment | None, moment: Moment) -> str:
    """Say what is different from the moment before: words, locks, pages."""
    parts = [moment.said] if moment.said else []
    old_locks = {} if before is None else {lock.name: lock for lock in before.locks}
    new_locks = {lock.name: lock for lock in moment.locks}
    parts += [_lock(lock) for lock in moment.locks if old_locks.get(lock.name) != lock]
    parts += [f"{name} free" for name in old_locks if name not in new_locks]
    old_pages = {} if before is None else {page.pfn: page for page in before.pages}
    parts += [describe_page(page) for page in moment.pages if old_pages.get(page.pfn) != page]
    return "; ".join(parts)


def _lock(lock: LockSpan) -> str:
    held = f"held by {', '.join(lock.holders)}" if lock.holders else "held by nobody"
    waited = f", awaited by {', '.join(lock.waiters)}" if lock.waiters else ""
    return f"{lock.name} {held}{waited}"


def describe_page(page: PageAt) -> str:
    """Say what is known of a page: its counts, its flags, who maps it."""
    if not page.count and not page.flags and not page.entries:
        return f"frame {page.pfn} is free"
    flags = " ".join(flag.name or "" for flag in page.flags) or "no flags"
    mapped = "".join(f"; {entry_in_words(*entry)}" for entry in page.entries)
    return f"frame {page.pfn}: count {page.count}, mapcount {page.mapcount}, {flags}{mapped}"


_KINDS = {
    EntryKind.NONE: "nothing",
    EntryKind.PRESENT: "present",
    EntryKind.SWAP: "swap entry",
    EntryKind.MIGRATION: "migration entry",
}


def entry_in_words(pid: int, address: int, entry: Entry) -> str:
    """Say who maps a page, and how.

    >>> entry_in_words(1, 4096, Entry(EntryKind.PRESENT, True, False, True, False, 3, 0))
    'task 1 at 0x1000 present, writable'
    """
    bits = [name for name in ("writable", "dirty") if getattr(entry, name)]
    return f"task {pid} at {address:#x} {', '.join((_KINDS[entry.kind], *bits))}"
