"""Thousands of thrown situations in thrown orders, audited after every step and judged at the end.

``PAGEMIG_SCHEDULES`` says how many (12000 by default) and ``PAGEMIG_FIRST_SEED`` where to begin. A
failure prints the text to keep under ``schedules/``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.races.dice import Dice, situation
from tests.races.race import Broken, Race, at_random, in_order
from tests.races.situation import Kept, read, schedule_of, steps_of

SCHEDULES = int(os.environ.get("PAGEMIG_SCHEDULES", "12000"))
FIRST = int(os.environ.get("PAGEMIG_FIRST_SEED", "0"))
BATCHES = 20
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_the_order_no_rule_breaks_and_nothing_is_lost(batch: int) -> None:
    """Goal: audit clean after every step, no deadlock, legal statuses and errors, no store lost or
    seen by a stranger, every frame back at the end.
    """
    for seed in range(FIRST + batch, FIRST + SCHEDULES, BATCHES):
        dice = Dice(seed)
        thrown = situation(dice)
        try:
            Race(thrown).run(at_random(dice))
        except Broken as broken:
            pytest.fail(f"seed {seed}\n{Kept(thrown, broken.schedule, broken.what)}", pytrace=False)


def fingerprint(seeds: range) -> str:
    """Schedules, traces, results and counters of some seeds, as one word."""
    digest = hashlib.sha256()
    for seed in seeds:
        dice = Dice(seed)
        race = Race(situation(dice), record=True)
        try:
            race.run(at_random(dice))
        except Broken as broken:
            digest.update(broken.what.encode())
        else:
            digest.update(repr([tuple(event) for event in race.place.machine.trace]).encode())
        digest.update(schedule_of(race.steps).encode())
        ends = [(call.history, call.done and repr(call.error)) for call in race.place.calls]
        digest.update(repr(ends).encode())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_trace_twice() -> None:
    """Event by event: time, task, call, event, label, frame, address, value."""
    assert fingerprint(range(60)) == fingerprint(range(60))
    assert fingerprint(range(60)) != fingerprint(range(1, 61))


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_same_seed_gives_the_same_trace_in_another_process(hash_seed: str) -> None:
    """With another hash seed: no order depends on one."""
    code = "from tests.races.test_random_schedules import fingerprint; print(fingerprint(range(60)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == fingerprint(range(60))


def test_a_schedule_replays_what_chance_has_done() -> None:
    """The text of a situation and its schedule are enough to have the same race again."""
    for seed in range(100):
        dice = Dice(seed)
        thrown = situation(dice)
        first = Race(thrown)
        try:
            first.run(at_random(dice))
        except Broken:
            continue
        kept = read(str(Kept(thrown, schedule_of(first.steps), "")))
        assert kept.situation == thrown
        again = Race(kept.situation)
        again.run(in_order(kept.schedule))
        assert again.steps == first.steps == steps_of(kept.schedule)
        assert [call.history for call in again.place.calls] == [call.history for call in first.place.calls]
