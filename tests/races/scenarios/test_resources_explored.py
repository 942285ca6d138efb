"""S39 to S42, S44 and S46 in every order of their calls: limits, small nodes, pages named twice."""

from __future__ import annotations

from typing import Any

import pagemig as pm
from tests.races.scenarios.exploring import explored, free, seen
from tests.races.scenarios.stages import Playground, swap_cache_page
from tests.races.stage import own_page, shared_page

SMALL = (16, 16)


def status(result: Any) -> Any:
    """Of a move by frames its one status; of a call that failed its errno, negative, or its name."""
    if isinstance(result, pm.Raised):
        return result.error if result.errno is None else -result.errno
    return result.statuses.tolist()[0] if isinstance(result, pm.MigrationResult) else result


def test_s39_explored_a_group_whose_limit_is_reached_by_another_page() -> None:
    """S39: two pages and room for one more charge: T wants it for a page of its own, M for a moment. M moves
    both, one or none: -ENOMEM (-12); or T is out of memory; the usage is what is there in the end.
    """
    machine = pm.Machine(nodes=[frames * pm.PAGE_SIZE for frames in SMALL], cpus=1)
    group = machine.create_memcg("group")
    app, other = (machine.spawn(name, stack=False, memcg=group) for name in ("app", "other"))
    heap, wanted = app.mmap(2 * pm.PAGE_SIZE), other.mmap(pm.PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    group.limit = 3 * pm.PAGE_SIZE
    outcomes = explored(
        Playground(machine),
        (pm.calls.move_pages(heap, 1), app),
        (pm.calls.touch(wanted), other),
        observe=lambda end: (
            tuple(end.task(app.pid).nodes_of(heap).tolist()),
            end.memcg("group").usage // pm.PAGE_SIZE,
            free(end),
        ),
        result=lambda result: result.minor if isinstance(result, pm.AccessResult) else status(result),
    )
    assert outcomes == {
        ((1, 1), 1, ((1, 1), 3, (15, 14))),
        ((1, 1), "OutOfMemoryError", ((1, 1), 2, (16, 14))),
        (-12, 1, ((0, 0), 3, (13, 16))),
        (-12, 1, ((1, 0), 3, (14, 15))),
    }


def test_s40_explored_a_small_node_and_a_pin() -> None:
    """S40, Q32: three frames: -ENOMEM (-12) once they are used up if the pin is there; nothing is lost."""
    stage = own_page(nodes=(16, 3))
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.heap, 1), stage.parent),
        (pm.calls.pin(stage.address), stage.parent),
        (pm.calls.drain(), stage.parent),
        observe=lambda end: (seen(end, stage.parent, stage.address), free(end)),
        result=lambda result: result // 16 if isinstance(result, int) else status(result),
    )
    assert outcomes == {
        ((1,), 1, None, ("node 1: 1 mapped, 2 counted, writable", (16, 2))),
        (-12, 0, None, ("node 0: 1 mapped, 2 counted, writable", (15, 3))),
    }


def test_s41_explored_the_same_page_twice_while_a_sharer_leaves() -> None:
    """S41, Q08, Q09: both refused (-13); the first wins and the second is busy (-16); or the map count fell
    in between: the second isolates, the first's node and status are used, -EAGAIN included.
    """
    stage = shared_page(nodes=(16, 16, 16))
    outcomes = explored(
        stage,
        (pm.calls.move_pages([stage.address, stage.address], [1, 2]), stage.parent),
        (pm.calls.exit(), stage.child),
        observe=lambda end: (seen(end, stage.parent, stage.address), free(end)),
    )
    assert outcomes == {
        ((-11, -16), None, ("node 0: 1 mapped, 1 counted, read-only", (15, 16, 16))),
        ((-11, 0), None, ("node 0: 1 mapped, 1 counted, read-only", (15, 16, 16))),
        ((-13, -13), None, ("node 0: 1 mapped, 1 counted, read-only", (15, 16, 16))),
        ((1, -16), None, ("node 1: 1 mapped, 1 counted, read-only", (16, 15, 16))),
        ((1, 0), None, ("node 1: 1 mapped, 1 counted, read-only", (16, 15, 16))),
    }


def test_s42_explored_offlining_against_a_pin() -> None:
    """S42: the pin is there first: time runs out, -EAGAIN (-11), page and frames are as before. It comes too
    late: the range is gone, and the pin is on the new frame; or the old frame is kept by the sleeper's
    reference (S08), is found on the LRU again and cannot be moved: -EAGAIN though the page is on node 1.

    At most two preemptions.
    """
    stage = own_page(nodes=(32, 16), pages=17, pageblock_frames=16)
    last = stage.heap[16]
    assert stage.parent.entry_at(last.start).pfn == 16
    operator = stage.machine.spawn("operator", stack=False)
    outcomes = explored(
        stage,
        (pm.calls.offline(16, 16, timeout=1), operator),
        (pm.calls.pin(last.start), stage.parent),
        observe=lambda end: (seen(end, stage.parent, last.start), end.pageblocks(0)[1].state.name),
        result=lambda result: "pinned" if isinstance(result, int) else status(result),
        preemptions=2,
    )
    assert outcomes == {
        (-11, "pinned", ("node 0: 1 mapped, 2 counted, writable", "MOVABLE")),
        (-11, "pinned", ("node 1: 1 mapped, 2 counted, writable", "MOVABLE")),
        (None, "pinned", ("node 1: 1 mapped, 2 counted, writable", "OFFLINE")),
    }


def test_s44_explored_a_query_beside_a_migrator() -> None:
    """S44: the old node, -ENOENT (-2) while there is an entry, or the new node."""
    stage = own_page(nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.heap, 1), stage.parent),
        (pm.calls.move_pages(stage.heap), stage.parent),
        observe=lambda end: (seen(end, stage.parent, stage.address), free(end)),
    )
    assert outcomes == {
        ((1,), (-2,), ("node 1: 1 mapped, 1 counted, writable", (16, 15))),
        ((1,), (0,), ("node 1: 1 mapped, 1 counted, writable", (16, 15))),
        ((1,), (1,), ("node 1: 1 mapped, 1 counted, writable", (16, 15))),
    }


def test_s46_explored_the_mappers_of_a_swap_cache_page_exit() -> None:
    """S46, Q26: no walk over a list that is gone; the page is moved, or freed by the exit, or cannot be had
    (-16); -EAGAIN if a passing reference was there in all passes.
    """
    stage = swap_cache_page(nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.migrate_frames([stage.old], pm.ToNode(1)), stage.other),
        (pm.calls.exit(), stage.app),
        observe=lambda end: (end.swap.cached, len(end.tasks), free(end)),
        result=status,
    )
    assert outcomes == {
        (-11, None, (0, 1, (16, 16))),
        (-11, None, (1, 1, (15, 16))),
        (-16, None, (0, 1, (16, 16))),
        (1, None, (0, 1, (16, 16))),
        (1, None, (1, 1, (16, 15))),
    }
