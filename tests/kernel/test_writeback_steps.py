"""Pages under writeback (UM-6): what a refused attempt leaves alone."""

from __future__ import annotations

import pagemig as pm

from .stepping import attempts, cached, finish, reach

OLD = 0
EXT = pm.filesystems.EXT


def a_move(machine: pm.Machine, by: pm.Task) -> pm.Call:
    """A move of the one page, through nobody's address space."""
    return machine.start(pm.calls.migrate_frames([OLD], pm.ToNode(1)), by=by)


def test_writeback_in_the_way_costs_the_page_nothing(machine: pm.Machine, app: pm.Task) -> None:
    """UM-6, I-124: flags, tags and counts after a refused attempt are those before it."""
    file, _ = cached(machine, app, EXT, write=True)
    file.writeback(0)
    move = reach(machine, a_move(machine, app), "UM-3")
    before = machine.frame(OLD), file.buffers(0), file.pages["writeback"].tolist()
    attempts(machine, move, 1)
    assert (machine.frame(OLD), file.buffers(0), file.pages["writeback"].tolist()) == before
    machine.complete_io()
    finish(machine, move)
