"""A scenario swept: run with every combination of some of its values, on any executor.

Start with `sweep`. A parameter is a place in the scenario, written as messages write it. All variants
are read before the first one runs, so that a value that makes no sense is told at once. Below:
`pagemig.sweep`, which makes the runs and the table.
"""

from __future__ import annotations

import concurrent.futures
import copy
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import UsageError
from ..report import Report
from ..sweeping import Progress, combinations, run_all
from ..tables import Table
from . import running
from .model import Page
from .naming import nearest
from .reading import page_from
from .writing import plain_of

Place = tuple[str | int, ...]
"""Keys and positions, from the outside in."""

_PART = re.compile(r"([A-Za-z_][\w-]*)((?:\[\d+\])*)")


def sweep(
    page: Page,
    parameters: Mapping[str, Iterable[Any]],
    executor: concurrent.futures.Executor | None,
    *,
    measure: Callable[[Report], Any] | None,
    progress: Progress | None,
) -> Table:
    """Run a scenario with every combination of values; see `pagemig.Scenario.sweep`."""
    if measure is not None and not callable(measure):
        raise UsageError(f"measure is {measure!r}; it must be a function of a report")
    runs = combinations(parameters, is_name=lambda name: bool(parts_of(name)))
    plain = plain_of(page)
    for run in runs:
        try:
            _variant(plain, run)
        except UsageError as error:
            told = ", ".join(f"{name}={value!r}" for name, value in run.items())
            raise UsageError(f"the run {told}: {error}") from None
    return run_all(_Measured(plain, measure), runs, executor, progress)


def parts_of(name: str) -> Place:
    """Return a place as keys and positions; empty if it is written wrongly.

    >>> parts_of("machine.nodes[1]")
    ('machine', 'nodes', 1)
    """
    parts: list[str | int] = []
    for part in name.split("."):
        found = _PART.fullmatch(part)
        if found is None:
            return ()
        parts.append(found[1])
        parts += [int(number) for number in re.findall(r"\d+", found[2])]
    return tuple(parts)


class _Measured:
    """Runs one variant; can be sent to another process."""

    def __init__(self, plain: dict[str, Any], measure: Callable[[Report], Any] | None) -> None:
        self._plain = plain
        self._measure = measure

    def __call__(self, **run: Any) -> Any:
        report = running.run(_variant(self._plain, run))
        return _usual(report) if self._measure is None else self._measure(report)


def _usual(report: Report) -> dict[str, Any]:
    asked = [call.asked for call in report.calls if call.asked is not None and not call.asked.is_query]
    failed = [f"{call.id} {call.errno}" for call in report.calls if call.errno is not None]
    moved = [a for one in asked for a, b in zip(one.after, one.before, strict=True) if 0 <= a != b >= 0]
    return {
        "ok": report.ok,
        "moved": len(moved),
        "stayed": sum(status < 0 for one in asked for status in one.statuses),
        "copies": int(report.cost.get("copies", 0)),
        "steps": report.steps,
        "ticks": report.ticks,
        "errnos": ", ".join(failed),
    }


def _variant(plain: Mapping[str, Any], run: Mapping[str, Any]) -> Page:
    """Return the scenario with values put in their places.

    Raises
    ------
    UsageError
        There is no such place, or the scenario with the value in it contradicts itself.
    """
    data = copy.deepcopy(dict(plain))
    for name, value in run.items():
        _put(data, name, value)
    return page_from(data)


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    at: Any = data
    *way, last = parts_of(name)
    for number, part in enumerate(way):
        after = [*way, last][number + 1]
        if isinstance(at, dict) and isinstance(part, str) and part not in at and isinstance(after, str):
            at[part] = {}
        at = at[_key(at, part, name)]
    if isinstance(at, dict) and isinstance(last, str):
        at[last] = value
    else:
        at[_key(at, last, name)] = value


def _key(at: Any, part: str | int, name: str) -> str | int:
    """Return the key or position that a part of a place means; a call or step may be named by its id."""
    if isinstance(at, dict) and (part in at or str(part) in at):
        return part if part in at else str(part)  # Nodes have numbers for names.
    if isinstance(at, list):
        if isinstance(part, int):
            if part < len(at):
                return part
            raise UsageError(f"{name}: there is no [{part}]; there are {len(at)}")
        ids = {
            item["id"]: number for number, item in enumerate(at) if isinstance(item, dict) and "id" in item
        }
        if part in ids:
            return ids[part]
        raise UsageError(f"{name}: nothing here is called {part!r}{nearest(str(part), tuple(ids))}")
    raise UsageError(f"{name}: there is no {part!r} to put a value in")
