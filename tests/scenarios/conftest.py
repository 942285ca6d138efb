"""What the tests of scenarios share: a small scenario as data, and a way to read its mistakes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

import pagemig as pm

PLAIN: dict[str, Any] = {
    "title": "Four pages move",
    "machine": {"nodes": ["1MiB", "1MiB"]},
    "tasks": {"app": {}, "other": {}},
    "regions": {"heap": {"task": "app", "pages": 4}},
    "setup": [{"by": "app", "do": "touch", "where": "heap"}, {"do": "drain"}],
    "calls": [{"id": "move", "by": "app", "do": "move_pages", "pages": "heap", "nodes": 1}],
}


@pytest.fixture
def plain() -> dict[str, Any]:
    """A scenario of four pages that move, as data that a test may change."""
    return copy.deepcopy(PLAIN)


@pytest.fixture
def mistakes() -> Callable[[dict[str, Any]], list[str]]:
    """Read a scenario that is wrong and return what is said of it, a line a mistake."""

    def read(data: dict[str, Any]) -> list[str]:
        with pytest.raises(pm.UsageError) as caught:
            pm.Scenario(**data)
        lines = str(caught.value).splitlines()
        return (
            [lines[0].removeprefix("the scenario: ")] if len(lines) == 1 else [x.strip() for x in lines[1:]]
        )

    return read
