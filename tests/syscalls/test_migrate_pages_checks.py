"""``migrate_pages(2)``: who may call it, and in which order Linux finds out (syscalls 5.2, 5.5)."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm


def call(caller: pm.Task, pid: int = 0, old: object = None, new: object = None, *, maxnode: int = 64) -> int:
    """The raw call, with null masks where nothing is given."""
    return pm.syscalls.migrate_pages(caller, pid, maxnode, old, new)  # type: ignore[arg-type]


FAULTING = pm.UserMemory(np.zeros(1, np.uint64), valid_bytes=0)
TOO_LONG = np.array([1, 1], np.uint64)


def test_sy52_each_check_comes_before_the_next(machine: pm.Machine, app: pm.Task) -> None:
    """Method: calls with everything wrong from some check on; the first error is the answer."""
    thread, other = machine.spawn(kernel_thread=True), machine.spawn(uid=7, mems_allowed=[0])
    machine.security_hook = pm.SecurityHook({(app.pid, app.pid): errno.EACCES})
    assert call(app, 999, FAULTING, TOO_LONG, maxnode=66) == -errno.EFAULT
    assert call(app, 999, TOO_LONG, FAULTING, maxnode=66) == -errno.EINVAL
    assert call(app, 999, {0}, FAULTING) == -errno.EFAULT
    assert call(app, 999, {0}, {1}) == -errno.ESRCH
    assert call(app, thread.pid, {0}, {2}) == -errno.EINVAL
    assert call(app, other.pid, {0}, {2}) == -errno.EPERM
    app.mems_allowed = [0]
    assert call(app, 0, {0}, {1}) == call(app, 0, {0}, {2}) == -errno.EPERM
    app.capabilities = pm.Capability.SYS_NICE
    assert call(app, 0, {0}, {2}) == -errno.EINVAL
    assert call(app, 0, {0}, {1}) == -errno.EACCES
    machine.security_hook = pm.SecurityHook()
    assert call(app, 0, {0}, {1}) == 0


def test_sy52_step_3_negative_pids_are_never_found(machine: pm.Machine, app: pm.Task) -> None:
    """-ESRCH; only 32 bits of the register count, and zero is the caller."""
    for pid in (-1, -(1 << 31), 999, 0xFACE_0000_0000_0000 | 999):
        assert call(app, pid) == -errno.ESRCH
    for pid in (0, app.pid, 0xFACE_0000_0000_0000, 0xFACE_0000_0000_0000 | app.pid):
        assert call(app, pid) == 0


@pytest.mark.parametrize(
    ("caller", "target", "allowed"),
    [
        ({"uid": 1, "euid": 9}, {"uid": 1, "euid": 2, "suid": 2}, True),
        ({"uid": 1, "euid": 9}, {"uid": 2, "euid": 2, "suid": 1}, True),
        ({"uid": 9, "euid": 1}, {"uid": 1, "euid": 2, "suid": 2}, True),
        ({"uid": 9, "euid": 1}, {"uid": 2, "euid": 2, "suid": 1}, True),
        ({"uid": 9}, {"uid": 2, "euid": 9, "suid": 2}, False),
        ({"uid": 9, "euid": 9, "suid": 2}, {"uid": 2}, False),
        ({"uid": 9, "capabilities": pm.Capability.SYS_NICE}, {"uid": 2}, True),
        ({"uid": 0, "capabilities": pm.Capability.NONE}, {"uid": 2}, False),
    ],
)
def test_sy52_step_5_four_pairs_of_user_ids_or_the_capability_decide(
    machine: pm.Machine, caller: dict[str, object], target: dict[str, object], allowed: bool
) -> None:
    """Syscalls 2: the same rule as for ``move_pages``."""
    one = machine.spawn(**caller)  # type: ignore[arg-type]
    other = machine.spawn(**target)  # type: ignore[arg-type]
    assert call(one, other.pid) == (0 if allowed else -errno.EPERM)


def test_sy52_step_6_asks_the_targets_cpuset_not_the_callers(machine: pm.Machine) -> None:
    """-EPERM without the capability; a cpuset without any node with memory means all of them."""
    one, other = machine.spawn(uid=5, mems_allowed=[0]), machine.spawn(uid=5, mems_allowed=[0, 1, 2])
    assert call(one, other.pid, {0}, {1}) == 0
    assert call(one, other.pid, {0}, {3}) == -errno.EPERM
    assert call(one, other.pid, {0}, {2}) == -errno.EPERM
    assert call(other, one.pid, {0}, {1}) == -errno.EPERM


def test_sy52_an_empty_new_mask_passes_and_old_nodes_need_not_exist(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Nothing moves for an empty mask (D31); every bit of the old one may be set."""
    before = [app.page_at(page.start) for page in heap]
    assert call(app, 0, {0}, None) == 0
    assert call(app, 0, None, {1}) == 0
    assert [app.page_at(page.start) for page in heap] == before
    assert call(app, 0, set(range(64)), {1}) == 0
    assert set(app.nodes_of(heap).tolist()) == {1}


def test_a_call_that_the_checks_refuse_drains_nothing(machine: pm.Machine, app: pm.Task) -> None:
    """``migrate_prep`` is step 1 of 5.3, after all checks; a call with nothing to do gets there."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    before = machine.vmstat()
    assert call(app, 999, {0}, {1}) == -errno.ESRCH
    assert call(app, 0, {0}, {2}) == -errno.EPERM
    assert machine.vmstat() == before
    assert call(app) == 0
    assert machine.vmstat()["nr_active_anon"] == before["nr_active_anon"] + 1
