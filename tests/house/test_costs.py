"""The gates of `make costs` shut when they should: counters exactly, instructions beyond 2 %."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType

import pytest

from tests.house.repository import ROOT


@pytest.fixture(scope="module")
def costs() -> ModuleType:
    """The script, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("costs", ROOT / ".ci" / "costs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("now", "lines"), [(1000, 0), (1020, 0), (980, 0), (1021, 1), (979, 1)])
def test_instructions_may_drift_by_two_percent_either_way(costs: ModuleType, now: int, lines: int) -> None:
    """Fewer instructions are news, too: the file would hide the next loss."""
    assert len(costs.drifts({"move": now}, {"move": 1000})) == lines


def test_a_workload_that_only_one_side_knows_is_named(costs: ModuleType) -> None:
    """A workload cannot vanish from the gate unseen."""
    assert costs.drifts({"new": 1}, {"old": 1}) == ["new: new", "old: gone"]


def test_a_counter_is_compared_exactly_and_one_that_is_missing_is_zero(costs: ModuleType) -> None:
    """One walk more in a million is a decision, not noise."""
    accepted = {"move": {"walks": 1_000_000, "drains": 2}}
    assert costs.differences({"move": {"walks": 1_000_000, "drains": 2}}, accepted) == []
    found = costs.differences({"move": {"walks": 1_000_001}}, accepted)
    assert found == ["move: drains 2 -> 0", "move: walks 1000000 -> 1000001"]


def test_what_was_accepted_says_under_which_tools(costs: ModuleType) -> None:
    """Another compiler or valgrind counts differently; the gate has to know."""
    accepted = json.loads(costs.ACCEPTED.read_text(encoding="utf-8"))
    assert set(accepted["tools"]) == {"compiler", "valgrind", "architecture"}
    assert accepted["counters"].keys() == accepted["instructions"].keys()
