"""The same seed gives the same bytes: in another process, after a snapshot, whatever the hash seed.

A snapshot holds everything, the trace, the history of each call and the ledger of cost included. So
two machines whose snapshots are equal are equal, and have come there in the same way.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pagemig as pm
from tests.house.repository import ROOT
from tests.races import dice, situation
from tests.races.crowd import Crowd

CROWDS = 48
ROUNDS = 3
SEED = 11


class Halfway(Crowd):
    """A crowd that records, and notes which calls it meets half way."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.machine.record(500)
        self.in_flight: set[str] = set()

    def step(self, waiting: list[pm.Call]) -> None:
        self.in_flight |= {type(call.what).__name__ for call in waiting if call.history}
        super().step(waiting)


class Kept(Halfway):
    """A crowd whose every step is made by a restored machine, too."""

    def step(self, waiting: list[pm.Call]) -> None:
        """Keep the machine, and let the twin make the same attempts in the same order."""
        twin = pm.Machine.restore(self.machine.snapshot())
        handles = {call.number: call for call in twin.calls}
        assert list(handles) == [call.number for call in self.machine.calls]
        assert twin.audit() == self.machine.audit()
        super().step(waiting)
        for call in waiting:
            if handles[call.number].step():
                break
        else:
            assert twin.complete_io()
        assert twin.snapshot() == self.machine.snapshot()
        for call in waiting:
            other = handles[call.number]
            assert (other.done, other.history) == (call.done, call.history)
            if call.done:
                assert repr(other.error or other.result) == repr(call.error or call.result)


@pytest.mark.parametrize("batch", range(8))
def test_a_machine_kept_at_any_step_goes_on_as_it_would_have(batch: int) -> None:
    """Goal: nothing that decides is missing from a snapshot. Method: crowds, kept before every step."""
    for seed in range(batch, CROWDS, 8):
        crowd = Kept(seed)
        for _ in range(ROUNDS):
            crowd.round()


def test_every_kind_of_call_was_kept_half_way() -> None:
    """Goal: the crowds of the test above leave none out that can be stopped after a step."""
    seen: set[str] = set()
    for seed in range(CROWDS):
        crowd = Halfway(seed)
        for _ in range(ROUNDS):
            crowd.round()
        seen |= crowd.in_flight
    assert seen >= {
        *("Touch", "MovePages", "MigratePages", "Mbind", "MigrateFrames", "Munmap", "Mprotect", "Mlock"),
        *("Mremap", "Madvise", "SwapOut", "Pin", "Fork", "ReadFile", "WriteFile", "Truncate", "Lookup"),
        *("Writeback", "Invalidate", "KsmScan", "Reclaim", "Offline", "SoftOffline"),
        "SetCpusetMems",
    }, seen


PROGRAM = f"""
import sys
from tests.races.crowd import Crowd
crowd = Crowd({SEED})
crowd.machine.record()
for _ in range(3):
    crowd.round()
trace = crowd.machine.trace
for name, column in sorted(trace.columns.items()):
    print(name, column.tolist() if hasattr(column, "tolist") else list(column))
sys.stdout.flush()
sys.stdout.buffer.write(crowd.machine.snapshot())
"""


def output(hash_seed: str, *flags: str) -> bytes:
    """What the program writes in a process of its own."""
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *flags, "-c", PROGRAM]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True).stdout


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    """Trace and snapshot, under three hash seeds, and without assertions."""
    first = output("0")
    assert len(first) > 10_000
    for hash_seed, flags in (("1", ()), ("424242", ("-O",)), ("random", ())):
        assert output(hash_seed, *flags) == first


def test_a_thrown_situation_is_the_same_for_the_same_seed() -> None:
    """The machine it is built on, too."""
    made = [situation.build(dice.situation(dice.Dice(SEED)), record=True) for _ in range(2)]
    assert made[0].machine.snapshot() == made[1].machine.snapshot()
