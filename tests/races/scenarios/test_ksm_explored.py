"""S35 and S36 in every order of their calls: KSM and a migrator want the same page."""

from __future__ import annotations

from typing import Any

import pagemig as pm
from tests.races.scenarios.exploring import explored, free, seen
from tests.races.scenarios.test_ksm import Merging, equal_pages

SMALL = (16, 16)


def status(result: Any) -> Any:
    """Of a move by frames its one status; of a scan how many it merged."""
    return result.statuses.tolist()[0] if isinstance(result, pm.MigrationResult) else result


def frames(stage: Merging, *, offlining: bool) -> tuple[Any, pm.Task]:
    """M: frame 1 is moved through nobody's mm."""
    return pm.calls.migrate_frames([1], pm.ToNode(1), offlining=offlining), stage.app


def both(machine: pm.Machine, stage: Merging) -> tuple[str, ...]:
    """The two pages, and what they say."""
    task = machine.task(stage.app.pid)
    assert [task.read(page.start, 4) for page in stage.pair] == [b"same"] * 2
    return tuple(seen(machine, stage.app, page.start) for page in stage.pair)


def test_s35_explored_a_scan_beside_a_migrator_of_a_read_only_page() -> None:
    """S35: KSM first: -EBUSY (-16), the merged page stays; M first: it moves, and the scan may merge it
    there; -EAGAIN if the scan's reference was there in all passes.

    At most two preemptions.
    """
    stage = equal_pages(nodes=SMALL)
    stage.app.mprotect(stage.pair, pm.R)
    outcomes = explored(
        stage,
        frames(stage, offlining=False),
        (pm.calls.ksm_scan(), stage.other),
        observe=lambda end: (both(end, stage), free(end)),
        result=status,
        preemptions=2,
    )
    assert outcomes == {
        (
            -11,
            0,
            (("node 0: 1 mapped, 1 counted, read-only", "node 0: 1 mapped, 1 counted, read-only"), (14, 16)),
        ),
        (
            -11,
            1,
            (("node 0: 2 mapped, 2 counted, read-only", "node 0: 2 mapped, 2 counted, read-only"), (15, 16)),
        ),
        (
            -16,
            1,
            (("node 0: 2 mapped, 2 counted, read-only", "node 0: 2 mapped, 2 counted, read-only"), (15, 16)),
        ),
        (
            1,
            0,
            (("node 0: 1 mapped, 1 counted, read-only", "node 1: 1 mapped, 1 counted, read-only"), (15, 15)),
        ),
        (
            1,
            1,
            (("node 1: 2 mapped, 2 counted, read-only", "node 1: 2 mapped, 2 counted, read-only"), (16, 15)),
        ),
    }


def test_s35_explored_a_scan_beside_a_migrator_of_a_writable_page() -> None:
    """S35: a page in M's hands cannot be upgraded, and so M is refused only if the scan was there before.

    At most two preemptions.
    """
    stage = equal_pages(nodes=SMALL)
    outcomes = explored(
        stage,
        frames(stage, offlining=False),
        (pm.calls.ksm_scan(), stage.other),
        observe=lambda end: (both(end, stage), free(end)),
        result=status,
        preemptions=2,
    )
    assert outcomes == {
        (
            -11,
            0,
            (("node 0: 1 mapped, 1 counted, writable", "node 0: 1 mapped, 1 counted, writable"), (14, 16)),
        ),
        (
            -16,
            1,
            (("node 0: 2 mapped, 2 counted, read-only", "node 0: 2 mapped, 2 counted, read-only"), (15, 16)),
        ),
        (
            1,
            0,
            (("node 0: 1 mapped, 1 counted, writable", "node 1: 1 mapped, 1 counted, writable"), (15, 15)),
        ),
    }


def test_s36_explored_offlining_of_a_merged_page_and_a_load() -> None:
    """S36: a load waits for M or costs it its passes; both places always have one page."""
    stage = equal_pages(merged=True, nodes=SMALL)
    outcomes = explored(
        stage,
        frames(stage, offlining=True),
        (pm.calls.pin(stage.pair.start), stage.app),
        observe=lambda end: (both(end, stage), len(end.ksm.nodes), free(end)),
        result=lambda result: result // 16 if isinstance(result, int) else status(result),
    )
    assert outcomes == {
        (
            -11,
            0,
            (
                ("node 0: 2 mapped, 3 counted, read-only", "node 0: 2 mapped, 3 counted, read-only"),
                1,
                (15, 16),
            ),
        ),
        (
            1,
            1,
            (
                ("node 1: 2 mapped, 3 counted, read-only", "node 1: 2 mapped, 3 counted, read-only"),
                1,
                (16, 15),
            ),
        ),
    }


def test_s36_explored_offlining_of_a_merged_page_and_a_scan_that_is_kept_out() -> None:
    """S36: the offliner holds the mutex, so that the scan is before or after, and the node is never stale.

    At most three preemptions.
    """
    stage = equal_pages(merged=True, nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.offline(0, 16), stage.other),
        (pm.calls.ksm_scan(), stage.app),
        observe=lambda end: (both(end, stage), len(end.ksm.nodes), free(end)),
        preemptions=3,
    )
    assert outcomes == {
        (
            None,
            0,
            (
                ("node 1: 2 mapped, 2 counted, read-only", "node 1: 2 mapped, 2 counted, read-only"),
                1,
                (0, 15),
            ),
        ),
    }
