"""A report as a trace for Perfetto: tracks for calls, of a race for locks and pages, counters for nodes.

Start with `trace`. One step is one microsecond, as in `pagemig.timeline`, whose tracks a race shares.
What a node has is looked at now and then while the scenario runs again, so its counters change at the
next look and not at the very step. Below: `pagemig.perfetto`, which writes the bytes.

Left out: steps of runs with more than `STEPS_MAX` of them; such a run has one slice a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..perfetto import TraceWriter
from .text import outcome_of, status_name

if TYPE_CHECKING:
    from .run import CallReport, History, Report

STEP = 1_000
"""Nanoseconds of a step."""

STEPS_MAX = 50_000
"""Steps of the longest run whose steps are slices."""


def trace(report: Report) -> bytes:
    """Return the trace."""
    shown, history = report.timeline(), report.history()
    first = _calls(report, history) if shown is None else shown.to_perfetto()
    return first + _nodes(history)


def _calls(report: Report, history: History | None) -> bytes:
    """Write a track for each call, with a slice for it and one within it for each of its steps."""
    writer = TraceWriter()
    everyone = writer.track("calls")
    order = () if history is None else history.order
    made = {call.id: [at for at, (name, _) in enumerate(order) if name == call.id] for call in report.calls}
    tracks = {call.id: writer.track(f"{call.id} by {call.by}", parent=everyone) for call in report.calls}
    calls = {call.id: call for call in report.calls}
    for at, (name, label) in enumerate(order):
        if at == made[name][0]:
            call = calls[name]
            writer.begin(tracks[name], at * STEP, call.verb, _notes(call), category="call")
        if len(order) <= STEPS_MAX:
            writer.begin(tracks[name], at * STEP, label, category="step")
            writer.end(tracks[name], (at + 1) * STEP)
        if at == made[name][-1]:
            writer.end(tracks[name], (at + 1) * STEP)
    for call in report.calls:
        if not made[call.id]:
            writer.instant(tracks[call.id], len(order) * STEP, outcome_of(call), _notes(call))
    return writer.trace()


def _notes(call: CallReport) -> dict[str, str | int]:
    notes: dict[str, str | int] = {"asked": call.text, "came to": outcome_of(call)}
    for status in sorted(set(call.statuses or ())):
        notes[f"pages {status_name(status)}"] = (call.statuses or ()).count(status)
    return notes


def _nodes(history: History | None) -> bytes:
    """Write a counter for each node: how many pages of the regions it has."""
    if history is None or not any(history.nodes):
        return b""
    writer = TraceWriter(part=1)
    nodes = sorted({node for moment in history.nodes for node in moment})
    parent = writer.track("pages of the regions")
    tracks = {
        node: writer.track("not present" if node < 0 else f"on node {node}", parent=parent, unit="pages")
        for node in nodes
    }
    for number, moment in zip(history.steps, history.nodes, strict=True):
        for node, track in tracks.items():
            writer.count(track, number * STEP, moment.count(node))
    return writer.trace()
