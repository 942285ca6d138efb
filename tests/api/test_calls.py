"""Calls in flight: started, stepped, waiting, finished, cloned and replayed."""

from __future__ import annotations

import errno
import pickle

import numpy as np
import pytest

import pagemig as pm


def test_a_call_is_checked_when_it_is_started_and_runs_later(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Nothing has moved before the first step; afterwards everything has."""
    heap = heap[:2]
    mover = machine.start(pm.calls.move_pages(heap, 1), by=app)
    assert not mover.done
    assert mover.at is not None
    assert machine.calls == (mover,)
    assert app.nodes_of(heap).tolist() == [0, 0]
    mover.run()
    assert mover.done
    assert mover.at is None
    assert mover.waiting_for is None
    assert machine.calls == ()
    assert mover.result.tolist() == [1, 1]
    assert app.nodes_of(heap).tolist() == [1, 1]


def test_a_call_goes_on_step_by_step(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """``labels`` are the steps of the specification made next; every invariant holds in between."""
    mover = machine.start(pm.calls.move_pages(heap[0], 1), by=app)
    firsts, made = [], []
    while not mover.done:
        firsts.append(mover.at)
        made += mover.labels
        assert mover.step()
        assert not machine.audit()
    assert mover.history == tuple(firsts)
    order = [made.index(label) for label in ("DP-3", "DM-2", "UM-1", "UM-9", "MM-1", "RP-7", "UM-18")]
    assert order == sorted(order)
    assert mover.labels == ()
    with pytest.raises(pm.UsageError, match="no further step"):
        mover.step()
    mover.run()


def test_a_call_stops_before_the_step_it_was_told(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """``run_until``: MM-1 is not made yet, so the entry is a migration entry and the page has no mapper."""
    page = app.page_at(heap.start)
    assert page is not None
    mover = machine.start(pm.calls.move_pages(heap[0], 1), by=app)
    assert mover.run_until("MM-1")
    assert mover.at == "MM-1"
    entry = app.entry_at(heap.start)
    assert (entry.kind, entry.pfn, entry.writable) == (pm.EntryKind.MIGRATION, page.pfn, True)
    assert machine.frame(page.pfn).mapcount == 0
    assert app.page_at(heap.start) is None
    assert not mover.run_until("UM-9")
    assert mover.done


def test_a_label_that_does_not_exist_is_refused(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """And the call stays where it is."""
    mover = machine.start(pm.calls.move_pages(heap, 1), by=app)
    for label in ("somewhere", 9):
        with pytest.raises(pm.UsageError):
            mover.run_until(label)  # type: ignore[arg-type]
    assert mover.history == ()


def test_a_coarse_call_stops_less_often(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Concurrency 1: coarse mode yields only where no spinlock is held."""
    steps = {}
    for granularity in pm.Granularity:
        twin = machine.clone()
        call = twin.start(pm.calls.move_pages(heap, 1), by=app.pid, granularity=granularity)
        steps[granularity] = 0
        while not call.done:
            call.step()
            steps[granularity] += 1
        assert call.result.tolist() == [1] * 4
    assert steps[pm.Granularity.COARSE] < steps[pm.Granularity.FINE]


def test_a_fault_on_a_migration_entry_waits_for_the_page_lock() -> None:
    """S05: the reader sleeps on the old page until the mover unlocks it, then sees its byte."""
    machine = pm.Machine(nodes=[pm.MiB] * 2, contents=True)
    app = machine.spawn("app")
    heap = app.mmap(pm.PAGE_SIZE)
    app.write(heap.start, b"hello")
    machine.drain()
    other = app.fork("other")
    machine.drain()
    pfn = app.page_at(heap.start)
    assert pfn is not None
    move = pm.calls.move_pages(heap, 1, scope=pm.MoveScope.SHARED)
    mover = machine.start(move, by=app)
    assert mover.run_until("MM-1")
    reader = machine.start(pm.calls.read(heap.start, 5), by=other)
    while reader.step():
        pass
    wait = reader.waiting_for
    assert wait is not None
    assert (wait.lock, wait.pfn, wait.holder) == ("page_lock", pfn.pfn, mover.number)
    assert repr(wait) == f"WaitFor(page_lock, pfn={pfn.pfn}, holder={mover.number})"
    assert pm.Lock("page_lock", pfn.pfn, (mover.number,), (reader.number,)) in machine.locks
    machine.run()
    assert not machine.locks
    assert reader.result == b"hello"
    assert mover.result.tolist() == [1]
    machine.check()


def test_a_call_that_can_never_go_on_is_a_deadlock_with_the_wait_graph(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Run alone, a call that waits for one that is stopped never ends: an error, never a hang."""
    other = app.fork()
    page = app.page_at(heap.start)
    assert page is not None
    mover = machine.start(pm.calls.move_pages(heap[0], 1, scope=pm.MoveScope.SHARED), by=app)
    assert mover.run_until("MM-1")
    toucher = machine.start(pm.calls.touch(other.same(heap)[0], write=False), by=other)
    with pytest.raises(pm.DeadlockError) as stuck:
        toucher.run()
    assert stuck.value.graph == ((toucher.number, other.pid, f"page_lock {page.pfn}", mover.number),)
    assert f"call {toucher.number}" in str(stuck.value)
    assert not toucher.done
    machine.run()
    assert toucher.done
    assert mover.done


def test_a_verb_that_would_have_to_wait_is_refused_and_changes_nothing(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """It could never return: the call it waits for does not go on by itself."""
    other = app.fork()
    mover = machine.start(pm.calls.move_pages(heap, 1, scope=pm.MoveScope.SHARED), by=app)
    assert mover.run_until("MM-1")
    before = other.status()
    with pytest.raises(pm.UsageError, match="wait"):
        other.touch(other.same(heap)[0])
    assert other.status() == before
    machine.run()


def test_a_result_is_what_the_verb_returns_or_raises(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """One call of each kind, run to its end."""

    def result(call: object) -> object:
        started = machine.start(call, by=app)  # type: ignore[arg-type]
        started.run()
        assert started.error is None
        return started.result

    assert isinstance(result(pm.calls.touch(heap, write=False)), pm.AccessResult)
    assert result(pm.calls.access([heap.start], [True])).hits == 1  # type: ignore[attr-defined]
    pfn = result(pm.calls.pin(heap.start))
    page = app.page_at(heap.start)
    assert page is not None
    assert pfn == page.pfn
    assert result(pm.calls.unpin(page.pfn)) is None
    assert result(pm.calls.mlock(heap)) is None
    assert result(pm.calls.munlock(heap)) is None
    assert result(pm.calls.mprotect(heap, pm.R)) is None
    child = result(pm.calls.fork("child"))
    assert isinstance(child, pm.Task)
    assert child.name == "child"
    assert result(pm.calls.munmap(heap)) is None
    assert result(pm.calls.drain()) is None
    assert result(pm.calls.exit()) is None
    assert machine.tasks == (child,)


def test_a_call_that_the_checks_refuse_is_not_started(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """MV-1 to MV-6 happen at the start; the error is the verb's own."""
    user = machine.spawn(uid=7)
    with pytest.raises(PermissionError) as refused:
        machine.start(pm.calls.move_pages([heap.start], 1, target=app), by=user)
    assert refused.value.errno == errno.EPERM
    with pytest.raises(ProcessLookupError):
        machine.start(pm.calls.move_pages([heap.start], 1, target=99), by=user)
    with pytest.raises(pm.UsageError):
        machine.start(pm.calls.read(heap.start, 1), by=app)
    assert machine.calls == ()


def test_a_call_that_fails_keeps_its_error(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """``result`` raises it as often as it is asked; ``error`` shows it."""
    call = machine.start(pm.calls.move_pages(heap, 9), by=app)
    call.run()
    assert call.done
    for _ in range(2):
        with pytest.raises(OSError, match="move_pages"):
            _ = call.result
    assert isinstance(call.error, pm.SyscallError)
    assert call.error.errno == errno.ENODEV
    assert call.error.statuses is not None
    assert call.error.statuses.size == 0


def test_a_call_in_flight_has_no_result_yet(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """The message says what to do."""
    call = machine.start(pm.calls.touch(heap), by=app)
    with pytest.raises(pm.UsageError, match="step or run it first"):
        _ = call.result
    with pytest.raises(pm.UsageError):
        _ = call.error


def test_statuses_of_a_started_call_reach_the_callers_array(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """In place, as the raw call does."""
    status = np.full(4, 99, np.int32)
    call = machine.start(pm.calls.move_pages(heap, 1, status=status), by=app)
    assert status.tolist() == [99] * 4
    call.run()
    assert status.tolist() == [1] * 4


def test_statuses_of_a_chunk_are_there_when_the_chunk_is_done(app: pm.Task) -> None:
    """DP-5e: after 169 entries, though the call goes on with the 170th."""
    machine = pm.Machine(nodes=[256 * pm.PAGE_SIZE] * 2)
    app = machine.spawn()
    heap = app.mmap(170 * pm.PAGE_SIZE)
    app.touch(heap)
    status = np.full(170, 99, np.int32)
    memory = pm.UserMemory(status, valid_bytes=169 * 4)
    call = machine.start(pm.calls.move_pages(heap, 1, status=memory), by=app)
    while status[168] == 99:
        assert call.step()
    assert not call.done
    assert status.tolist() == [1] * 169 + [99]
    assert app.nodes_of(heap).tolist() == [1] * 169 + [0]
    call.run()
    assert isinstance(call.error, OSError)
    assert call.error.errno == errno.EFAULT
    assert app.nodes_of(heap).tolist() == [1] * 170
    assert status.tolist() == [1] * 169 + [99]


def test_calls_in_flight_are_cloned_with_their_machine(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """The clone's call ends by itself and does not write to the original's array."""
    status = np.full(4, 99, np.int32)
    call = machine.start(pm.calls.move_pages(heap, 1, status=status), by=app)
    assert call.run_until("UM-9")
    twin = machine.clone()
    twin.run()
    assert twin.task(app.pid).nodes_of(heap).tolist() == [1] * 4
    assert (call.at, call.done, status.tolist()) == ("UM-9", False, [99] * 4)
    machine.run()
    assert status.tolist() == [1] * 4


def test_a_replay_leaves_the_machine_alone(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """On a clone; calls in flight and calls to start may be mixed."""
    other = app.fork()
    mover = machine.start(pm.calls.move_pages(heap[0], 1, scope=pm.MoveScope.SHARED), by=app)
    toucher = pm.calls.touch(other.same(heap)[1], write=False)
    ran = pm.replay(machine, [mover, (toucher, other)], "2a1b1a")
    assert len(ran.calls[0].history) >= 3
    assert len(ran.calls[1].history) >= 1
    assert ran.schedule == "2a1b1a"
    assert mover.history == ()
    assert machine.calls == (mover,)
    ran.machine.run()
    assert ran.calls[0].result.tolist() == [1]
    assert app.nodes_of(heap).tolist() == [0] * 4


def test_the_same_schedule_gives_the_same_machine(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Goal: determinism. Method: replay twice and compare what can be seen."""
    other = app.fork()
    calls = [
        (pm.calls.move_pages(heap, 1, scope=pm.MoveScope.SHARED), app),
        (pm.calls.touch(other.same(heap)), other),
    ]

    def seen() -> object:
        ran = pm.replay(machine, calls, "3a2b5a1b")
        ran.machine.run()
        return (
            ran.machine.vmstat(),
            [call.history for call in ran.calls],
            [task.numa_maps() for task in ran.machine.tasks],
        )

    assert seen() == seen()


@pytest.mark.parametrize("schedule", ["", "3", "a", "1c", "3a!", "9999999999a", 3, None])
def test_a_schedule_that_cannot_be_followed_is_refused(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, schedule: object
) -> None:
    """Text that is none, or that names a call that is not there; an empty one does nothing."""
    calls = [(pm.calls.touch(heap), app)]
    if schedule == "":
        assert not pm.replay(machine, calls, "").calls[0].done
        return
    with pytest.raises(pm.UsageError):
        pm.replay(machine, calls, schedule)  # type: ignore[arg-type]


def test_what_cannot_be_started_or_replayed_is_refused(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """A call is a value of pagemig.calls, made by a task of this machine."""
    touch = pm.calls.touch(heap)
    stranger = machine.clone().task(app.pid)
    wrong = [
        lambda: machine.start("touch", by=app),  # type: ignore[arg-type]
        lambda: machine.start(touch, by=stranger),
        lambda: machine.start(touch, by=99),
        lambda: machine.start(touch, by=machine.spawn()),
        lambda: machine.start(touch, by=app, granularity="fine"),  # type: ignore[arg-type]
        lambda: pm.replay(machine, [], "1a"),
        lambda: pm.replay(machine, [touch], "1a"),  # type: ignore[list-item]
        lambda: pm.replay(machine, [(touch, app)] * 27, "1a"),
    ]
    for act in wrong:
        with pytest.raises(pm.UsageError):
            act()
    assert machine.calls == ()


def test_a_task_exits_when_it_does_nothing_else(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Its threads may be in several calls at once, but exit comes last."""
    first = machine.start(pm.calls.touch(heap), by=app)
    second = machine.start(pm.calls.touch(heap[1:]), by=app)
    for act in (app.exit, lambda: machine.start(pm.calls.exit(), by=app)):
        with pytest.raises(pm.UsageError):
            act()
    machine.run()
    assert (first.result.hits, second.result.hits) == (4, 3)
    leaving = machine.start(pm.calls.exit(), by=app)
    with pytest.raises(pm.UsageError, match="exiting"):
        app.touch(heap)
    leaving.run()
    assert machine.tasks == ()


@pytest.mark.parametrize("beside", ["nobody", "a recorder", "a paused call", "a disk that never ends"])
def test_a_verb_does_the_same_whoever_else_is_there(beside: str) -> None:
    """Spec README 3: without a scheduler a read ends at once, and no write ends because of it."""
    machine = pm.Machine(nodes=[16 * pm.PAGE_SIZE] * 2, cpus=1)
    app, other = machine.spawn(), machine.spawn()
    written, read = (machine.create_file(name, pm.PAGE_SIZE) for name in ("written", "read"))
    app.touch(app.mmap(pm.PAGE_SIZE, file=written, shared=True))
    written.writeback(0)
    if beside == "a recorder":
        machine.record(100)
    elif beside == "a paused call":
        machine.start(pm.calls.drain(), by=other)
    elif beside == "a disk that never ends":
        machine.create_file("never", pm.PAGE_SIZE, filesystem=pm.FileSystem("never", io_ticks=None))
    area = app.mmap(pm.PAGE_SIZE, file=read, shared=True)
    assert app.touch(area, write=False).major == 1
    assert machine.now == 0
    assert [(io.pfn, io.direction) for io in machine.pending_io] == [
        (written.pfn_of(0), pm.IoDirection.WRITE)
    ]
    assert read.pfn_of(0) is not None
    app.touch(area, write=False)
    assert machine.now == 0


def test_a_call_with_a_handle_of_another_machine_is_refused_when_it_is_started(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """As by the verbs; though this machine has a file, a task and a cpuset with the same numbers."""
    abroad = machine.clone()
    file, group = abroad.create_file("data", pm.PAGE_SIZE), abroad.create_cpuset("all", mems=[0, 1])
    mine = machine.create_file("data", pm.PAGE_SIZE)
    machine.create_cpuset("all", mems=[0, 1])
    (foreign,) = abroad.tasks
    for call in (
        pm.calls.truncate(file, 0),
        pm.calls.lookup(file, 0),
        pm.calls.move_pages(heap, 1, target=foreign),
        pm.calls.migrate_pages(foreign, [0], [1]),
        pm.calls.set_cpuset_mems(group, [0]),
        pm.calls.attach_cpuset(group, app),
        pm.calls.attach_cpuset(machine.cpuset("all"), foreign),
    ):
        with pytest.raises(pm.UsageError, match="belongs to another machine; look it up on this one"):
            machine.start(call, by=app)
        with pytest.raises(pm.UsageError, match="belongs to another machine"):
            pm.explore(machine, [(call, app)])
    assert (machine.calls, mine.size) == ((), pm.PAGE_SIZE)


def test_a_call_with_handles_is_equal_to_one_with_their_numbers(machine: pm.Machine, app: pm.Task) -> None:
    """As a value, in a pickle, once it is in flight, and where a race is tried out on copies."""
    file = machine.create_file("data", pm.PAGE_SIZE)
    call = pm.calls.truncate(file, 0)
    assert call == pickle.loads(pickle.dumps(call)) == pm.calls.truncate(file.number, 0)
    assert repr(call) == "Truncate(file=1, size=0)"
    assert pm.explore(machine, [(call, app)]).complete
    flight = machine.start(call, by=app)
    assert type(flight.what.file) is int
    assert pm.Machine.restore(machine.snapshot()).calls[0].what == call
    flight.run()
    assert file.size == 0


def test_what_an_exploration_is_told_is_checked_before_it_begins(machine: pm.Machine, app: pm.Task) -> None:
    """Functions that are none, calls that are no list; and False of numpy is False."""
    race = [(pm.calls.touch(app.mmap(pm.PAGE_SIZE)), app)]
    for name in ("check", "observe", "progress"):
        with pytest.raises(pm.UsageError, match=f"{name} is 5; it must be a function or None"):
            pm.explore(machine, race, **{name: 5})
    with pytest.raises(pm.UsageError, match="calls is None; it must be calls in flight or pairs"):
        pm.explore(machine, None)  # type: ignore[arg-type]
    for record in (-1, [], "x"):
        with pytest.raises(pm.UsageError, match="record is "):
            pm.replay(machine, race, "", record=record)  # type: ignore[arg-type]
    (finding,) = pm.explore(machine, race, check=lambda end: np.False_).findings  # type: ignore[arg-type,return-value]
    assert finding.detail == "the check said False"
