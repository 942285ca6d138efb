"""The rows of the table: one line for each target of the project.

Start with :func:`rows`: it names the figure of ours and the one it is held against; :func:`judged` says
whether that is good enough. How figures are taken is in :mod:`benchmarks.figures`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work there is.

    Pages, pages that carry bytes, the two sizes of P7, one-page calls, GiB a node of P9, accesses of P11,
    records of P12, steps of a search, and whether the host is made to migrate.
    """

    pages: int
    byte_pages: int
    growth: tuple[int, int] = (1 << 16, 1 << 24)
    calls: int = 2000
    gib: int = 256
    accesses: int = 1 << 22
    records: int = 1 << 22
    search_steps: int = 200_000
    host_migrates: bool = True


class Bound(enum.Enum):
    """On which side of its target a figure is good."""

    MOST = "<="
    LEAST = ">="


class Verdict(enum.Enum):
    """What a row came to."""

    PASS = "pass"
    SHORT = "short"
    MISSING = "not measured here"


@dataclass(frozen=True, slots=True)
class Row:
    """One target: ``ours`` against ``target`` times ``against``, or against ``target`` itself."""

    label: str
    work: str
    ours: str
    against: str | None
    target: float
    unit: str = "ns"
    bound: Bound = Bound.MOST

    def show(self, figure: float) -> str:
        """A figure with its unit."""
        return f"{figure:,.1f} {self.unit}" if abs(figure) < 100 else f"{figure:,.0f} {self.unit}"

    @property
    def goal(self) -> str:
        """The target in words."""
        goal = self.show(self.target) if self.against is None else f"{self.target:g} x"
        return f"{self.bound.value} {goal}"


def rows(sizes: Sizes) -> tuple[Row, ...]:
    """Every row, in the order of its label; times are for each page where pages are meant."""
    small, large = sizes.growth
    rate = {"unit": "M/s", "bound": Bound.LEAST}
    return (
        Row("P1", "move, address order", "move", "C1: order", 1 / 5),
        Row("P1", "the same, against real migration", "move", "C3: migrated", 1 / 40),
        Row("P2", "move, random order", "move random", "C1: random", 0.6),
        Row("P3", "move with bytes, address order", "bytes", "C4: order", 1.25),
        Row("P3", "move with bytes, random order", "bytes random", "C4: random", 1.25),
        Row("P4", "query, address order", "query", "C1: order", 1 / 40),
        Row("P4", "query, random order", "query random", "C1: random", 1 / 4),
        Row("P5", "move file pages, against anonymous", "file", "move", 2),
        Row("P5", "move file pages with four buffers", "buffers", "move", 4),
        Row("P6", "query of one page", "one query", "C1: one", 2),
        Row("P6", "the same, by its address in an array", "one address", "C1: one", 2),
        Row("P6", "one page asked to stay", "one stay", "C2: one", 2),
        Row("P6", "one page moved, against staying", "one move", "C2: one", 2),
        Row("P7", f"move {large:,} pages against {small:,}", "move large", "same: small", 1.5),
        Row("P8", "resident for a frame never touched", "untouched", None, 1, "bit"),
        Row("P8", "resident for a mapped page", "mapped", None, 48, "bytes"),
        Row("P9", f"build 4 x {sizes.gib} GiB", "build", None, 500, "ms"),
        Row("P9", "resident for that", "resident", None, 200, "MiB"),
        Row("P10", "first touch", "touch", None, 50),
        Row("P11", "accesses of a recorded trace", "accesses", None, 50, **rate),
        Row("P12", "records of lackey text", "records", None, 20, **rate),
        Row("P13", "explore move and write, a state", "explore", None, 10, "us"),
        Row("P13", "explore move and read, a state", "explore read", None, 10, "us"),
        Row("P14", "pinned, ten passes, against moving", "pinned", "move", 10),
        Row("P15", "import", "import", "numpy: import", 2, "ms"),
    )


def judged(row: Row, figures: Mapping[str, float]) -> Verdict:
    """Whether a row is good enough, by the medians of the run."""
    needed = {row.ours} if row.against is None else {row.ours, row.against}
    if not needed <= figures.keys():
        return Verdict.MISSING
    goal = row.target if row.against is None else row.target * figures[row.against]
    is_good = figures[row.ours] <= goal if row.bound is Bound.MOST else figures[row.ours] >= goal
    return Verdict.PASS if is_good else Verdict.SHORT
