"""Per-CPU pagevecs: capacity, order, and what drains them. Source: data-model 4.2."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import pagemig as pm

from .stepping import counts, finish, free, lru, pagevec, pfn_at, reach, waiting

F = pm.PageFlags
INACTIVE, ACTIVE = pm.LruList.INACTIVE_ANON, pm.LruList.ACTIVE_ANON
MIB2 = 512 * pm.PAGE_SIZE


def pages(task: pm.Task, count: int) -> pm.Region:
    """Fresh pages of a task."""
    region = task.mmap(count * pm.PAGE_SIZE)
    task.touch(region)
    return region


def test_thirteen_pages_wait_and_the_fourteenth_drains_them(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.2: capacity 14, drained in the same step (I-44)."""
    region = app.mmap(16 * pm.PAGE_SIZE)
    for number, page in enumerate(region, start=1):
        app.touch(page)
        machine.check()
        assert len(pagevec(machine, ACTIVE)) == number % 14
        assert machine.zone_counters(0)["nr_active_anon"] == number // 14 * 14


def test_a_drain_adds_at_the_head_in_insertion_order(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.1, 4.2: so the page that waited longest is nearest to the tail."""
    pages(app, 5)
    assert pagevec(machine, ACTIVE) == [0, 1, 2, 3, 4]
    machine.drain()
    assert lru(machine, 0, ACTIVE) == [4, 3, 2, 1, 0]
    pages(app, 1)
    machine.drain()
    assert lru(machine, 0, ACTIVE) == [5, 4, 3, 2, 1, 0]


def test_a_waiting_page_has_neither_pg_lru_nor_pg_active(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.2, I-43, I-45: the drain sets both."""
    pages(app, 1)
    assert machine.frame(0).flags == F.UPTODATE | F.SWAPBACKED
    assert machine.frame(0).lru is None
    machine.drain()
    assert machine.frame(0).flags == F.UPTODATE | F.SWAPBACKED | F.LRU | F.ACTIVE


def test_a_page_that_died_while_it_waited_is_freed_by_the_drain(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.2: listed, taken off and freed in one go."""
    region = pages(app, 1)
    move = machine.start(pm.calls.move_pages(region, 1), by=app)
    finish(machine, move)
    assert counts(machine, 0) == (1, 0)
    machine.drain()
    assert (counts(machine, 0), lru(machine, 0, INACTIVE)) == ((0, 0), [])


def test_lists_of_several_zones_are_served_from_one_pagevec(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.2: each page goes to the list of its own zone."""
    first = pages(app, 1)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    second = pages(app, 1)
    expected = [pfn_at(app, region.start) for region in (first, second)]
    assert pagevec(machine, ACTIVE) == expected
    machine.drain()
    assert [lru(machine, node, ACTIVE) for node in (0, 1)] == [[expected[0]], [expected[1]]]


# Points that drain ----------------------------------------------------------------------------


@pytest.fixture
def pair() -> tuple[pm.Machine, pm.Task, pm.Task]:
    """A machine of two CPUs with a task on each, and one fresh page of either in a pagevec."""
    machine = pm.Machine(nodes=[2048 * pm.PAGE_SIZE] * 2, cpus=2)
    here, there = machine.spawn("here", cpu=0), machine.spawn("there", cpu=1)
    pages(here, 1)
    pages(there, 1)
    return machine, here, there


def lengths(machine: pm.Machine) -> list[int]:
    """How many active pages wait on each CPU."""
    return [len(pagevec(machine, ACTIVE, cpu)) for cpu in range(len(machine.cpus))]


def remap(task: pm.Task) -> pm.Region:
    """An area of a task, not touched."""
    return task.mmap(pm.PAGE_SIZE)


Act = Callable[[pm.Task], object]

OWN_CPU: dict[str, Act] = {
    "munmap": lambda task: task.munmap(task.regions[0]),
    "munmap of nothing touched": lambda task: task.munmap(remap(task)),
    "exit": lambda task: task.exit(),
    "munlock": lambda task: task.munlock(task.regions[0]),
}
ALL_CPUS: dict[str, Act] = {
    "move_pages": lambda task: task.move_pages(task.regions[0], 0),
    "move_pages of nothing": lambda task: task.move_pages([], 1),
    "mlock": lambda task: task.mlock(task.regions[0]),
}
NO_CPU: dict[str, Act] = {
    "touch": lambda task: task.touch(task.regions[0]),
    "fork": lambda task: task.fork(),
    "mprotect": lambda task: task.mprotect(task.regions[0], pm.R),
    "query": lambda task: task.move_pages(task.regions[0]),
    "pin": lambda task: task.pin(task.regions[0].start),
    "mmap": remap,
}


@pytest.mark.parametrize("act", OWN_CPU.values(), ids=OWN_CPU)
def test_unmapping_and_munlock_drain_the_current_cpu_only(
    pair: tuple[pm.Machine, pm.Task, pm.Task], act: Act
) -> None:
    """Data-model 4.2: zap_page_range, unmap_region, exit_mmap, the munlock loop."""
    machine, here, _ = pair
    if act is OWN_CPU["munlock"]:
        here.mlock(here.regions[0])
        there = machine.tasks[1]
        pages(there, 1)
        pages(here, 1)
    act(here)
    machine.check()
    assert lengths(machine) == [0, 1]


@pytest.mark.parametrize("act", ALL_CPUS.values(), ids=ALL_CPUS)
def test_migration_and_mlock_drain_all_cpus(pair: tuple[pm.Machine, pm.Task, pm.Task], act: Act) -> None:
    """Data-model 4.2: migrate_prep and mlock(2)."""
    machine, here, _ = pair
    act(here)
    machine.check()
    assert lengths(machine) == [0, 0]


@pytest.mark.parametrize("act", NO_CPU.values(), ids=NO_CPU)
def test_other_calls_drain_nothing(pair: tuple[pm.Machine, pm.Task, pm.Task], act: Act) -> None:
    """Data-model 4.2 lists all points; these are not among them."""
    machine, here, _ = pair
    act(here)
    machine.check()
    assert lengths(machine) == [1, 1]


def test_one_cpu_can_be_drained_alone(pair: tuple[pm.Machine, pm.Task, pm.Task]) -> None:
    """Data-model 4.2: ``lru_add_drain`` is for the current CPU, ``lru_add_drain_all`` for all."""
    machine = pair[0]
    machine.drain(cpu=1)
    assert lengths(machine) == [1, 0]
    machine.drain()
    assert lengths(machine) == [0, 0]


# Unmapping batches ----------------------------------------------------------------------------


def unmap_with_a_newcomer(cpus: int, write: bool | None) -> tuple[pm.Machine, list[int]]:
    """Unmap a page while another task on the CPU fills the pagevec after the first drain.

    ``write``: how the page was touched, None for not at all. A second area keeps the page
    table in use. Returns what waits on the CPU afterwards.
    """
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE], cpus=cpus)
    app, other = machine.spawn("app", cpu=0), machine.spawn("other", cpu=0)
    region, neighbour = app.mmap(pm.PAGE_SIZE, at=MIB2), app.mmap(pm.PAGE_SIZE, at=MIB2 + 0x10000)
    app.touch(neighbour)
    if write is not None:
        app.touch(region, write=write)
    unmapping = reach(machine, machine.start(pm.calls.munmap(region), by=app), "SP6-zap")
    pages(other, 1)
    finish(machine, unmapping)
    return machine, pagevec(machine, ACTIVE)


