"""Exploring small races: what is counted, checked against trying every schedule by hand; what is claimed.

The brute force here knows nothing of states: it follows every schedule to its end, by replaying.
Neighbours: ``stage`` for where the races begin, ``test_explore_claims`` for limits and interruption.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

import pagemig as pm
from tests.races.dice import Dice, situation
from tests.races.situation import build, schedule_of, steps_of
from tests.races.stage import PAGE, SHARED, Stage, own_page, shared_page

Race = list[tuple[pm.call.CallValue, pm.Task]]


def every_schedule(
    machine: pm.Machine, calls: Race, bound: int, steps: tuple[int, ...] = ()
) -> Iterator[pm.Replay]:
    """The end of every schedule with at most so many preemptions."""
    now = pm.replay(machine, calls, schedule_of(list(steps)))
    assert now.symptoms == ()
    ready = [at for at, call in enumerate(now.calls) if not call.done and call.waiting_for is None]
    if all(call.done for call in now.calls):
        yield now
    for at in ready:
        is_preemption = bool(steps) and at != steps[-1] and steps[-1] in ready
        if not is_preemption or bound:
            yield from every_schedule(machine, calls, bound - is_preemption, (*steps, at))


def plain(call: pm.Call) -> Any:
    """A result that can be counted."""
    if call.error is not None:
        assert isinstance(call.error, OSError)
        return type(call.error).__name__, call.error.errno
    return tuple(call.result.tolist()) if hasattr(call.result, "tolist") else call.result


def move_and_read(stage: Stage) -> Race:
    return [
        (pm.calls.move_pages(stage.heap, 1), stage.parent),
        (pm.calls.read(stage.address, 4), stage.parent),
    ]


def move_and_write_by_the_child(stage: Stage) -> Race:
    return [
        (pm.calls.move_pages(stage.heap, 1, scope=SHARED), stage.parent),
        (pm.calls.write(stage.address, b"x"), stage.child),
    ]


def protect_and_drain_and_query(stage: Stage) -> Race:
    return [
        (pm.calls.mprotect(stage.heap, pm.R), stage.parent),
        (pm.calls.drain(), stage.parent),
        (pm.calls.move_pages(stage.heap), stage.parent),
    ]


def two_movers(stage: Stage) -> Race:
    return [
        (pm.calls.move_pages(stage.heap, 1), stage.parent),
        (pm.calls.move_pages(stage.heap, 0), stage.parent),
    ]


RACES = {
    "move and read": (own_page, move_and_read, 2),
    "move and copy-on-write": (shared_page, move_and_write_by_the_child, 1),
    "three short calls": (own_page, protect_and_drain_and_query, 9),
    "two movers": (own_page, two_movers, 1),
}


@pytest.mark.parametrize("name", RACES)
@pytest.mark.parametrize("reduction", [True, False])
def test_schedules_and_outcomes_are_counted_as_by_hand(name: str, reduction: bool) -> None:
    """Goal: the same number of schedules for every combination of results as following each of them."""
    make, calls, bound = RACES[name]
    stage = make()
    race = calls(stage)
    ends = [tuple(plain(call) for call in end.calls) for end in every_schedule(stage.machine, race, bound)]
    verdict = pm.explore(stage.machine, race, pm.Exhaustive(preemptions=bound), reduction=reduction)
    assert verdict.complete
    assert verdict.exact
    assert verdict.findings == ()
    assert verdict.schedules == len(ends)
    assert {outcome.results: outcome.count for outcome in verdict.outcomes} == Counter(ends)


def test_all_schedules_without_a_bound_are_counted_as_by_hand() -> None:
    """Three short calls: no bound at all gives the same as one that is never reached."""
    stage = own_page()
    race = protect_and_drain_and_query(stage)
    ends = list(every_schedule(stage.machine, race, 99))
    verdict = pm.explore(stage.machine, race)
    assert verdict.schedules == len(ends) > 100
    assert sum(outcome.count for outcome in verdict.outcomes) == len(ends)


def test_without_preemptions_there_are_the_orders_of_whole_calls() -> None:
    """Three calls that never wait: six orders; and each has an example."""
    stage = own_page(pages=3)
    race = [(pm.calls.write(page.start, b"x"), stage.parent) for page in stage.heap]
    verdict = pm.explore(stage.machine, race, pm.Exhaustive(preemptions=0))
    assert verdict.schedules == 6
    for outcome in verdict.outcomes:
        assert len([letter for letter in outcome.schedule if letter.isalpha()]) == 3


@pytest.mark.parametrize("granularity", list(pm.Granularity))
def test_a_coarse_call_stops_at_fewer_places(granularity: pm.Granularity) -> None:
    """Concurrency 1: both modes cover everything, fine has more states, and no outcome is lost."""
    stage = own_page()
    verdict = pm.explore(stage.machine, move_and_read(stage), granularity=granularity)
    fine = pm.explore(stage.machine, move_and_read(stage))
    assert verdict.complete
    assert {one.results for one in verdict.outcomes} <= {one.results for one in fine.outcomes}
    assert (verdict.states < fine.states) == (granularity is pm.Granularity.COARSE)


def test_a_bound_loses_states_and_never_adds_any() -> None:
    """S05 needs eleven preemptions: the outcome -EAGAIN is beyond a bound of one."""
    stage = own_page()
    found = [
        pm.explore(stage.machine, move_and_read(stage), pm.Exhaustive(preemptions=bound))
        for bound in (0, 1, 2, 4, None)
    ]
    assert [verdict.complete for verdict in found] == [True] * 5
    states = [verdict.states for verdict in found]
    assert states == sorted(set(states))
    assert {one.results for one in found[0].outcomes} == {((1,), b"page")}
    assert {one.results for one in found[-1].outcomes} == {((1,), b"page"), ((-11,), b"page")}


def test_outcomes_replay_to_their_results() -> None:
    """The example of an outcome is a schedule that leads to it."""
    stage = shared_page()
    race = move_and_write_by_the_child(stage)
    verdict = pm.explore(stage.machine, race)
    assert verdict.outcomes
    for outcome in verdict.outcomes:
        end = pm.replay(stage.machine, race, outcome.schedule)
        assert tuple(plain(call) for call in end.calls) == outcome.results


def essence(outcome: pm.Outcome) -> tuple[Any, ...]:
    """Everything but which of several equally short schedules is the example."""
    steps = steps_of(outcome.schedule)
    switches = sum(a != b for a, b in pairwise(steps))
    return outcome.count, outcome.results, outcome.observed, len(steps), switches


def test_reduction_loses_no_outcome_no_schedule_and_no_finding() -> None:
    """Thrown situations, whole and bounded: the same counts, outcomes, findings and shortest schedules."""
    compared = saved = 0
    for seed in range(100):
        place = build(situation(Dice(seed)))
        for strategy in (pm.Exhaustive(), pm.Exhaustive(preemptions=1)):
            reduced, whole = (
                pm.explore(place.machine, place.calls, strategy, reduction=on, transitions=6000)
                for on in (True, False)
            )
            if not whole.complete:
                continue
            compared += 1
            saved += whole.states - reduced.states
            assert reduced.complete, f"seed {seed}"
            assert (reduced.schedules, reduced.exact) == (whole.schedules, whole.exact), f"seed {seed}"
            assert list(map(essence, reduced.outcomes)) == list(map(essence, whole.outcomes)), f"seed {seed}"
            assert reduced.findings == whole.findings == (), f"seed {seed}"
            assert reduced.states <= whole.states, f"seed {seed}"
    assert compared > 100
    assert saved > 0


def stuck(stage: Stage) -> tuple[pm.Machine, Race]:
    """S31 with a disk that never answers: the mover sleeps for writeback, and its task's munmap for it."""
    machine = stage.machine
    kind = pm.FileSystem("slow", io_ticks=None)
    file = machine.create_file("slow", PAGE, filesystem=kind)
    area = stage.parent.mmap(PAGE, file=file, shared=True)
    return machine, [
        (pm.calls.touch(area), stage.parent),
        (pm.calls.munmap(stage.heap), stage.parent),
    ]


