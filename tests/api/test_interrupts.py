"""Long calls: Ctrl-C, progress, and what is left behind (decision 0011)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

import pagemig as pm

PAGES = 50_000


def heap(pages: int = PAGES) -> tuple[pm.Machine, pm.Task, pm.Region]:
    """A task with a heap on the first of two nodes that have room for it."""
    machine = pm.Machine(nodes=[(2 * pages + 4096) * pm.PAGE_SIZE] * 2)
    task = machine.spawn("app")
    region = task.mmap(pages * pm.PAGE_SIZE)
    task.touch(region)
    return machine, task, region


class Stop(Exception):
    """What a progress hook raises here."""


def stop(done: int, total: int) -> None:
    """Stop at the first opportunity."""
    raise Stop(done, total)


INTERRUPTED = """
import json, os, signal, threading, time
import numpy as np
import pagemig as pm

machine = pm.Machine(nodes=[128 * pm.MiB] * 2)
task = machine.spawn("app")
heap = task.mmap(20_000 * pm.PAGE_SIZE)
task.touch(heap)
# There and back 300 times, in one call: Python itself cannot interrupt it.
addresses = np.tile(heap.addresses, 600)
nodes = np.tile(np.repeat(np.array([1, 0], np.int32), len(heap)), 300)
sent = []

def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Timer(0.15, interrupt).start()
latency = None
try:
    task.move_pages(addresses, nodes)
except KeyboardInterrupt:
    latency = time.monotonic() - sent[0]