@pytest.mark.parametrize("write", [True, False], ids=["page", "zero page"])
def test_the_flush_of_an_unmapping_batch_drains_the_cpu(write: bool) -> None:
    """Data-model 4.2, supporting-paths 6: if a present leaf was cleared, even with no page queued."""
    assert unmap_with_a_newcomer(2, write)[1] == []


def test_an_unmapping_batch_that_cleared_nothing_is_not_flushed() -> None:
    """Data-model 4.2: no present leaf, no table freed: what came after the first drain waits on."""
    assert len(unmap_with_a_newcomer(2, None)[1]) == 1


@pytest.mark.parametrize("write", [True, False, None])
def test_with_one_cpu_there_are_no_batches_and_no_flush(write: bool | None) -> None:
    """Data-model 4.2: never while only one CPU is online."""
    assert len(unmap_with_a_newcomer(1, write)[1]) == 1


def test_a_freed_page_table_flushes_too() -> None:
    """Data-model 4.2: "or a page table freed since the last flush": an area alone in its table."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE], cpus=2)
    app, other = machine.spawn("app", stack=False), machine.spawn("other", cpu=0)
    region = app.mmap(2 * pm.PAGE_SIZE, at=MIB2)
    app.touch(region[0])
    app.munmap(region[0])
    unmapping = reach(machine, machine.start(pm.calls.munmap(region[1]), by=app), "SP6-zap")
    pages(other, 1)
    finish(machine, unmapping)
    assert pagevec(machine, ACTIVE) == []


@pytest.mark.parametrize(("cpus", "freed"), [(1, 512), (2, 506)])
def test_pages_are_released_in_batches_of_506_unless_there_is_one_cpu(cpus: int, freed: int) -> None:
    """Supporting-paths 6, point 5: what one table's worth of unmapping has freed before the last flush."""
    machine = pm.Machine(nodes=[2048 * pm.PAGE_SIZE], cpus=cpus)
    app = machine.spawn("app")
    region = app.mmap(512 * pm.PAGE_SIZE, at=MIB2)
    app.touch(region)
    machine.drain()
    unmapping = machine.start(pm.calls.munmap(region), by=app)
    reach(machine, unmapping, "SP6-free")
    assert free(machine, 0) == 2048 - 512 + freed
    assert app.rss == 0
    finish(machine, unmapping)
    assert free(machine, 0) == 2048
    assert waiting(machine) == {}
