"""Pages that move with their buffers: BM."""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import attempts, cached, counts, finish, never_reaches, reach

F = pm.PageFlags
B = pm.BufferState
OLD, NEW = 0, 64
EXT, BLOCKDEV = pm.filesystems.EXT, pm.filesystems.BLOCKDEV
BARE = pm.FileSystem("bare", pm.MigrateMethod.BUFFERS)
"""``buffer_migrate_page`` of a filesystem whose pages have no buffers at the moment."""


@pytest.fixture
def other(machine: pm.Machine) -> pm.Task:
    """Somebody who looks files up and maps nothing."""
    return machine.spawn("other", stack=False)


def a_move(machine: pm.Machine, app: pm.Task, area: pm.Region) -> pm.Call:
    """A move of an area to node 1."""
    return machine.start(pm.calls.move_pages(area, 1), by=app)


def test_a_page_without_buffers_moves_as_any_other(machine: pm.Machine, app: pm.Task) -> None:
    """BM-1, MG-2: two references expected, and BM-2 to BM-9 do not happen."""
    _, area = cached(machine, app, BARE)
    move = a_move(machine, app, area)
    for label in ("BM-2", "BM-3", "BM-4", "BM-9"):
        assert never_reaches(machine, move, label)
    reach(machine, move, "BM-1")
    assert {"BM-1", "MG-1", "MG-2"} <= set(move.labels)
    assert machine.frame(OLD).count == 2
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert machine.buffers(NEW) == ()


def test_a_reference_leaves_the_buffers_as_they_are(
    machine: pm.Machine, app: pm.Task, other: pm.Task
) -> None:
    """BM-2: MM says -EAGAIN to a count of 4 where 3 is expected; no buffer was touched."""
    file, area = cached(machine, app, EXT)
    before = file.buffers(0)
    move = reach(machine, a_move(machine, app, area), "BM-2")
    assert counts(machine, OLD) == (3, 0)
    file.lookup(0, by=other)
    attempts(machine, move, 1)
    assert "BM-3" not in move.history
    assert (file.buffers(0), file.pfn_of(0)) == (before, OLD)
    other.unpin(OLD)
    finish(machine, move)
    assert move.result.tolist() == [1]


def test_every_buffer_is_referenced_and_locked_in_the_order_of_the_ring(
    machine: pm.Machine, app: pm.Task
) -> None:
    """BM-3: one after the other; the page that has them is still the old one."""
    _, area = cached(machine, app, EXT)
    move = reach(machine, a_move(machine, app, area), "BM-3")
    for locked in range(5):
        states = [(buffer.count, B.LOCK in buffer.state) for buffer in machine.buffers(OLD)]
        assert states == [(1, True)] * locked + [(0, False)] * (4 - locked)
        assert move.at == ("BM-3" if locked < 4 else "BM-4")
        move.step()
        machine.check()
    assert machine.buffers(OLD) == ()
    assert [buffer.count for buffer in machine.buffers(NEW)] == [0] * 4
    finish(machine, move)


def test_the_last_step_moves_buffers_bytes_and_flags_and_unlocks(machine: pm.Machine, app: pm.Task) -> None:
    """BM-4 to BM-9: reference and PG_private change pages, the copy is made, states are what they were."""
    file, area = cached(machine, app, EXT, write=True)
    app.write(area.start, b"bytes")
    states, blocks = zip(*((buffer.state, buffer.block) for buffer in file.buffers(0)), strict=True)
    assert all(B.DIRTY in state for state in states)
    move = reach(machine, a_move(machine, app, area), "BM-4")
    assert set(move.labels) >= {"BM-5", "BM-6", "BM-7", "BM-8", "BM-9", "MC-1"}
    ring = machine.frame(OLD).private
    assert (machine.frame(OLD).count, machine.frame(NEW).count) == (2, 2)
    move.step()
    machine.check()
    old, new = machine.frame(OLD), machine.frame(NEW)
    assert (old.count, F.PRIVATE in old.flags, old.private, old.owner) == (1, False, 0, None)
    assert (new.count, F.PRIVATE in new.flags, new.private) == (3, True, ring)
    assert F.DIRTY in new.flags
    assert machine.frame_bytes(NEW)[:5] == b"bytes"
    assert tuple(buffer.state for buffer in machine.buffers(NEW)) == states
    assert tuple(buffer.block for buffer in machine.buffers(NEW)) == blocks
    assert move.at == "MN-4"
    finish(machine, move)
    assert move.result.tolist() == [1]
