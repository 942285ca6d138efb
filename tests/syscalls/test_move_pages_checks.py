"""``move_pages``: who may call it, and in which order Linux finds out (MV-1 to MV-6)."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest

import pagemig as pm

MOVE, MOVE_ALL = 2, 4


def call(
    caller: pm.Task,
    pid: int = 0,
    *,
    count: int = 1,
    pages: object = None,
    nodes: object = None,
    status: object = None,
    flags: int = MOVE,
) -> int:
    """The raw call with null pointers wherever nothing is given."""
    return pm.syscalls.move_pages(caller, pid, count, pages, nodes, status, flags)  # type: ignore[arg-type]


ONE = np.array([1], np.int32)


def test_mv1_unknown_flags_come_first(machine: pm.Machine, app: pm.Task) -> None:
    """-EINVAL, even with MOVE_ALL, a pid that is gone and null pointers besides."""
    for flags in (1, 8, 16, 32, 1 << 31, MOVE | 1, MOVE_ALL | 1):
        assert call(app, 999, flags=flags, nodes=ONE) == -errno.EINVAL


def test_mv2_move_all_needs_the_capability_before_the_target_is_looked_up(
    machine: pm.Machine, app: pm.Task
) -> None:
    """-EPERM for a pid that is gone, and in query mode too (syscalls 4)."""
    assert call(app, 999, flags=MOVE_ALL) == -errno.EPERM
    assert call(app, flags=MOVE_ALL, count=0) == -errno.EPERM
    app.capabilities = pm.Capability.SYS_NICE
    assert call(app, 999, flags=MOVE_ALL) == -errno.ESRCH
    assert call(app, flags=MOVE_ALL, count=0) == 0


def test_mv3_a_pid_that_names_nobody_is_esrch(machine: pm.Machine, app: pm.Task) -> None:
    """Negative pids are never found; zero is the caller."""
    for pid in (999, -1, -(1 << 31), (1 << 31) - 1, app.pid + 1):
        assert call(app, pid, count=0) == -errno.ESRCH
    assert call(app, 0, count=0) == call(app, app.pid, count=0) == 0


def test_mv4_a_target_without_memory_is_einval_before_permission(machine: pm.Machine, app: pm.Task) -> None:
    """A kernel thread of root, asked for by somebody who may not (D16 tells that this is old)."""
    thread = machine.spawn("kswapd", kernel_thread=True)
    assert call(app, thread.pid, count=0) == -errno.EINVAL
    assert call(thread, count=0) == -errno.EINVAL


@pytest.mark.parametrize(
    ("caller", "target", "allowed"),
    [
        ({"uid": 1, "euid": 9}, {"uid": 1, "euid": 2, "suid": 2}, True),
        ({"uid": 1, "euid": 9}, {"uid": 2, "euid": 2, "suid": 1}, True),
        ({"uid": 9, "euid": 1}, {"uid": 1, "euid": 2, "suid": 2}, True),
        ({"uid": 9, "euid": 1}, {"uid": 2, "euid": 2, "suid": 1}, True),
        ({"uid": 9, "euid": 9}, {"uid": 2, "euid": 9, "suid": 2}, False),
        ({"uid": 9, "euid": 9, "suid": 2}, {"uid": 2}, False),
        ({"uid": 9, "capabilities": pm.Capability.SYS_NICE}, {"uid": 2}, True),
        ({"uid": 0, "capabilities": pm.Capability.NONE}, {"uid": 2}, False),
        ({"uid": 0}, {"uid": 2}, True),
    ],
)
def test_mv5_four_pairs_of_user_ids_or_the_capability_decide(
    machine: pm.Machine, caller: dict[str, object], target: dict[str, object], allowed: bool
) -> None:
    """The caller's euid and uid against the target's suid and uid; the target's euid is irrelevant."""
    one = machine.spawn(**caller)  # type: ignore[arg-type]
    other = machine.spawn(**target)  # type: ignore[arg-type]
    assert call(one, other.pid, count=0) == (0 if allowed else -errno.EPERM)
    assert call(one, one.pid, count=0) == 0


