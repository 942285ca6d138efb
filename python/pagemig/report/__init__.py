"""What happened, for people and for machines: a report is a frozen value.

Start with `Report`, what `pagemig.Scenario.run` answers with, and its parts in `.run`. `.text`
prints one, `.page` draws one. `.statuses` explains the statuses of a single ``move_pages`` call:
`tally` sorts them into `Outcome` rows.

Below: pictures, tables, traces, the cost model and timelines; a report knows no machine. Above:
`pagemig.scenario`, which makes reports, and the pages about demonstrations.
"""

from __future__ import annotations

from .run import (
    Asked,
    CallReport,
    CounterChange,
    Expectation,
    Film,
    History,
    Placement,
    Reason,
    RegionReport,
    Report,
    WhyNot,
)
from .statuses import Kind, Outcome, kinds, tally

__all__ = [
    "Asked",
    "CallReport",
    "CounterChange",
    "Expectation",
    "Film",
    "History",
    "Kind",
    "Outcome",
    "Placement",
    "Reason",
    "RegionReport",
    "Report",
    "WhyNot",
    "kinds",
    "tally",
]
