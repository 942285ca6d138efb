"""Memory placed by whole nodes and ranges: the verbs, and the same as calls in flight."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

BIND = pm.Policy(pm.PolicyMode.BIND, [1])
DEFAULT = pm.Policy(pm.PolicyMode.DEFAULT)
MOVE, STRICT = pm.MbindFlags.MOVE, pm.MbindFlags.STRICT


def test_migrate_pages_moves_a_whole_task_and_says_how_many_stayed(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """The target is a task, a pid or None for oneself."""
    assert app.migrate_pages(None, [0], [1]) == 0
    assert app.nodes_of(heap).tolist() == [1] * 4
    machine.drain()
    app.pin(heap.start)
    other = machine.spawn()
    assert other.migrate_pages(app, [1], [0]) == 1
    assert app.nodes_of(heap).tolist() == [1, 0, 0, 0]
    assert other.migrate_pages(app.pid, [], []) == 0


def test_migrate_pages_raises_what_the_call_refuses(machine: pm.Machine, app: pm.Task) -> None:
    """EPERM is PermissionError, ESRCH ProcessLookupError, EINVAL a plain OSError."""
    user = machine.spawn(uid=1, mems_allowed=[0])
    with pytest.raises(PermissionError):
        user.migrate_pages(app, [0], [1])
    with pytest.raises(PermissionError):
        user.migrate_pages(None, [0], [1])
    with pytest.raises(ProcessLookupError):
        app.migrate_pages(999, [0], [1])
    with pytest.raises(OSError, match="migrate_pages") as refused:
        app.migrate_pages(None, [0], [9])
    assert refused.value.errno == errno.EINVAL


def test_mbind_moves_pages_to_where_the_policy_wants_them(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """MOVE for pages mapped once, MOVE_ALL for all; STRICT tells of those that stayed."""
    app.mbind(heap, BIND, flags=MOVE | STRICT)
    assert app.nodes_of(heap).tolist() == [1] * 4
    machine.drain()
    app.pin(heap.start)
    with pytest.raises(OSError, match="mbind") as refused:
        app.mbind(heap, pm.Policy(pm.PolicyMode.BIND, [0]), flags=MOVE | STRICT)
    assert refused.value.errno == errno.EIO
    assert app.nodes_of(heap).tolist() == [1, 0, 0, 0]
    user = machine.spawn(uid=1)
    with pytest.raises(PermissionError):
        user.mbind(user.mmap(4096), BIND, flags=pm.MbindFlags.MOVE_ALL)


def test_a_migrate_pages_in_flight_stops_at_its_steps(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Between the copy and the restore a reader waits; then it reads from the new page."""
    mover = machine.start(pm.calls.migrate_pages(app, [0], [1]), by=machine.spawn())
    assert mover.at == "SY5.3-1"
    mover.run_until("MM-1")
    assert app.entry_at(heap.start).kind is pm.EntryKind.MIGRATION
    reader = machine.start(pm.calls.touch(heap[0], write=False), by=app)
    while reader.step():
        pass
    assert reader.waiting_for is not None
    machine.run()
    assert (mover.result, reader.result.hits + reader.result.minor) == (0, 1)
    assert app.nodes_of(heap).tolist() == [1] * 4


