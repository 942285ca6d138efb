"""Worked example E5: 340 pages in one call are chunks of 169, 169 and 2."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

from .stepping import finish

MOVE = 2
UNWRITTEN = 99


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 512 frames, one CPU."""
    return pm.Machine(nodes=[512 * pm.PAGE_SIZE] * 2, cpus=1)


@pytest.fixture
def pages(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """340 pages on node 0."""
    region = app.mmap(340 * pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    return region


def test_e5_three_chunks_move_everything(machine: pm.Machine, app: pm.Task, pages: pm.Region) -> None:
    """E5, DP-4: DM runs three times; audited after each of its many steps."""
    move = machine.start(pm.calls.move_pages(pages, 1), by=app)
    entered = 0
    while not move.done:
        entered += move.at == "DM-1"
        move.step()
        if entered and move.at in {"DM-1", "DM-4", "MP-1", None}:
            machine.check()
    assert entered == 3
    assert move.result.tolist() == [1] * 340
    assert app.nodes_of(pages).tolist() == [1] * 340


def test_e5_statuses_appear_chunk_by_chunk(machine: pm.Machine, app: pm.Task, pages: pm.Region) -> None:
    """E5, DP-5e: 169, then 338, then 340 statuses have been written."""
    status = np.full(340, UNWRITTEN, np.int32)
    move = machine.start(pm.calls.move_pages(pages, 1, status=status), by=app)
    seen = set()
    while not move.done:
        if move.at == "DM-1":
            seen.add(int((app.nodes_of(pages) == 1).sum()))
        move.step()
    assert seen == {0, 169, 338}
    assert status.tolist() == [1] * 340


def test_e5_a_bad_node_in_the_second_chunk_leaves_all_of_that_chunk_alone(
    machine: pm.Machine, app: pm.Task, pages: pm.Region
) -> None:
    """E5: the 200th node is invalid: 0..168 moved and reported; result -ENODEV."""
    nodes = np.ones(340, np.int32)
    nodes[199] = 64
    status = np.full(340, UNWRITTEN, np.int32)
    code = pm.syscalls.move_pages(app, 0, 340, pages.addresses, nodes, status, MOVE)
    assert code == -errno.ENODEV
    assert status.tolist() == [1] * 169 + [UNWRITTEN] * 171
    assert app.nodes_of(pages).tolist() == [1] * 169 + [0] * 171
    machine.check()


def test_e5_a_status_that_cannot_be_written_comes_too_late_for_its_chunk(
    machine: pm.Machine, app: pm.Task, pages: pm.Region
) -> None:
    """E5: the status of entry 300 faults: 0..299 have statuses, 0..337 moved; result -EFAULT."""
    array = np.full(340, UNWRITTEN, np.int32)
    status = pm.UserMemory(array, valid_bytes=300 * 4)
    nodes = np.ones(340, np.int32)
    assert pm.syscalls.move_pages(app, 0, 340, pages.addresses, nodes, status, MOVE) == -errno.EFAULT
    assert array.tolist() == [1] * 300 + [UNWRITTEN] * 40
    assert app.nodes_of(pages).tolist() == [1] * 338 + [0] * 2
    machine.check()


@pytest.mark.parametrize("stepped", [False, True])
def test_e5_stepping_and_running_come_to_the_same(
    machine: pm.Machine, app: pm.Task, pages: pm.Region, stepped: bool
) -> None:
    """E5: the error and the statuses of the first chunk, either way."""
    nodes = np.ones(340, np.int32)
    nodes[199] = -1
    if stepped:
        move = machine.start(pm.calls.move_pages(pages, nodes), by=app)
        while not move.done:
            move.step()
        error = move.error
    else:
        with pytest.raises(OSError, match="move_pages") as refused:
            app.move_pages(pages, nodes)
        error = refused.value
    assert isinstance(error, pm.SyscallError)
    assert error.errno == errno.ENODEV
    assert error.statuses.tolist() == [1] * 169


def test_e5_a_small_call_audited_at_every_step(machine: pm.Machine, app: pm.Task) -> None:
    """E5 in small: two pages, every invariant after every step."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    assert finish(machine, machine.start(pm.calls.move_pages(region, 1), by=app)).result.tolist() == [1, 1]
