"""A timeline as a trace for Perfetto: tracks for calls and locks, counters for pages.

Start with `trace`. One step is one microsecond: step n lies between n and n + 1, and what can be seen
after it holds from n + 1 on. Neighbours: `pagemig.Timeline`, whose ``to_perfetto`` this is;
`pagemig.perfetto` writes the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..perfetto import TraceWriter

if TYPE_CHECKING:
    from .moments import Moment, Timeline

STEP = 1_000
"""Nanoseconds of a step."""


def trace(shown: Timeline) -> bytes:
    """Return the trace."""
    writer = TraceWriter()
    calls_track = writer.track("calls")
    lanes = {lane.letter: writer.track(str(lane), parent=calls_track) for lane in shown.lanes}
    locks_track = writer.track("locks")
    locks = {name: writer.track(name, parent=locks_track) for name in shown.lock_names}
    pages_track = writer.track("pages")
    counters = {
        (pfn, name): writer.track(f"frame {pfn} {name}", parent=pages_track, unit="references")
        for pfn in shown.pages
        for name in ("count", "mapcount")
    }
    findings = writer.track("findings") if shown.findings else 0
    open_locks: dict[str, str] = {}
    open_waits: dict[str, str] = {}
    last: dict[tuple[int, str], int] = {}
    for moment in shown.moments:
        begins, ends = STEP * max(0, moment.number - 1), STEP * moment.number
        if moment.actor:
            _close(writer, lanes, open_waits, moment.actor, begins)
            told = {"what": moment.said, "meaning": " ".join(moment.sentences)}
            said = {"steps": " ".join(moment.labels)} | {key: text for key, text in told.items() if text}
            name = moment.labels[0] if moment.labels else "step"
            writer.begin(lanes[moment.actor], begins, name, said, category="step")
            writer.end(lanes[moment.actor], ends)
        _hold(writer, locks, open_locks, moment, ends)
        _wait(writer, shown, lanes, open_waits, moment, ends)
        for page in moment.pages:
            for name, value in (("count", page.count), ("mapcount", page.mapcount)):
                if last.get((page.pfn, name)) != value:
                    last[page.pfn, name] = value
                    writer.count(counters[page.pfn, name], ends, value)
    over = STEP * shown.moments[-1].number
    for finding in shown.findings:
        writer.instant(findings, over, finding, {"schedule": shown.schedule})
    for name in open_locks:
        writer.end(locks[name], over + STEP)
    for letter in list(open_waits):
        _close(writer, lanes, open_waits, letter, over + STEP)
    return writer.trace()


def _hold(
    writer: TraceWriter, tracks: dict[str, int], held: dict[str, str], moment: Moment, time: int
) -> None:
    """End the slices of locks that have other holders now, and begin new ones."""
    now = {lock.name: ", ".join(lock.holders) for lock in moment.locks if lock.holders}
    for name in [name for name, holders in held.items() if now.get(name) != holders]:
        del held[name]
        writer.end(tracks[name], time)
    for name, holders in now.items():
        if name not in held:
            held[name] = holders
            writer.begin(tracks[name], time, f"held by {holders}", category="lock")


def _wait(
    writer: TraceWriter,
    shown: Timeline,
    tracks: dict[str, int],
    waits: dict[str, str],
    moment: Moment,
    time: int,
) -> None:
    """The same for calls that wait."""
    for lane, lock in zip(shown.lanes, moment.waits, strict=True):
        if waits.get(lane.letter, "") != lock:
            _close(writer, tracks, waits, lane.letter, time)
            if lock:
                waits[lane.letter] = lock
                writer.begin(tracks[lane.letter], time, f"waits for {lock}", category="wait")


def _close(
    writer: TraceWriter, tracks: dict[str, int], waits: dict[str, str], letter: str, time: int
) -> None:
    if waits.pop(letter, ""):
        writer.end(tracks[letter], time)
