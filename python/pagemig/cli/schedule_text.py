"""Schedules as people write them: ``3a1b2a`` is three steps of call a, one of b and two of a.

Start with :func:`letters`. Above: the verbs that take one.
"""

from __future__ import annotations

import re

from pagemig.errors import UsageError

STEPS_MAX = 100_000

_RUN = re.compile(r"([0-9]+)([a-z])")
_DIGITS_MAX = 9


def letters(schedule: str, what: str) -> str:
    """Return a schedule as one letter a step.

    Raises
    ------
    UsageError
        It is none, with the first character that does not fit (from 1), or is too long.

    Examples
    --------
    >>> letters("3a1b", "--schedule")
    'aaab'
    """
    made, at, steps = [], 0, 0
    while at < len(schedule) or not schedule:
        run = _RUN.match(schedule, at)
        if run is None:
            raise UsageError(f"{what} {schedule!r}: at character {at + 1}: it must be like 3a1b2a")
        steps += int(run[1]) if len(run[1]) <= _DIGITS_MAX else 10**_DIGITS_MAX
        if steps > STEPS_MAX:
            raise UsageError(f"{what}: more than {STEPS_MAX:,} steps at character {at + 1}")
        made.append(run[2] * int(run[1]))
        at = run.end()
    return "".join(made)
