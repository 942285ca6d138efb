"""S37 and S38 in every order of their calls: memory that is locked and unlocked while its page moves."""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm
from tests.races.scenarios.exploring import explored, free
from tests.races.stage import SHARED, Stage, own_page, shared_page

SMALL = (16, 16)
F = pm.PageFlags


def status(result: Any) -> Any:
    """Of a move by frames its one status."""
    return result.statuses.tolist()[0] if isinstance(result, pm.MigrationResult) else result


def frames(stage: Stage) -> tuple[Any, pm.Task]:
    """M: somebody without memory moves the frame, through nobody's mm."""
    return pm.calls.migrate_frames([stage.old], pm.ToNode(1)), stage.machine.spawn("mover", stack=False)


def lock_of(machine: pm.Machine, task: pm.Task, address: int) -> str:
    """Where a page is, whether it is locked in memory, and on which kind of list."""
    page = machine.task(task.pid).page_at(address)
    assert page is not None
    locked = "locked" if F.MLOCKED in page.flags else "free"
    return f"node {page.node}: {locked}, {'un' if F.UNEVICTABLE in page.flags else ''}evictable"


@pytest.mark.parametrize("cpu", [0, 1], ids=["on M's CPU", "on another"])
def test_s37_explored_mlock_beside_a_migrator(cpu: int) -> None:
    """S37: PG_mlocked is on the page that is mapped in the end; it is on the unevictable list, or, if it
    waited in a pagevec when it was marked, on an evictable one. NR_MLOCK is 1.
    """
    stage = own_page(nodes=SMALL)
    stage.parent.cpu = cpu
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.mlock(stage.heap), stage.parent),
        observe=lambda end: (
            lock_of(end, stage.parent, stage.address),
            end.vmstat()["nr_mlock"],
            free(end),
        ),
        result=status,
    )
    assert outcomes == {
        (-11, None, ("node 0: locked, evictable", 1, (15, 16))),
        (-11, None, ("node 0: locked, unevictable", 1, (15, 16))),
        (1, None, ("node 1: locked, evictable", 1, (16, 15))),
        (1, None, ("node 1: locked, unevictable", 1, (16, 15))),
    }


def locked_page() -> Stage:
    """A page that the parent has locked in memory and then shared with a child."""
    stage = shared_page(nodes=SMALL)
    stage.child.exit()
    stage.parent.mlock(stage.heap)
    stage.parent.touch(stage.heap)
    child = stage.parent.fork("second")
    stage.machine.drain()
    return Stage(stage.machine, stage.parent, child, stage.heap, stage.frame(stage.parent).pfn)


@pytest.mark.parametrize("way", ["munlock", "munmap"])
def test_s38_explored_munlock_beside_a_migrator(way: str) -> None:
    """S38: T finds the page and unlocks it, on either node (M: -EBUSY, -EAGAIN while T has it in its hands);
    or it meets the entry, and the page stays locked and unevictable for nobody: legal. NR_MLOCK says which.
    """
    stage = locked_page()
    unlock = pm.calls.munlock(stage.heap) if way == "munlock" else pm.calls.munmap(stage.heap)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.of_child(), 1, scope=SHARED), stage.child),
        (unlock, stage.parent),
        observe=lambda end: (
            lock_of(end, stage.child, stage.address),
            end.vmstat()["nr_mlock"],
            free(end),
        ),
    )
    assert outcomes == {
        ((-11,), None, ("node 0: free, evictable", 0, (15, 16))),
        ((-16,), None, ("node 0: free, evictable", 0, (15, 16))),
        ((1,), None, ("node 1: free, evictable", 0, (16, 15))),
        ((1,), None, ("node 1: locked, unevictable", 1, (16, 15))),
    }
