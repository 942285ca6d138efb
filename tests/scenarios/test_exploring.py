"""Scenarios explored: what they expect is the check, their outcomes are all that may come about."""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm


@pytest.fixture
def race(plain: dict[str, Any]) -> dict[str, Any]:
    """One page that is moved and pinned at once."""
    plain["order"] = "together"
    plain["regions"]["heap"]["pages"] = 1
    plain["calls"].append({"id": "pin", "by": "app", "do": "pin", "address": "heap[0]"})
    return plain


def test_an_outcome_that_is_not_listed_is_a_finding_with_its_schedule(race: dict[str, Any]) -> None:
    """And the schedule leads there again."""
    race["expect"] = {"outcomes": [{"move": [1], "pin": True}]}
    told = pm.Scenario(**race)
    verdict = told.explore()
    assert [finding.kind for finding in verdict.findings] == [pm.ViolationKind.EXPECTATION]
    assert "found move: -EAGAIN" in verdict.findings[0].detail
    report = told.run(schedule=verdict.findings[0].schedule)
    assert report.calls[0].statuses == (-11,)
    assert not report.ok


def test_an_outcome_that_never_comes_about_is_a_finding_once_all_was_covered(race: dict[str, Any]) -> None:
    """A search within a narrower bound cannot say so, and does not."""
    race["expect"] = {
        "outcomes": [
            {"move": [1], "pin": True},
            {"move": ["-EAGAIN"], "pin": True},
            {"move": [0], "pin": True},
        ]
    }
    told = pm.Scenario(**race)
    verdict = told.explore()
    assert [finding.detail for finding in verdict.findings] == [
        "expect.outcomes[2]: (move: node 0; pin: True) never came about"
    ]
    assert not told.explore(pm.Exhaustive(preemptions=1)).findings


def test_outcomes_differ_only_in_what_the_scenario_looks_at(race: dict[str, Any]) -> None:
    """In which frame the page is, and after how many attempts, tells none apart."""
    verdict = pm.Scenario(**race).explore()
    assert verdict.complete
    assert sorted(dict(one.observed)["move"] for one in verdict.outcomes) == [(-11,), (1,)]
    assert sum(one.count for one in verdict.outcomes) == verdict.schedules


def test_what_a_call_expects_must_hold_in_every_order(race: dict[str, Any]) -> None:
    """Unless outcomes are listed, which stand instead."""
    race["calls"][0]["expect"] = {"statuses": 1}
    verdict = pm.Scenario(**race).explore()
    assert "calls[0].expect.statuses: expected node 1 for every page" in verdict.findings[0].detail


@pytest.mark.parametrize(
    "part",
    [
        {"strategy": "random", "runs": 40, "seed": 7},
        {"strategy": "pct", "runs": 40, "seed": 7, "depth": 3},
        {"preemptions": 1},
    ],
)
def test_a_scenario_says_how_it_wants_to_be_explored(race: dict[str, Any], part: dict[str, Any]) -> None:
    """The same twice, whatever the strategy."""
    told = pm.Scenario(**{**race, "explore": part})
    first, second = told.explore(), told.explore()
    assert str(first) == str(second)
    kinds = {"random": pm.Random, "pct": pm.Pct}
    assert isinstance(first.strategy, kinds.get(part.get("strategy", ""), pm.Exhaustive))


def test_an_exploration_that_stops_early_claims_no_more(race: dict[str, Any]) -> None:
    """The limit of transitions, from the scenario or from the caller."""
    told = pm.Scenario(**race)
    verdict = told.explore(transitions=50)
    assert not verdict.complete
    assert verdict.stopped is pm.Stop.TRANSITIONS
    assert told.changed(explore={"transitions": 50}).explore().stopped is pm.Stop.TRANSITIONS


def test_calls_in_sequence_cannot_be_explored(plain: dict[str, Any]) -> None:
    """Nor can calls of which none gets as far as its first step."""
    with pytest.raises(pm.UsageError, match="set order = 'together'"):
        pm.Scenario(**plain).explore()
    plain["order"] = "together"
    plain["calls"][0]["nodes"] = 9
    plain["calls"][0]["target"] = 4000
    plain["calls"][0]["pages"] = 0x1000
    with pytest.raises(pm.UsageError, match="there is no order to choose"):
        pm.Scenario(**plain).explore()


def test_a_broken_rule_is_found_and_a_repaired_one_is_not() -> None:
    """The same scenario with the bug and without."""
    told = pm.Scenario.load("gallery/fork-keeps-write")
    assert told.bugs == ("fork-keeps-write",)
    verdict = told.explore(stop_at_first=True)
    assert verdict.findings[0].kind is pm.ViolationKind.INVARIANT
    repaired = told.without_bugs()
    assert repaired.bugs == ()
    assert repaired.explore().complete
    assert not repaired.explore().findings
