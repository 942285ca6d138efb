"""Races as pictures: a schedule step by step, as text, as a web page, as a trace.

Start with `Timeline` in `.moments`. `.text`, `.page` and `.trace` show one; they know no machine.
Below: `pagemig.replaying` and `pagemig.verdict`, where schedules come from, and `pagemig.perfetto`.
"""

from __future__ import annotations

from .moments import Lane, LockSpan, Moment, PageAt, Timeline

__all__ = ["Lane", "LockSpan", "Moment", "PageAt", "Timeline"]