def test_a_deadlock_is_found_with_who_waits_for_whom() -> None:
    """Nothing ever ends the read: the reader alone, or with the munmap behind its mmap_sem."""
    machine, race = stuck(own_page())
    verdict = pm.explore(machine, race)
    assert verdict.complete
    assert verdict.outcomes == ()
    assert len(verdict.findings) == 2
    for found in verdict.findings:
        assert found.kind is pm.ViolationKind.DEADLOCK
        assert "held by the disk" in found.detail
        (symptom,) = found.replay().symptoms
        assert (symptom.kind, symptom.rule, symptom.detail) == (found.kind, found.rule, found.detail)
    assert ["mmap_sem" in found.detail for found in verdict.findings].count(True) == 1


def strand(stage: Stage) -> Race:
    """S34: the child, whose memory is not locked, moves its mapping while the page's entries are replaced."""
    return [
        (pm.calls.move_pages(stage.heap, 1, scope=SHARED), stage.parent),
        (pm.calls.mremap(stage.of_child(), to=stage.heap.start + 64 * PAGE), stage.child),
    ]


Strategies = pytest.mark.parametrize(
    "strategy", [pm.Exhaustive(), pm.Exhaustive(preemptions=2), pm.Random(3000, 5), pm.Pct(3, 2000, 5)]
)


