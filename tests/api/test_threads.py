"""Several Python threads: each with a machine of its own, and all with one."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pagemig as pm

THREADS = 6
PAGES = 400


def history(seed: int) -> tuple[tuple[int, ...], dict[str, int], dict[str, int]]:
    """What a small history on a machine of its own comes to; the seed makes them differ."""
    machine = pm.Machine(nodes=[8 * pm.MiB] * 2, cpus=2)
    app = machine.spawn()
    heap = app.mmap((PAGES + seed) * pm.PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    app.pin(heap.start + seed * pm.PAGE_SIZE)
    statuses = app.move_pages(heap, 1)
    kid = app.fork()
    kid.touch(kid.same(heap[:10]))
    app.exit()
    machine.check()
    return tuple(statuses.tolist()), machine.vmstat(), machine.cost


def test_threads_with_machines_of_their_own_do_not_disturb_each_other() -> None:
    """Each comes to what it comes to alone, whatever the others do at the same time."""
    alone = [history(seed) for seed in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(5):
            assert list(threads.map(history, range(THREADS))) == alone


def test_threads_on_one_machine_are_served_or_refused_and_never_wait() -> None:
    """Method: six threads use one machine in every way; each use goes through whole, or is refused.

    Afterwards the machine is whole: the audit finds nothing, and the pages are counted as one by one.
    """
    machine = pm.Machine(nodes=[32 * pm.MiB] * 2, cpus=2)
    tasks = [machine.spawn(stack=False) for _ in range(THREADS)]
    heaps = [task.mmap(PAGES * pm.PAGE_SIZE) for task in tasks]
    came: Counter[str] = Counter()
    begin = threading.Barrier(THREADS)

    def use(number: int) -> None:
        task, heap = tasks[number], heaps[number]
        begin.wait()
        for turn in range(60):
            verbs = (
                lambda: task.touch(heap),
                lambda turn=turn: task.move_pages(heap, turn % 2),
                lambda: task.nodes_of(heap),
                lambda: machine.vmstat(),
                lambda: machine.clone(),
                lambda: machine.start(pm.calls.touch(heap[:1]), by=task).run(),
                lambda: machine.drain(),
            )
            try:
                verbs[turn % len(verbs)]()
                came["served"] += 1
            except pm.MachineBusyError:
                came["refused"] += 1

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(use, number) for number in range(THREADS)]:
            done.result(timeout=120)
    assert came["served"] + came["refused"] == THREADS * 60
    assert came["served"] > 0
    machine.run()
    for task, heap in zip(tasks, heaps, strict=True):
        task.touch(heap)
    machine.drain()
    machine.check()
    assert machine.calls == ()
    assert machine.vmstat()["nr_anon_pages"] == THREADS * PAGES


def test_reports_of_one_scenario_are_the_same_from_every_thread() -> None:
    """A scenario is a value; each run has its own machine."""
    race = pm.Scenario.load("two-movers")
    once = race.run()
    with ThreadPoolExecutor(THREADS) as threads:
        assert all(report == once for report in threads.map(lambda _: race.run(), range(24)))


def test_a_handle_says_what_it_knows_while_another_thread_runs_the_machine() -> None:
    """A repr never raises: it is what a debugger and a message of an error ask for."""
    machine = pm.Machine(nodes=[32 * pm.MiB] * 2, contents=True)
    app = machine.spawn("app")
    heap = app.mmap(4000 * pm.PAGE_SIZE)
    flight = machine.start(pm.calls.drain(), by=machine.spawn("other"))
    handles = [
        machine.create_file("data", 0),
        machine.create_memcg("batch"),
        machine.create_cpuset("all", mems=[0]),
        machine.ksm,
        flight,
        machine,
        app,
    ]
    said: list[list[str]] = []
    app.touch(heap, progress=lambda done, pages: said.append([repr(handle) for handle in handles]))
    assert said
    assert said[0][:5] == [
        "<File 1 busy>",
        "<Memcg 1 busy>",
        "<Cpuset 1 busy>",
        "<Ksm: busy>",
        "<Call 1 by task 2: Drain, busy>",
    ]
    assert repr(handles[0]) == "<File 1 'data'>"