def test_mv6_the_security_module_speaks_last(machine: pm.Machine, app: pm.Task) -> None:
    """Its errno is the result, after permission, before any user memory; also about oneself."""
    root, other = machine.spawn(), machine.spawn(uid=7)
    hook = {(root.pid, app.pid): errno.EACCES, (app.pid, app.pid): errno.ENOSPC}
    machine.security_hook = pm.SecurityHook({**hook, (app.pid, other.pid): errno.EACCES})
    assert call(root, app.pid, nodes=ONE) == -errno.EACCES
    assert call(app) == call(app, app.pid) == -errno.ENOSPC
    assert call(app, other.pid) == -errno.EPERM
    assert call(root, other.pid, count=0) == 0
    assert call(app, flags=1) == -errno.EINVAL
    machine.security_hook = pm.SecurityHook()
    assert call(root, app.pid, count=0) == 0


def test_only_32_bits_of_pid_and_flags_count(app: pm.Task, heap: pm.Region) -> None:
    """The upper halves of the registers are ignored (syscalls 3.1)."""
    status = np.full(1, 99, np.int32)
    garbage = 0xFACEFEED00000000
    result = call(
        app,
        garbage | app.pid,
        pages=heap[0].addresses,
        nodes=ONE,
        status=status,
        flags=garbage | MOVE,
    )
    assert (result, status.tolist()) == (0, [1])
    assert call(app, garbage, count=0) == 0
    assert call(app, garbage | 0xFFFFFFFF, count=0) == -errno.ESRCH


def test_flags_of_zero_move(app: pm.Task, heap: pm.Region) -> None:
    """Legal, and like MPOL_MF_MOVE (MV)."""
    status = np.full(1, 99, np.int32)
    assert call(app, pages=heap[0].addresses, nodes=ONE, status=status, flags=0) == 0
    assert status.tolist() == [1]