@Strategies
def test_a_known_defect_is_found_and_every_finding_replays(strategy: pm.strategies.Strategy) -> None:
    """S34, Q21: an entry that the restoring walk missed. The same rule, in the same words, on replay."""
    stage = shared_page()
    verdict = pm.explore(stage.machine, strand(stage), strategy)
    assert "migration_entries_have_a_migrator" in {found.rule for found in verdict.findings}
    for found in verdict.findings:
        symptoms = pm.replay(stage.machine, strand(stage), found.schedule).symptoms
        assert found.replay().symptoms == symptoms
        assert found.rule in {symptom.rule for symptom in symptoms}
        before = pm.replay(stage.machine, strand(stage), shortened(found.schedule))
        assert before.symptoms == (), "it is broken at its last step and not before"


def shortened(schedule: str) -> str:
    """The same without its last step."""
    return schedule_of(steps_of(schedule)[:-1])


def test_a_repaired_machine_explores_clean() -> None:
    """The same race where mremap takes the lock of the walk (Q21 repaired)."""
    machine = pm.Machine(nodes=[64 * PAGE] * 2, contents=True, profile=pm.Profile.REPAIRED)
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(PAGE)
    parent.write(heap.start, b"page")
    machine.drain()
    stage = Stage(machine, parent, parent.fork("child"), heap, 0)
    verdict = pm.explore(machine, strand(stage), pm.Exhaustive(preemptions=3))
    assert verdict.complete
    assert verdict.findings == ()


def test_the_shortest_schedule_is_shortest() -> None:
    """By hand: no schedule with fewer steps, or as many and fewer switches, breaks the same rule."""
    stage = shared_page()
    race = strand(stage)
    verdict = pm.explore(stage.machine, race)
    found = verdict.findings[0]
    bounded = pm.explore(stage.machine, race, steps=found.steps - 1)
    assert bounded.stopped is pm.Stop.LENGTH
    assert found.rule not in {other.rule for other in bounded.findings}
    reached = pm.explore(stage.machine, race, steps=found.steps)
    assert found.rule in {other.rule for other in reached.findings}
    sampled = pm.explore(stage.machine, race, pm.Pct(3, 2000, 9))
    same = [other for other in sampled.findings if other.rule == found.rule]
    assert same
    assert same[0].steps >= found.steps


def test_time_passes_when_nobody_can_go_on_and_a_replay_agrees() -> None:
    """A read of 5 ticks: every schedule ends, and the clock of its replay says when."""
    stage = own_page()
    file = stage.machine.create_file("disk", PAGE, filesystem=pm.FileSystem("disk", io_ticks=5))
    area = stage.parent.mmap(PAGE, file=file, shared=True)
    race: Race = [(pm.calls.touch(area, write=False), stage.parent), (pm.calls.drain(), stage.parent)]
    verdict = pm.explore(stage.machine, race, observe=lambda end: end.machine.now)
    assert verdict.complete
    assert verdict.findings == ()
    assert {outcome.observed for outcome in verdict.outcomes} == {5}
    for outcome in verdict.outcomes:
        assert pm.replay(stage.machine, race, outcome.schedule).machine.now == 5


@pytest.mark.parametrize("ticks", [0, 1, 5])
def test_a_fault_and_a_truncation_that_undo_each_others_work_come_back_to_states_that_are_known(
    ticks: int,
) -> None:
    """supporting-paths 2.3 and 8: a page is added beyond the new end and removed, as often as one likes."""
    machine = pm.Machine(nodes=[64 * PAGE] * 2)
    disk = pm.FileSystem("disk", io_ticks=ticks, failing_reads=1, write_script=[pm.WriteOutcome.ACTIVATE])
    file = machine.create_file("data", PAGE, filesystem=disk)
    app, other = machine.spawn("app", stack=False), machine.spawn("other", stack=False)
    page = app.mmap(PAGE, file=file, shared=True)
    race: Race = [(pm.calls.touch(page, write=False), app), (pm.calls.truncate(file, 0), other)]
    verdict = pm.explore(machine, race, transitions=20_000)
    assert verdict.complete
    assert verdict.findings == ()


def test_a_search_keeps_its_limit_of_memory_about() -> None:
    """Method: an interpreter of its own, whose resident memory the limit must explain."""
    script = """
import resource, pagemig as pm
machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2)
app = machine.spawn(stack=False)
heap = app.mmap(40 * pm.PAGE_SIZE)
child = app.fork()
move = pm.calls.move_pages(heap, 1, scope=pm.MoveScope.SHARED)
touches = [(pm.calls.touch(child.same(heap)), child), (pm.calls.touch(heap), app)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
verdict = pm.explore(machine, [(move, app), *touches], memory=40 << 20)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(verdict.stopped.name, grown >> 10)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    stopped, grown = done.stdout.split()
    assert stopped == "MEMORY"
    assert int(grown) < 2 * 40
