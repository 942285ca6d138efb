"""What happened, for people and for machines: a report is a frozen value.

Start with `Report`, what `pagemig.Scenario.run` answers with, and its parts in `.run`. `.text`
prints one. `.statuses` explains the statuses of a single ``move_pages`` call: `tally` sorts them
into `Outcome` rows.

Below: numpy and `pagemig.errors`; a report knows no machine. Above: `pagemig.scenario`, which
makes reports, and the pictures and pages that show them.
"""

from __future__ import annotations

from .run import (
    CallReport,
    CounterChange,
    Expectation,
    Placement,
    Reason,
    RegionReport,
    Report,
    WhyNot,
)
from .statuses import Kind, Outcome, kinds, tally

__all__ = [
    "CallReport",
    "CounterChange",
    "Expectation",
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