machine.check()
print(json.dumps({"latency": latency, "calls": len(machine.calls)}))
"""


def test_ctrl_c_ends_a_long_call_soon_and_leaves_a_sound_machine() -> None:
    """Method: a real SIGINT, in an interpreter of its own; generous, for debug builds on busy machines."""
    answer = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    seen = json.loads(answer.stdout)
    assert seen["latency"] is not None, "the call was over before the signal came"
    assert seen["latency"] < 2.0
    assert seen["calls"] == 0


def test_progress_counts_up_to_the_end_of_the_call() -> None:
    """What has been shown never goes back, and stays within the number of pages."""
    machine, task, region = heap()
    seen: list[tuple[int, int]] = []
    task.move_pages(region, 1, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen and all(0 < done < total == PAGES for done, total in seen)
    machine.check()


@pytest.mark.parametrize("verb", ["move", "query", "touch", "access"])
def test_what_progress_raises_ends_a_call_between_two_entries(verb: str) -> None:
    """The rest is as if the call had been asked for less; nothing is in flight, nothing isolated."""
    machine, task, region = heap()
    fresh = task.mmap(PAGES * pm.PAGE_SIZE)
    verbs = {
        "move": lambda: task.move_pages(region, 1, progress=stop),
        "query": lambda: task.move_pages(region, progress=stop),
        "touch": lambda: task.touch(fresh, progress=stop),
        "access": lambda: task.access(fresh.addresses, True, progress=stop),
    }
    with pytest.raises(Stop) as stopped:
        verbs[verb]()
    done, total = stopped.value.args
    assert 0 < done < total == PAGES
    assert machine.calls == ()
    machine.check()
    if verb == "move":
        assert task.move_pages(region).tolist() == [1] * done + [0] * (PAGES - done)
    if verb in ("touch", "access"):
        assert (task.move_pages(fresh) >= 0).tolist() == [True] * done + [False] * (PAGES - done)


def test_a_call_that_cannot_end_early_stays_in_flight_and_can_be_finished() -> None:
    """`migrate_pages(2)` holds mmap_sem and isolated pages: it is paused, on record, and sound."""
    machine, task, region = heap()
    with pytest.raises(Stop):
        task.migrate_pages(None, [0], [1], progress=stop)
    (call,) = machine.calls
    assert not call.done
    machine.check()
    machine.run()
    assert call.result == 0
    assert task.move_pages(region).tolist() == [1] * PAGES
    machine.check()


def test_nobody_comes_in_between_two_slices() -> None:
    """Neither another thread nor the hook itself: the machine is as busy as while the call runs."""
    machine, task, region = heap()
    refused: list[str] = []

    def look() -> None:
        try:
            machine.check()
        except pm.MachineBusyError as busy:
            refused.append(str(busy))

    def hook(done: int, total: int) -> None:
        look()
        other = threading.Thread(target=look)
        other.start()
        other.join()

    task.move_pages(region, 1, progress=hook)
    assert len(refused) >= 2 and len(refused) % 2 == 0
    machine.check()


def test_a_call_number_does_not_tell_how_a_call_was_sliced() -> None:
    """A long verb before it changes nothing about the calls that are started later."""
    numbers = []
    for pages in (10, PAGES):
        machine, task, region = heap(PAGES)
        task.move_pages(region[:pages], 1)
        call = machine.start(pm.calls.touch(region[:1]), by=task)
        numbers.append(repr(call))
    assert numbers[0] == numbers[1]


def test_an_mbind_shows_progress_and_stays_in_flight_when_it_is_stopped() -> None:
    """It holds mmap_sem and isolated pages; `machine.calls` has it, and it can be finished."""
    machine, task, region = heap()
    policy = pm.Policy(pm.PolicyMode.BIND, [1])
    with pytest.raises(Stop):
        task.mbind(region, policy, flags=pm.MbindFlags.MOVE, progress=stop)
    (call,) = machine.calls
    assert not call.done
    machine.check()
    machine.run()
    assert task.move_pages(region).tolist() == [1] * PAGES
    machine.check()


def test_a_verb_beside_a_call_in_flight_stays_in_flight_when_it_is_stopped() -> None:
    """Its steps have been seen, so it is a call like the other."""
    machine, task, region = heap()
    other = machine.spawn("other")
    page = other.mmap(pm.PAGE_SIZE)
    machine.start(pm.calls.touch(page), by=other)
    with pytest.raises(Stop):
        task.move_pages(region, 1, progress=lambda done, total: done and stop(done, total))
    assert [call.pid for call in machine.calls] == [other.pid, task.pid]
    machine.check()
    mover = machine.calls[1]
    machine.run()
    assert mover.result.tolist() == [1] * PAGES
    machine.check()


def interrupted_by_a_timer(verb: Callable[[], object]) -> None:
    """Run a verb again and again until a signal's handler raises in the middle of it."""

    def ring(number: int, frame: object) -> None:
        raise Stop(number)

    def again_and_again() -> None:
        while True:
            verb()

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Stop):
            again_and_again()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_a_signal_handler_raises_stops_stepping_and_nothing_is_lost() -> None:
    """Method: any exception, not only KeyboardInterrupt; the calls go on where they were."""
    machine, task, region = heap()
    call = machine.start(pm.calls.move_pages(region, 1), by=task)
    interrupted_by_a_timer(machine.run)
    assert not call.done
    machine.check()
    machine.run()
    assert call.result.tolist() == [1] * PAGES


def test_a_raw_system_call_that_a_signal_stopped_is_in_flight() -> None:
    """`pagemig.syscalls`: it has a handle, and its result is the system call's."""
    machine, task, region = heap()

    def there_and_back() -> None:
        for old, new in ((0, 1), (1, 0)):
            assert pm.syscalls.migrate_pages(task, 0, 65, {old}, {new}) == 0

    interrupted_by_a_timer(there_and_back)
    machine.check()
    calls = machine.calls
    assert len(calls) <= 1, "between two calls there is none"
    machine.run()
    assert all(call.result == 0 for call in calls)
    assert set(task.move_pages(region).tolist()) in ({0}, {1})
    machine.check()


def test_a_handler_that_changes_what_is_being_copied_breaks_no_machine() -> None:
    """Nodes are checked as they are copied, whatever a handler of signals writes there in between."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    app = machine.spawn()
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    addresses = np.full(5 << 20, page.start, np.uint64)
    nodes = np.zeros(len(addresses), np.int32)
    ran = []

    def change(number: int, frame: object) -> None:
        ran.append(number)
        nodes[-1] = 200

    before = signal.signal(signal.SIGALRM, change)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        # Where it runs first decides who sees it: the checks of the call, the copy, or nobody.
        with suppress(OSError, pm.UsageError):
            app.move_pages(addresses, nodes)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ran
    machine.run()
    machine.check()
    assert app.move_pages(page, 1).tolist() == [1]
