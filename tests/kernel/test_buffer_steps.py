"""Pages that move with their buffers: BM, and who holds one of those buffers (S33)."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import attempts, block, cached, counts, finish, never_reaches, reach, waiting

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


def test_a_buffer_locked_by_somebody_else_is_waited_for(machine: pm.Machine, app: pm.Task) -> None:
    """BM-3, BM-8, S33, Y13: past the point of no return, in the first pass, with both pages locked."""
    file, area = cached(machine, app, EXT)
    file.hold_buffer(0, 2, lock=True)
    move = a_move(machine, app, area)
    wait = block(machine, move)
    assert (wait.lock, wait.holder, move.at) == ("buffer_lock", pm.Holder.HAND, "BM-3")
    assert [buffer.count for buffer in machine.buffers(OLD)] == [1, 1, 2, 0]
    assert file.pfn_of(0) == NEW
    for pfn in (OLD, NEW):
        assert F.LOCKED in machine.frame(pfn).flags
    file.release_buffer(0, 2)
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert waiting(machine)[pm.LruList.INACTIVE_FILE] == [OLD, NEW]
    assert not any(buffer.is_busy for buffer in file.buffers(0))


def test_a_busy_buffer_does_not_block_a_move_with_buffers(machine: pm.Machine, app: pm.Task) -> None:
    """S33: referenced and dirty buffers go along; the holder's reference stays on the buffer."""
    file, area = cached(machine, app, EXT, write=True)
    file.hold_buffer(0, 1)
    assert app.move_pages(area, 1).tolist() == [1]
    assert [buffer.count for buffer in file.buffers(0)] == [0, 1, 0, 0]
    file.release_buffer(0, 1)


def test_a_busy_buffer_blocks_the_fallback(machine: pm.Machine, app: pm.Task) -> None:
    """FB-2, S33: it cannot be dropped: -EAGAIN ten times; without the holder the page moves bare."""
    file, area = cached(machine, app, BLOCKDEV)
    assert counts(machine, OLD) == (3, 1)
    file.hold_buffer(0, 1)
    assert app.move_pages(area, 1).tolist() == [-errno.EAGAIN]
    assert (len(file.buffers(0)), counts(machine, OLD)) == (4, (4, 1))
    file.release_buffer(0, 1)
    machine.drain()
    assert app.move_pages(area, 1).tolist() == [1]
    assert file.buffers(0) == ()
    machine.drain()
    assert machine.frame(file.pfn_of(0)).count == 2
