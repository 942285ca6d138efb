"""What an exploration claims when it is cut short, and that it is the same in every process."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import pagemig as pm
from tests.races.stage import PAGE, SHARED, Stage, own_page, shared_page

ROOT = Path(__file__).resolve().parents[2]


def race(stage: Stage) -> list[tuple[pm.call.CallValue, pm.Task]]:
    """Three calls on one page: more than anybody waits for."""
    return [
        (pm.calls.move_pages(stage.heap, 1, scope=SHARED), stage.parent),
        (pm.calls.write(stage.address, b"x"), stage.child),
        (pm.calls.write(stage.address, b"y"), stage.parent),
    ]


LIMITS = {
    "transitions": ({"transitions": 500}, pm.Stop.TRANSITIONS, "the limit of transitions"),
    "memory": ({"memory": 500_000}, pm.Stop.MEMORY, "the limit of memory"),
    "steps": ({"steps": 12}, pm.Stop.LENGTH, "the limit of steps"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_search_that_is_cut_short_says_so_and_how_far_it_got(limit: str) -> None:
    """It claims nothing beyond what it has seen, and the same limit cuts at the same place."""
    keywords, stop, words = LIMITS[limit]
    stage = shared_page()
    first, again = (pm.explore(stage.machine, race(stage), **keywords) for _ in range(2))
    assert first.stopped is stop
    assert not first.complete
    assert "not finished" in str(first)
    assert words in str(first)
    assert f"{first.states:,} states" in str(first)
    assert 1 < first.states <= first.transitions + 1
    assert first.statistics.memory <= keywords.get("memory", pm.GiB) + 200_000
    assert (str(again), again) == (str(first), first)


def test_a_limit_of_nothing_finds_nothing() -> None:
    """No step may be made: one state, no schedule."""
    stage = shared_page()
    verdict = pm.explore(stage.machine, race(stage), transitions=0)
    assert (verdict.states, verdict.transitions, verdict.schedules) == (1, 0, 0)
    assert not verdict.complete


@pytest.mark.parametrize("strategy", [pm.Random(50, 1), pm.Pct(2, 50, 1)])
def test_a_sample_is_never_complete(strategy: pm.strategies.Strategy) -> None:
    """Even where it happens to have seen everything."""
    stage = own_page()
    calls = [(pm.calls.drain(), stage.parent), (pm.calls.drain(), stage.parent)]
    verdict = pm.explore(stage.machine, calls, strategy)
    assert verdict.schedules == 2
    assert verdict.statistics.runs == 50
    assert not verdict.complete
    assert "a sample of 50 runs; there may be more" in str(verdict)


def test_another_seed_is_another_sample() -> None:
    """And the same seed the same."""
    stage = shared_page()
    for kind in (pm.Random, lambda runs, seed: pm.Pct(3, runs, seed)):
        one, two, other = (pm.explore(stage.machine, race(stage), kind(20, seed)) for seed in (1, 1, 2))
        assert one == two
        assert one.outcomes != other.outcomes or one.states != other.states


def test_an_interrupted_search_gives_what_it_has() -> None:
    """A progress function that raises as Ctrl-C would."""
    stage = shared_page()

    def interrupt(now: pm.ExplorationStatistics) -> None:
        if now.transitions >= 1000:
            raise KeyboardInterrupt

    with pytest.raises(pm.ExplorationInterrupted) as caught:
        pm.explore(stage.machine, race(stage), progress=interrupt)
    verdict = caught.value.verdict
    assert isinstance(caught.value, KeyboardInterrupt)
    assert verdict.stopped is pm.Stop.INTERRUPTED
    assert verdict.transitions >= 1000
    assert "not finished, it was interrupted" in str(caught.value)


def test_ctrl_c_is_heard_in_the_middle_of_a_search() -> None:
    """A real signal, sent after a third of a second."""
    stage = shared_page()
    timer = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(pm.ExplorationInterrupted) as caught:
        pm.explore(stage.machine, race(stage))
    timer.join()
    assert not caught.value.verdict.complete
    assert caught.value.verdict.states > 1


def test_ctrl_c_is_heard_within_a_second() -> None:
    """A search is advanced in slices, and even with an unoptimized core none of them is long."""
    stage = shared_page()
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(1.0, interrupt)
    timer.start()
    with pytest.raises(pm.ExplorationInterrupted) as caught:
        pm.explore(stage.machine, race(stage))
    heard = time.monotonic()
    timer.join()
    assert heard - sent[0] < 1.0
    assert caught.value.verdict.stopped is pm.Stop.INTERRUPTED


def test_a_panic_of_the_core_is_a_finding_with_its_schedule(capfd: pytest.CaptureFixture[str]) -> None:
    """The search goes on behind it, nothing is printed, and the machine can still be used (W7)."""
    machine, calls = pm.gallery["new-unlocked"].build()
    verdict = pm.explore(machine, calls)
    assert verdict.complete
    assert not verdict.holds
    assert verdict.outcomes, "orders in which nobody meets the new page come to an end"
    finding = next(one for one in verdict.findings if one.kind is pm.ViolationKind.ASSERTION)
    assert finding.rule == "new page # was locked"
    assert set(re.findall("[a-z]", finding.schedule)) == {"a", "b"}
    assert finding.count >= 1
    symptoms = pm.replay(machine, calls, finding.schedule).symptoms
    assert [(one.kind, one.rule) for one in symptoms] == [(finding.kind, finding.rule)]
    out, error = capfd.readouterr()
    assert out == ""
    assert "panicked" not in error
    machine.check()
    again = pm.explore(machine, calls)
    assert [(one.rule, one.schedule) for one in again.findings] == [
        (one.rule, one.schedule) for one in verdict.findings
    ]


def test_the_machine_is_left_as_it_is() -> None:
    """Calls in flight on it included, which can be explored, too."""
    stage = shared_page()
    mover = stage.mover()
    mover.step()
    before = stage.machine.clone()
    calls = [mover, (pm.calls.write(stage.address, b"x"), stage.child)]
    verdict = pm.explore(stage.machine, calls, pm.Exhaustive(preemptions=1))
    assert verdict.complete
    assert verdict.calls == {"a": "MovePages by task 1", "b": "Write by task 2"}
    assert mover.history == next(call for call in before.calls if call.number == mover.number).history
    assert stage.machine.calls == (mover,)
    assert stage.machine.vmstat() == before.vmstat()
    assert stage.machine.steps == before.steps
    stage.machine.run()
    assert pm.explore(before, before.calls).complete


def test_a_check_sees_every_end_once_and_fails_in_three_ways() -> None:
    """False, a text, an assertion: each is an expectation that was not met, with the shortest schedule."""
    stage = own_page()
    calls = [
        (pm.calls.move_pages(stage.heap, 1), stage.parent),
        (pm.calls.read(stage.address, 4), stage.parent),
    ]
    ends = []

    def assertion(end: pm.Replay) -> None:
        if end.calls[0].result.tolist() != [1]:
            raise AssertionError("the page did not move")

    def text(end: pm.Replay) -> str | None:
        return None if end.calls[0].result.tolist() == [1] else "the page did not move"

    def boolean(end: pm.Replay) -> bool:
        ends.append(end.schedule)
        return bool(end.calls[0].result[0] == 1)

    found = [pm.explore(stage.machine, calls, check=check) for check in (assertion, text, boolean)]
    assert len(ends) == len(set(ends)) == found[2].statistics.ends
    for verdict in found:
        (broken,) = verdict.findings
        assert broken.kind is pm.ViolationKind.EXPECTATION
        assert broken.replay().calls[0].result.tolist() == [-11]
        assert broken.count == sum(one.count for one in verdict.outcomes if one.results[0] == (-11,))
    assert [verdict.findings[0].rule for verdict in found][:2] == ["the page did not move"] * 2


def test_stopping_at_the_first_finding_stops_early() -> None:
    """An expectation of an end counts as well."""
    stage = shared_page()
    verdict = pm.explore(stage.machine, race(stage), check=lambda end: False, stop_at_first=True)
    assert verdict.stopped is pm.Stop.FIRST_FINDING
    assert not verdict.complete
    assert verdict.findings[0].kind is pm.ViolationKind.EXPECTATION


def test_what_is_observed_tells_outcomes_apart() -> None:
    """Arrays count by what they say; what cannot be hashed is refused."""
    stage = own_page()
    calls = [(pm.calls.move_pages(stage.heap, 1), stage.parent), (pm.calls.drain(), stage.parent)]
    where = [stage.address]
    parent = stage.parent.pid
    verdict = pm.explore(stage.machine, calls, observe=lambda end: end.machine.task(parent).nodes_of(where))
    assert {outcome.observed for outcome in verdict.outcomes} == {(1,)}
    with pytest.raises(pm.UsageError, match="hashable"):
        pm.explore(stage.machine, calls, observe=lambda end: bytearray(b"x"))


def test_a_verdict_travels_with_its_machine_and_still_replays() -> None:
    """Pickled, alone and in the exception of an interrupted search: equal, and good for a replay."""
    stage = own_page()
    calls = [(pm.calls.move_pages(stage.heap, 1), stage.parent), (pm.calls.drain(), stage.parent)]
    verdict = pm.explore(stage.machine, calls, check=lambda end: False)
    for twin in (
        pickle.loads(pickle.dumps(verdict)),
        pickle.loads(pickle.dumps(pm.ExplorationInterrupted(verdict))).verdict,
    ):
        assert (twin, hash(twin), str(twin)) == (verdict, hash(verdict), str(verdict))
        end = twin.findings[0].replay()
        assert end.calls[0].result.tolist() == [1]


BAD = {
    "strategy": ({"strategy": "all"}, "strategy"),
    "memory": ({"memory": -1}, "memory"),
    "transitions": ({"transitions": "many"}, "transitions"),
    "steps": ({"steps": 0}, "steps"),
    "too many steps": ({"steps": 1_000_001}, "1000000"),
    "granularity": ({"granularity": "fine"}, "granularity"),
    "reduction": ({"reduction": 1}, "reduction"),
    "stop_at_first": ({"stop_at_first": None}, "stop_at_first"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_is_refused_in_plain_words(name: str) -> None:
    """And nothing has changed."""
    keywords, words = BAD[name]
    stage = own_page()
    with pytest.raises(pm.UsageError, match=words):
        pm.explore(stage.machine, [(pm.calls.drain(), stage.parent)], **keywords)
    assert stage.machine.calls == ()


def test_bad_calls_are_refused() -> None:
    """None, too many, of another machine, twice, or no call at all."""
    stage, other = own_page(), own_page()
    drain = (pm.calls.drain(), stage.parent)
    mover = stage.mover()
    for calls in (
        [],
        [drain] * 27,
        [other.mover()],
        [mover, mover],
        ["move"],
        [(pm.calls.drain(), other.parent)],
    ):
        with pytest.raises(pm.UsageError):
            pm.explore(stage.machine, calls)  # type: ignore[arg-type]
    assert stage.machine.calls == (mover,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pm.Exhaustive(preemptions=-1),
        lambda: pm.Random(0, 1),
        lambda: pm.Random(1, -1),
        lambda: pm.Pct(0, 1, 1),
        lambda: pm.Pct(1, 1, 1 << 64),
    ],
)
def test_a_strategy_without_sense_is_refused(make: object) -> None:
    """Counts begin at 1 and seeds at 0."""
    with pytest.raises(pm.UsageError):
        make()  # type: ignore[operator]


def everything() -> str:
    """Verdicts, findings and the trace of a replay, as text."""
    stage = shared_page()
    strand = [
        (pm.calls.move_pages(stage.heap, 1, scope=SHARED), stage.parent),
        (pm.calls.mremap(stage.of_child(), to=stage.heap.start + 64 * PAGE), stage.child),
    ]
    said = []
    for strategy in (pm.Exhaustive(), pm.Exhaustive(preemptions=2), pm.Random(300, 3), pm.Pct(3, 300, 3)):
        verdict = pm.explore(stage.machine, strand, strategy)
        said += [str(verdict), repr(verdict)]
    schedule = pm.explore(stage.machine, strand).outcomes[-1].schedule
    ran = pm.replay(stage.machine, strand, schedule, record=10_000)
    said += [repr(tuple(event)) for event in ran.machine.trace]
    return "\n".join(said)


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_an_exploration_says_the_same_in_another_process(hash_seed: str) -> None:
    """Byte for byte, whatever Python's hash seed is."""
    code = "from tests.races.test_explore_claims import everything; print(everything())"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert ran.stdout == everything() + "\n"