def test_another_tasks_pages_move_under_its_own_cpuset(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """DP-1: the allowed nodes are the target's, not the caller's."""
    root = machine.spawn(mems_allowed=[0])
    status = np.full(1, 99, np.int32)
    assert call(root, app.pid, pages=heap[0].addresses, nodes=ONE, status=status) == 0
    assert (status.tolist(), app.nodes_of(heap[0]).tolist()) == ([1], [1])
    app.mems_allowed = [0, 2]
    assert call(root, app.pid, pages=heap[1].addresses, nodes=ONE, status=status) == -errno.EACCES


@pytest.mark.parametrize(
    "arguments",
    [
        {"pid": "0"},
        {"pid": 1 << 64},
        {"pid": 1.0},
        {"count": "1"},
        {"count": 1 << 64},
        {"count": None},
        {"flags": None},
        {"flags": -(1 << 64)},
        {"pages": [4096]},
        {"pages": np.zeros(1, np.float64)},
        {"pages": np.zeros(1, np.int32)},
        {"pages": np.zeros((1, 1), np.uint64)},
        {"pages": np.zeros(4, np.uint64)[::2]},
        {"nodes": np.zeros(1, np.int64)},
        {"nodes": [1]},
        {"status": np.zeros(1, np.int64)},
        {"status": np.zeros(4, np.int32)[::2]},
        {"status": 5},
        {"pages": np.zeros(1, ">u8")},
    ],
)
def test_what_no_program_could_pass_is_a_usage_error(app: pm.Task, arguments: dict[str, object]) -> None:
    """A pointer is None, an array or a UserMemory; a number fits into a register."""
    pid = arguments.pop("pid", 0)
    with pytest.raises(pm.UsageError):
        call(app, pid, **arguments)  # type: ignore[arg-type]


def test_a_call_that_the_checks_refuse_changes_nothing(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Not even the pagevecs: draining comes after the checks (syscalls 3.1, step 10)."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    other = machine.spawn(uid=1)
    before = machine.vmstat()
    assert call(app, other.pid, nodes=ONE) == -errno.EPERM
    assert call(app, flags=1, nodes=ONE) == -errno.EINVAL
    assert machine.vmstat() == before


def test_q28_a_count_of_zero_succeeds_after_draining(machine: pm.Machine, app: pm.Task) -> None:
    """Node-array mode drains all pagevecs first; query mode does not."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    assert machine.vmstat()["nr_active_anon"] == 0
    assert call(app, count=0) == 0
    assert machine.vmstat()["nr_active_anon"] == 0
    assert call(app, count=0, nodes=np.empty(0, np.int32)) == 0
    assert machine.vmstat()["nr_active_anon"] == 1


def test_the_exception_of_the_verb_has_the_errno_of_the_call(machine: pm.Machine, app: pm.Task) -> None:
    """EPERM and EACCES are PermissionError, ESRCH is ProcessLookupError, others plain OSError."""
    other = machine.spawn(uid=1)
    thread = machine.spawn(kernel_thread=True)
    where = [4096]
    with pytest.raises(PermissionError) as refused:
        app.move_pages(where, 1, target=other)
    assert refused.value.errno == errno.EPERM
    with pytest.raises(PermissionError):
        app.move_pages(where, 1, scope=pm.MoveScope.SHARED)
    with pytest.raises(ProcessLookupError):
        app.move_pages(where, 1, target=-5)
    with pytest.raises(OSError, match="Invalid argument"):
        app.move_pages(where, 1, target=thread)


@pytest.mark.parametrize("caller", [None, 1, "app"])
def test_only_a_task_makes_system_calls(machine: pm.Machine, app: pm.Task, caller: object) -> None:
    """A pid is not enough: it does not say of which machine."""
    calls = pm.syscalls
    for ask in (
        lambda: calls.move_pages(caller, 0, 0, None, None, None, 0),  # type: ignore[arg-type]
        lambda: calls.migrate_pages(caller, 0, 0, None, None),  # type: ignore[arg-type]
        lambda: calls.mbind(caller, 0, 0, 0, None, 0, 0),  # type: ignore[arg-type]
        lambda: calls.set_mempolicy(caller, 0, None, 0),  # type: ignore[arg-type]
        lambda: calls.get_mempolicy(caller, None, None, 0, 0, 0),  # type: ignore[arg-type]
    ):
        with pytest.raises(pm.UsageError, match="caller is"):
            ask()


def answers(pages: int, wanted: Any) -> list[Any]:
    """What a fresh machine says to the verb, in three ways of naming pages, and to a call in flight."""
    machine = pm.Machine(nodes=[4 * pm.MiB] * 2)
    app = machine.spawn()
    heap = app.mmap(256 * pm.PAGE_SIZE)
    app.touch(heap)
    seen: list[Any] = []
    for where in (heap.addresses[:pages], heap.addresses[:pages].tolist(), heap[:pages], None):
        try:
            if where is not None:
                statuses = app.move_pages(where, wanted)
            else:
                call = machine.start(pm.calls.move_pages(heap[:pages], wanted), by=app)
                call.run()
                statuses = call.result
            seen.append((0, statuses.tolist()))
        except pm.SyscallError as error:
            seen.append((error.errno, None if error.statuses is None else error.statuses.tolist()))
        seen.append(app.nodes_of(heap).tolist())
    machine.check()
    return seen


@pytest.mark.parametrize("node", [-(1 << 31), -1, 0, 1, 2, 63, 64, 65, (1 << 31) - 1])
@pytest.mark.parametrize("pages", [0, 1, 3, 200])
def test_one_node_for_all_is_the_same_as_that_node_for_each(node: int, pages: int) -> None:
    """MV-3, DP-5b: result, statuses and where the pages are, as a verb and as a call in flight."""
    expected = answers(pages, node)
    assert (
        expected[0] == (0, [node] * pages) if node in (0, 1) or not pages else expected[0][0] == errno.ENODEV
    )
    for wanted in ([node] * pages, np.int64(node), np.full(pages, node, np.int32)):
        assert answers(pages, wanted) == expected
