"""Which schedules an exploration tries.

`Exhaustive` covers everything within its bound; `Random` and `Pct` try some, the same for the same
seed on every host. Neighbours: `pagemig.exploring` runs them, `pagemig.verdict` says what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .arguments import integer

_COUNT_MAX = (1 << 32) - 1
_SEED_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Exhaustive:
    """Every schedule, or every one that interrupts calls no more often than a bound.

    Parameters
    ----------
    preemptions
        How often a schedule may switch away from a call that could go on; None: as often as it
        likes. With 0 every call runs until it is done or must wait.

    Raises
    ------
    UsageError
        The bound is no number from 0 on.

    Examples
    --------
    >>> Exhaustive(preemptions=2)
    Exhaustive(preemptions=2)
    """

    preemptions: int | None = None

    def __post_init__(self) -> None:
        if self.preemptions is not None:
            integer(self.preemptions, "preemptions", high=_COUNT_MAX)

    def _row(self) -> tuple[str, int | None, int, int]:
        return "exhaustive", self.preemptions, 0, 0


@dataclass(frozen=True, slots=True)
class Random:
    """Schedules thrown step by step: each call that can go on is as likely as the others.

    Parameters
    ----------
    runs
        How many schedules.
    seed
        What decides them, 0 to 2^64 - 1.

    Raises
    ------
    UsageError
        There is no run, or a number is out of range.
    """

    runs: int
    seed: int

    def __post_init__(self) -> None:
        integer(self.runs, "runs", 1, _SEED_MAX)
        integer(self.seed, "seed", high=_SEED_MAX)

    def _row(self) -> tuple[str, int | None, int, int]:
        return "random", None, self.runs, self.seed


@dataclass(frozen=True, slots=True)
class Pct:
    """Probabilistic concurrency testing: random priorities that change at a few random steps.

    A bug that needs ``depth`` things to happen in one order is met in a run with a probability of
    at least one in n k^(depth - 1), for n calls and k steps.

    Parameters
    ----------
    depth
        One more than the changes of priority in a run; at least 1.
    runs
        How many schedules.
    seed
        What decides them, 0 to 2^64 - 1.

    Raises
    ------
    UsageError
        There is no run, or a number is out of range.
    """

    depth: int
    runs: int
    seed: int

    def __post_init__(self) -> None:
        integer(self.depth, "depth", 1, 1 << 16)
        integer(self.runs, "runs", 1, _SEED_MAX)
        integer(self.seed, "seed", high=_SEED_MAX)

    def _row(self) -> tuple[str, int | None, int, int]:
        return "pct", self.depth, self.runs, self.seed


Strategy: TypeAlias = Exhaustive | Random | Pct
"""Which schedules are tried."""
