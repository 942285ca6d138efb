"""The engine itself, for embedders: frames in, statuses out."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm


def pfns_of(machine: pm.Machine, node: int) -> list[int]:
    """The allocated frames of a node."""
    pfns: list[int] = machine.frames(node)["pfn"].tolist()
    return pfns


def test_pages_move_to_a_node(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """All of them, in one pass and one attempt each."""
    result = machine.migrate_pages(pfns_of(machine, 0), pm.ToNode(1))
    assert result == pm.MigrationResult(
        not_migrated=0,
        error=None,
        statuses=np.array([1, 1, 1, 1], np.int32),
        attempts=np.array([1, 1, 1, 1], np.uint32),
        passes=1,
        frames_discarded=0,
    )
    assert app.nodes_of(heap).tolist() == [1] * 4
    assert not machine.audit()


def test_each_page_may_go_to_a_node_of_its_own(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """ByPage; a page that it does not name is refused before anything happens."""
    pfns = pfns_of(machine, 0)
    with pytest.raises(pm.UsageError, match="names no node for frame"):
        machine.migrate_pages(pfns, pm.ByPage({pfns[0]: 1}))
    assert app.nodes_of(heap).tolist() == [0] * 4
    wanted = dict(zip(pfns, [1, 0, 1, 0], strict=True))
    assert machine.migrate_pages(pfns, pm.ByPage(wanted)).statuses.tolist() == [1, 0, 1, 0]
    assert app.nodes_of(heap).tolist() == [1, 0, 1, 0]


def test_a_pinned_page_is_tried_ten_times(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """E4, Q01, Q04, Q32: ten passes, ten frames taken in vain, -EAGAIN, counted as not migrated."""
    pfn = app.pin(heap.start)
    result = machine.migrate_pages([pfn], pm.ToNode(1))  # type: ignore[list-item]
    assert (result.not_migrated, result.error) == (1, None)
    assert result.statuses.tolist() == [-errno.EAGAIN]
    assert (result.attempts.tolist(), result.passes, result.frames_discarded) == ([10], 10, 10)
    assert machine.zone_counters(1)["nr_free_pages"] == 64 - 10
    machine.drain()
    assert machine.zone_counters(1)["nr_free_pages"] == 64


def test_pages_may_go_anywhere(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """The local node first: to other frames of node 0."""
    before = pfns_of(machine, 0)
    assert machine.migrate_pages(before, pm.Anywhere()).statuses.tolist() == [0] * 4
    machine.drain()
    assert not set(before) & set(pfns_of(machine, 0))


def test_no_frames_is_nothing_to_do(machine: pm.Machine) -> None:
    """An empty list is a batch of its own."""
    result = machine.migrate_pages([], pm.ToNode(1))
    assert (result.not_migrated, result.statuses.size) == (0, 0)


def test_a_page_off_its_list_is_busy_until_it_is_put_back(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """S13: whoever has it isolated keeps migration away (-EBUSY)."""
    page = app.page_at(heap.start)
    assert page is not None
    machine.isolate(page.pfn)
    with pytest.raises(OSError, match="isolate") as refused:
        machine.isolate(page.pfn)
    assert refused.value.errno == errno.EBUSY
    assert app.move_pages(heap[0], 1).tolist() == [-errno.EBUSY]
    machine.putback(page.pfn)
    machine.drain()
    assert app.move_pages(heap[0], 1).tolist() == [1]
    with pytest.raises(pm.UsageError):
        machine.putback(page.pfn)


@pytest.mark.parametrize(
    ("pfns", "target"),
    [
        ([0], pm.ToNode(2)),
        ([0], pm.ToNode(-1)),
        ([0], pm.ToNode("1")),  # type: ignore[arg-type]
        ([0], 1),
        ([0], pm.ByPage({0: 7})),
        ([128], pm.ToNode(1)),
        ([-1], pm.ToNode(1)),
        ([1.5], pm.ToNode(1)),
        ("0", pm.ToNode(1)),
    ],
)
def test_frames_and_targets_that_do_not_exist_are_refused(
    machine: pm.Machine, pfns: object, target: object
) -> None:
    """UsageError before anything is isolated."""
    with pytest.raises(pm.UsageError):
        machine.migrate_pages(pfns, target)  # type: ignore[arg-type]
    with pytest.raises(pm.UsageError, match="offlining is"):
        machine.migrate_pages([0], pm.ToNode(1), offlining=np.zeros(2))  # type: ignore[arg-type]


def test_the_kernel_acts_on_the_cpu_that_it_is_told() -> None:
    """What a move leaves behind waits in the pagevecs of that CPU; the next one is on CPU 0 again."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=2)
    app = machine.spawn()
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    first, second = (app.page_at(page.start).pfn for page in region)  # type: ignore[union-attr]
    machine.migrate_pages([first], pm.ToNode(1), cpu=1)
    assert [cpu for cpu in (0, 1) if any(machine.pagevec(cpu, which) for which in pm.LruList)] == [1]
    machine.drain()
    machine.migrate_pages([second], pm.ToNode(1))
    assert [cpu for cpu in (0, 1) if any(machine.pagevec(cpu, which) for which in pm.LruList)] == [0]
    with pytest.raises(pm.UsageError, match="cpu is 9"):
        machine.soft_offline(first, cpu=9)
    with pytest.raises(pm.UsageError, match="a task runs on its own CPU"):
        machine.reclaim(0, by=app, cpu=1)
    machine.check()
