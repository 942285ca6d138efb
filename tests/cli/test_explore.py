"""``pagemig explore`` and ``replay-schedule``: findings with schedules, and schedules that lead there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from .conftest import Run


def test_a_race_that_holds_ends_with_0_after_covering_everything(pagemig: Run) -> None:
    """Its outcomes are counted."""
    done = pagemig("explore", "two-movers")
    assert done.returncode == 0, done.stderr
    assert re.search(r"[\d,]+ schedules, [\d,]+ states, 6 outcomes: all of them", done.stdout)
    assert "east: node 1; west: -EBUSY; heap[0]: 1" in done.stdout
    assert "Nothing wrong in any order" in done.stdout


def test_a_finding_comes_with_the_command_that_replays_it(pagemig: Run) -> None:
    """Exit code 1 for both; with the bug repaired, 0 for both."""
    done = pagemig("explore", "gallery/fork-keeps-write")
    assert done.returncode == 1
    command = re.search(r"see it with: pagemig (replay-schedule \S+ \S+)", done.stdout)
    assert command is not None, done.stdout
    words = command.group(1).split()
    again = pagemig(*words)
    assert again.returncode == 1
    assert "writable_private_pages_are_unshared" in again.stdout
    assert pagemig("explore", "gallery/fork-keeps-write", "--no-bugs").returncode == 0
    assert pagemig(*words, "--no-bugs").returncode == 0


def test_a_verdict_is_told_to_machines_too(pagemig: Run) -> None:
    """Numbers, outcomes and findings in JSON."""
    told = json.loads(pagemig("explore", "gallery/fork-keeps-write", "--json").stdout)
    assert told["bugs"] == ["fork-keeps-write"]
    assert told["findings"][0]["kind"] == "invariant"
    assert told["findings"][0]["schedule"]
    clean = json.loads(pagemig("explore", "two-movers", "--json").stdout)
    assert clean["complete"] is True
    assert len(clean["outcomes"]) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--strategy", "random", "--runs", "30", "--seed", "4"), "a sample of 30 runs"),
        (("--strategy", "pct", "--runs", "30", "--depth", "2"), "a sample of 30 runs"),
        (("--preemptions", "1"), "all of them with at most 1 preemption"),
    ],
)
def test_the_strategy_can_be_chosen(pagemig: Run, words: tuple[str, ...], said: str) -> None:
    """A sample says that it is one."""
    done = pagemig("explore", "two-movers", *words)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert said in done.stdout


def test_a_search_that_runs_out_of_memory_says_how_far_it_got(pagemig: Run) -> None:
    """It never claims what it has not covered."""
    done = pagemig("explore", "truncation-race", "--memory", "1MiB")
    assert done.returncode == 0, done.stderr
    assert "It did not finish: the limit of memory was reached after" in " ".join(done.stdout.split())


INTERRUPTED = """
import os, signal, sys, threading
import pagemig
from pagemig.cli import main

search = pagemig.Scenario.explore

def interrupted(*words, **more):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    return search(*words, **more)

pagemig.Scenario.explore = interrupted
sys.argv = ["pagemig", *"explore truncation-race --strategy random --runs 1000000000".split()]
sys.exit(main())
"""


def test_an_interrupted_search_says_how_far_it_got() -> None:
    """Ctrl-C half a second into the search: the statistics so far, and exit code 130."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=100)
    assert done.returncode == 130, (done.stdout, done.stderr)
    assert "it was interrupted after" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explore", "first-move"), "order: the calls run one after the other; set order = 'together'"),
        (
            ("explore", "two-movers", "--strategy", "best"),
            "--strategy is 'best'; it must be exhaustive, random or pct",
        ),
        (("explore", "two-movers", "--runs", "3"), "--runs is not for the strategy exhaustive"),
        (("explore", "two-movers", "--memory", "much"), "--memory: 'much' is not a size such as '64MiB'"),
        (("replay-schedule", "two-movers", "3a1"), "schedule '3a1': at character 3: it must be like 3a1b2a"),
        (("replay-schedule", "two-movers", "1c"), "schedule, step 1: there is no call 'c'; there is: a, b"),
        (("replay-schedule", "two-movers", "999a"), "a (east) is done; it has no further step"),
        (("replay-schedule", "two-movers", "9999999a"), "more than 100,000 steps"),
    ],
)
def test_bad_input_is_one_line(complaint: Callable[..., str], words: tuple[str, ...], said: str) -> None:
    """Each documented error has its message and exit code 2."""
    assert said in complaint(*words)


def test_a_step_that_must_wait_cannot_be_replayed(complaint: Callable[..., str]) -> None:
    """The message says which step, and what it waits for."""
    line = complaint("replay-schedule", "reader-meets-migration", "12a9b")
    assert re.search(
        r"schedule, step \d+: b \(reader\) waits for page_lock of frame \d+, held by a \(mover\)", line
    )


def test_a_schedule_shows_every_step(pagemig: Run) -> None:
    """Each with its label and its sentence; a schedule that is too short says who is not done."""
    done = pagemig("replay-schedule", "two-movers", "8a2b")
    assert done.returncode == 0, done.stderr
    assert "Finds out which nodes the target's cpuset allows." in done.stdout
    assert "not done yet: a east, b west" in done.stdout
    told = json.loads(pagemig("replay-schedule", "two-movers", "8a2b", "--json").stdout)
    assert [step["letter"] for step in told["steps"]] == ["a"] * 8 + ["b"] * 2
    assert told["steps"][0]["label"] == "DP-1"