def test_an_mbind_in_flight_keeps_faults_out(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """It holds mmap_sem for writing from the scan to the last page (syscalls 1)."""
    mover = machine.start(pm.calls.mbind(heap, BIND, flags=MOVE), by=app)
    mover.run_until("SY6.2-14")
    fresh = machine.start(pm.calls.touch(heap[0], write=True), by=app)
    unmapper = machine.start(pm.calls.munmap(heap[3]), by=app)
    assert not unmapper.step()
    assert unmapper.waiting_for is not None
    assert unmapper.waiting_for.lock == "mmap_sem"
    twin = machine.clone()
    for one in (machine, twin):
        one.run()
        assert one.task(app.pid).nodes_of(heap).tolist() == [1, 1, 1, -1]
        assert one.audit() == []
    assert (mover.result, fresh.done) == (None, True)


def test_a_call_in_flight_is_checked_when_it_is_started(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """And fails later with what only the walk can find."""
    with pytest.raises(ProcessLookupError):
        machine.start(pm.calls.migrate_pages(999, [0], [1]), by=app)
    with pytest.raises(OSError, match="Invalid argument"):
        machine.start(pm.calls.mbind(heap, pm.Policy(pm.PolicyMode.BIND)), by=app)
    with pytest.raises(pm.UsageError, match="empty region"):
        machine.start(pm.calls.mbind(heap[:0], BIND), by=app)
    strict = machine.start(pm.calls.mbind(heap, BIND, flags=STRICT), by=app)
    machine.run()
    with pytest.raises(OSError, match="mbind") as refused:
        strict.result  # noqa: B018
    assert refused.value.errno == errno.EIO


def test_arguments_that_make_no_sense_are_refused(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """By the verb and by the call alike, before anything happens."""
    other = machine.spawn()
    wrong = [
        lambda: app.migrate_pages("1", [0], [1]),  # type: ignore[arg-type]
        lambda: app.migrate_pages(None, [64], [1]),
        lambda: app.migrate_pages(None, 0, 1),  # type: ignore[arg-type]
        lambda: pm.calls.migrate_pages(None, [0], "1"),  # type: ignore[arg-type]
        lambda: pm.calls.mbind(4096, BIND),  # type: ignore[arg-type]
        lambda: pm.calls.mbind(heap, "bind"),  # type: ignore[arg-type]
        lambda: pm.calls.mbind(heap, BIND, flags=2),  # type: ignore[arg-type]
        lambda: other.mbind(heap, BIND),
        lambda: machine.start(pm.calls.mbind(heap, DEFAULT), by=other),
    ]
    before = machine.vmstat(), app.numa_maps()
    for act in wrong:
        with pytest.raises(pm.UsageError):
            act()
    assert (machine.vmstat(), app.numa_maps()) == before


def test_a_target_is_a_task_of_the_same_machine(app: pm.Task, heap: pm.Region) -> None:
    """A handle of another machine is refused; a pid names whoever has it here."""
    other = pm.Machine(nodes=[pm.MiB]).spawn()
    assert other.pid == app.pid
    for ask in (
        lambda: app.move_pages(heap, 1, target=other),
        lambda: app.migrate_pages(other, [0], [1]),
    ):
        with pytest.raises(pm.UsageError, match="another machine"):
            ask()
    assert app.nodes_of(heap).tolist() == [0] * 4
    assert app.move_pages(heap, 1, target=other.pid).tolist() == [1] * 4


def test_a_policy_is_seen_through_the_cpuset_that_the_caller_has_when_it_gets_the_lock(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """6.1, step 11: the nodes change while the call waits for ``mmap_sem``; none of those wanted is left."""
    group = machine.create_cpuset("group", mems=[0, 1])
    group.attach(app)
    reader = machine.start(pm.calls.move_pages(heap, 1), by=app)
    assert reader.run_until("MP-2")
    binder = machine.start(pm.calls.mbind(heap, pm.Policy(pm.PolicyMode.BIND, [1])), by=app)
    while binder.step():
        pass
    assert (binder.at, binder.waiting_for.lock) == ("SY6.1-11", "mmap_sem")  # type: ignore[union-attr]
    writer = machine.start(pm.calls.set_cpuset_mems(group, [0]), by=machine.spawn("writer"))
    assert writer.run_until("SP18-2")
    machine.run()
    assert isinstance(binder.error, pm.SyscallError)
    assert binder.error.errno == errno.EINVAL
    assert " bind" not in app.numa_maps()
    machine.check()


def test_a_relative_policy_is_folded_onto_the_nodes_of_that_moment(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """6.1, step 11: started under one cpuset, run under another."""
    group = machine.create_cpuset("group", mems=[0, 1])
    group.attach(app)
    policy = pm.Policy(pm.PolicyMode.BIND, [0], relative=True)
    binder = machine.start(pm.calls.mbind(heap, policy), by=app)
    group.set_mems([1])
    machine.run()
    assert binder.error is None
    assert " bind=relative:1 " in app.numa_maps()
