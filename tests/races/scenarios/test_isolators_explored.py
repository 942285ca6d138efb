"""S13 to S19 in every order of their calls: who has the page, who leaves it, and what M makes of it."""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm
from tests.races.scenarios.exploring import explored, free, seen
from tests.races.scenarios.stages import Playground, file_page, swap_machine
from tests.races.stage import SHARED, Stage, own_page, shared_page

SMALL = (16, 16)


def move(stage: Stage) -> tuple[Any, pm.Task]:
    """M: the parent moves its page to node 1, shared or not."""
    return pm.calls.move_pages(stage.heap, 1, scope=SHARED), stage.parent


def test_s13_explored_two_migrators_with_two_targets() -> None:
    """S13: the first wins; the other is told -EBUSY (-16), -ENOENT (-2) while there is an entry, or finds the
    page where the first has put it, in a pagevec.

    At most three preemptions.
    """
    stage = shared_page(nodes=(16, 16, 16))
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.move_pages(stage.of_child(), 2, scope=SHARED), stage.child),
        observe=lambda end: (seen(end, stage.child, stage.address), free(end)),
        preemptions=3,
    )
    assert outcomes == {
        ((-16,), (2,), ("node 2: 2 mapped, 2 counted, read-only", (16, 16, 15))),
        ((-2,), (2,), ("node 2: 2 mapped, 2 counted, read-only", (16, 16, 15))),
        ((1,), (-16,), ("node 1: 2 mapped, 2 counted, read-only", (16, 15, 16))),
        ((1,), (-2,), ("node 1: 2 mapped, 2 counted, read-only", (16, 15, 16))),
        ((1,), (2,), ("node 1: 2 mapped, 2 counted, read-only", (16, 15, 16))),
        ((1,), (2,), ("node 2: 2 mapped, 2 counted, read-only", (16, 16, 15))),
    }


def test_s14_explored_reclaim_and_a_migrator() -> None:
    """S14: reclaim first: -EBUSY, and -ENOENT when the page is a swap entry; M first: reclaim has nothing."""
    machine, app, _ = swap_machine(nodes=SMALL)
    page = app.mmap(pm.PAGE_SIZE)
    app.write(page.start, b"page")
    machine.drain()
    outcomes = explored(
        Playground(machine),
        (pm.calls.move_pages(page, 1), app),
        (pm.calls.swap_out(page.start), app),
        observe=lambda end: (seen(end, app, page.start), free(end)),
    )
    assert outcomes == {
        ((-16,), True, ("swap", (16, 16))),
        ((-2,), True, ("swap", (16, 16))),
        ((1,), False, ("node 1: 1 mapped, 1 counted, writable", (16, 15))),
        ((1,), True, ("swap", (16, 16))),
    }


def test_s15_explored_a_scan_of_the_list_beside_a_migrator() -> None:
    """S15: M first: the scan reclaims nothing. The scan first: it is gone, -ENOENT; -EBUSY meanwhile."""
    stage = file_page(nodes=SMALL)
    assert stage.machine.reclaim(0, family=pm.PageFamily.FILE) == 0
    stage.machine.drain()
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.area, 1), stage.app),
        (pm.calls.reclaim(0, 1, family=pm.PageFamily.FILE), stage.other),
        observe=lambda end: (seen(end, stage.app, stage.address), free(end)),
    )
    assert outcomes == {
        ((-16,), 1, ("none", (16, 16))),
        ((-2,), 1, ("none", (16, 16))),
        ((1,), 0, ("node 1: 1 mapped, 2 counted, read-only", (16, 15))),
    }


@pytest.mark.parametrize("way", ["munmap", "exit"])
def test_s16_explored_everybody_leaves_the_page(way: str) -> None:
    """S16, S17, S18: the parent copies, the child goes, at any time: the status is the target whenever M had
    isolated the page (-EAGAIN if the parent's fault had a reference in all passes); no frame is lost.

    At most two preemptions.
    """
    stage = shared_page(nodes=SMALL)
    leave = pm.calls.exit() if way == "exit" else pm.calls.munmap(stage.of_child())
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.write(stage.address + 8, b"mine"), stage.parent),
        (leave, stage.child),
        observe=lambda end: (seen(end, stage.parent, stage.address), free(end)),
        preemptions=2,
    )
    assert outcomes == {
        ((-11,), None, None, ("node 0: 1 mapped, 1 counted, writable", (15, 16))),
        ((-16,), None, None, ("node 0: 1 mapped, 1 counted, writable", (15, 16))),
        ((1,), None, None, ("node 0: 1 mapped, 1 counted, writable", (15, 16))),
        ((1,), None, None, ("node 1: 1 mapped, 1 counted, writable", (16, 15))),
    }


def frames(stage: Stage) -> tuple[Any, pm.Task]:
    """M: somebody without memory moves the frame, through nobody's mm, as offlining does."""
    return pm.calls.migrate_frames([stage.old], pm.ToNode(1)), stage.machine.spawn("mover", stack=False)


def status(result: Any) -> Any:
    """Of a move by frames: its one status."""
    return result.statuses.tolist()[0] if isinstance(result, pm.MigrationResult) else result


def test_s17_explored_the_only_mapper_leaves() -> None:
    """S16, S17, S18 of a page that is mapped once: the target; -EBUSY if it was gone before it could be
    isolated; -EAGAIN if T kept it in its batch for ten passes. Both frames are free in the end.
    """
    stage = own_page(nodes=SMALL)
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.exit(), stage.parent),
        observe=lambda end: (len(end.tasks), free(end)),
        result=status,
    )
    assert outcomes == {
        (-11, None, (1, (16, 16))),
        (-16, None, (1, (16, 16))),
        (1, None, (1, (16, 16))),
    }


@pytest.mark.parametrize("profile", list(pm.Profile), ids=lambda profile: profile.name)
def test_s18_explored_the_only_mapper_unmaps(profile: pm.Profile) -> None:
    """S18, Q16: ANONPAGES stays one too high if the entry was met, in EXACT only."""
    stage = shared_page(nodes=SMALL, profile=profile)
    stage.child.exit()
    stage.machine.drain()
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.munmap(stage.heap), stage.parent),
        observe=lambda end: (end.task(stage.parent.pid).counters.anon, free(end)),
        result=status,
    )
    leaked = {(1, None, (1, (16, 16)))} if profile is pm.Profile.EXACT else set()
    assert outcomes == {
        (-11, None, (0, (16, 16))),
        (-16, None, (0, (16, 16))),
        (1, None, (0, (16, 16))),
        *leaked,
    }


def test_s19_explored_one_of_two_mappers_unmaps() -> None:
    """S19, Q16: the other keeps the page, map count 1; T counts one page too many if it met an entry; -EAGAIN
    if T's batch had the page for ten passes.
    """
    stage = shared_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.munmap(stage.of_child()), stage.child),
        observe=lambda end: (
            seen(end, stage.parent, stage.address),
            end.task(stage.child.pid).counters.anon,
            free(end),
        ),
    )
    assert outcomes == {
        ((-11,), None, ("node 0: 1 mapped, 1 counted, read-only", 0, (15, 16))),
        ((1,), None, ("node 1: 1 mapped, 1 counted, read-only", 0, (16, 15))),
        ((1,), None, ("node 1: 1 mapped, 1 counted, read-only", 1, (16, 15))),
    }
