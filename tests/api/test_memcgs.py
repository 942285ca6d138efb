"""Memory cgroups: who pays, how much, and what happens at the limit."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

PAGE = pm.PAGE_SIZE


def test_a_group_pays_for_what_its_tasks_take(machine: pm.Machine) -> None:
    """Data-model 9: anonymous pages are RSS, file pages CACHE and, where mapped, MAPPED_FILE."""
    group = machine.create_memcg("batch", limit=20 * PAGE)
    app = machine.spawn(memcg=group)
    file = machine.create_file("data", 2 * PAGE)
    app.touch(app.mmap(3 * PAGE))
    app.touch(app.mmap(2 * PAGE, file=file), write=False)
    assert group.usage == 5 * PAGE
    assert group.statistics == pm.MemcgStatistics(2 * PAGE, 3 * PAGE, 2 * PAGE, 0)
    assert (group.tasks, group.limit, group.name) == ((app,), 20 * PAGE, "batch")
    app.exit()
    assert (group.usage, group.statistics.rss, group.tasks) == (2 * PAGE, 0, ())
    assert machine.audit() == []


def test_nobody_pays_for_what_was_there_before_the_first_group(machine: pm.Machine, app: pm.Task) -> None:
    """Until then there is only the root, and no frame has a record."""
    app.touch(app.mmap(PAGE))
    assert [each.name for each in machine.memcgs] == ["root"]
    assert app.memcg == machine.memcgs[0]
    group = machine.create_memcg("late")
    assert [each.name for each in machine.memcgs] == ["root", "late"]
    assert (machine.memcg("late"), machine.memcg(group.number)) == (group, group)
    assert (group.usage, group.limit, group.parent) == (0, None, machine.memcgs[0])
    assert (machine.memcgs[0].parent, machine.memcgs[0].limit) == (None, None)


def test_a_task_can_change_its_group_and_leaves_its_charges_behind(machine: pm.Machine, app: pm.Task) -> None:
    """What it takes from then on is charged to the new one; a child is in its parent's."""
    one, other = machine.create_memcg("one"), machine.create_memcg("other")
    one.attach(app)
    app.touch(app.mmap(2 * PAGE))
    other.attach(app.pid)
    app.touch(app.mmap(PAGE))
    assert (one.usage, other.usage) == (2 * PAGE, PAGE)
    child = app.fork()
    assert other.tasks == (app, child)
    assert child.memcg == other
    machine.memcgs[0].attach(child)
    assert other.tasks == (app,)
    assert child.memcg == machine.memcg("root")


def test_a_frame_knows_who_pays_for_it(machine: pm.Machine) -> None:
    """Its record: Used, and to whom."""
    group = machine.create_memcg("batch")
    app = machine.spawn(memcg=group)
    region = app.mmap(PAGE)
    app.touch(region)
    page = app.page_at(region.start)
    assert page is not None
    record = machine.memcg_record(page.pfn)
    assert (record.owner, bool(record.flags & pm.RecordFlags.USED)) == (group.number, True)
    assert not machine.memcg_record(127).flags & pm.RecordFlags.USED


def test_a_page_too_many_is_refused(machine: pm.Machine) -> None:
    """Supporting-paths 13: nothing can be reclaimed without swap; what was touched before stays."""
    group = machine.create_memcg("small", limit=4 * PAGE + 1)
    app = machine.spawn(memcg=group)
    region = app.mmap(6 * PAGE)
    with pytest.raises(pm.OutOfMemoryError) as refused:
        app.touch(region)
    assert refused.value.result.minor == 4
    assert (group.limit, group.usage, app.rss) == (4 * PAGE, 4 * PAGE, 4)
    assert machine.audit() == []


def test_migration_needs_room_for_one_page_more(machine: pm.Machine) -> None:
    """S39: a group at its limit: -ENOMEM for the whole call, though the move would be neutral."""
    group = machine.create_memcg("full", limit=2 * PAGE)
    app = machine.spawn(memcg=group)
    region = app.mmap(2 * PAGE)
    app.touch(region)
    machine.drain()
    with pytest.raises(OSError, match="move_pages") as refused:
        app.move_pages(region, 1)
    assert refused.value.errno == errno.ENOMEM
    group.limit = 3 * PAGE
    machine.drain()
    assert app.move_pages(region, 1).tolist() == [1, 1]
    assert group.usage == 2 * PAGE
    assert machine.audit() == []


def test_the_limit_of_a_parent_holds_for_its_children(machine: pm.Machine) -> None:
    """Charges count upwards."""
    parent = machine.create_memcg("parent", limit=3 * PAGE)
    child = machine.create_memcg("child", parent=parent)
    app = machine.spawn(memcg=child)
    with pytest.raises(pm.OutOfMemoryError):
        app.touch(app.mmap(4 * PAGE))
    assert (child.usage, parent.usage, child.parent) == (3 * PAGE, 3 * PAGE, parent)


def test_a_limit_below_what_is_used_is_refused_if_nothing_can_be_reclaimed(machine: pm.Machine) -> None:
    """EBUSY, and the limit stays; None lifts it."""
    group = machine.create_memcg("batch", limit=8 * PAGE)
    app = machine.spawn(memcg=group)
    app.touch(app.mmap(4 * PAGE))
    with pytest.raises(OSError, match=r"memory\.limit_in_bytes") as refused:
        group.limit = 2 * PAGE
    assert refused.value.errno == errno.EBUSY
    assert group.limit == 8 * PAGE
    group.limit = 4 * PAGE + 4095
    assert group.limit == 4 * PAGE
    group.limit = None
    assert group.limit is None


def test_handles_of_one_group_are_equal(machine: pm.Machine) -> None:
    """Those of a clone are others."""
    group = machine.create_memcg("batch")
    assert machine.memcgs[1] == group != machine.memcgs[0]
    assert {group: 1}[machine.memcgs[1]] == 1
    assert group != machine.clone().memcgs[1]
    assert repr(group) == f"<Memcg {group.number} 'batch'>"


def test_groups_that_cannot_be_are_refused(machine: pm.Machine, app: pm.Task) -> None:
    """Names, limits, parents, tasks; nothing changes."""
    group = machine.create_memcg("batch", limit=PAGE)
    stranger = machine.clone().memcgs[1]
    wrong = [
        lambda: machine.create_memcg("batch"),
        lambda: machine.create_memcg("root"),
        lambda: machine.create_memcg(""),
        lambda: machine.create_memcg("new", limit=-1),
        lambda: machine.create_memcg("new", limit="1MiB"),  # type: ignore[arg-type]
        lambda: machine.create_memcg("new", limit=1 << 63),
        lambda: machine.create_memcg("new", parent="batch"),  # type: ignore[arg-type]
        lambda: machine.create_memcg("new", parent=stranger),
        lambda: machine.spawn(memcg="batch"),  # type: ignore[arg-type]
        lambda: machine.spawn(memcg=stranger),
        lambda: setattr(group, "limit", -1),
        lambda: setattr(group, "limit", 1.5),
        lambda: setattr(machine.memcgs[0], "limit", PAGE),
        lambda: group.attach(99),
        lambda: machine.memcg("other"),
        lambda: machine.memcg(7),
        lambda: group.attach(machine.clone().task(app.pid)),
    ]
    for ask in wrong:
        with pytest.raises(pm.UsageError):
            ask()
    assert [each.name for each in machine.memcgs] == ["root", "batch"]
    assert (group.limit, group.tasks, machine.tasks) == (PAGE, (), (app,))
