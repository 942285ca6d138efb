"""S01 to S12 and S43 in every order of their calls: what can come of them, and nothing else.

M is the migrator, T the other. Status 1 is the target node; -11, EAGAIN, is what is left when T had its
reference, or the lock, in each of ten passes. Fine mode throughout: T runs inside M's critical sections, too.
"""

from __future__ import annotations

from typing import Any

import pagemig as pm
from tests.races.scenarios.exploring import explored, free, seen
from tests.races.scenarios.stages import file_page
from tests.races.stage import SHARED, Stage, own_page, shared_page

SMALL = (16, 16)


def node_of(result: Any) -> Any:
    """The node of a frame that a call returned, on a machine of nodes of 16 frames; else what it is."""
    return result // 16 if isinstance(result, int) else result


def move(stage: Stage) -> tuple[Any, pm.Task]:
    """M: the parent moves its page to node 1, shared or not."""
    return pm.calls.move_pages(stage.heap, 1, scope=SHARED), stage.parent


def test_s01_explored_a_look_up_that_keeps_its_reference() -> None:
    """S01, S02: T has the old page, and M no way past it; or T finds the new page, and M does not notice."""
    stage = file_page(nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.area, 1), stage.app),
        (pm.calls.lookup(stage.file, 0), stage.other),
        observe=lambda end: (seen(end, stage.app, stage.address), free(end)),
        result=node_of,
    )
    assert outcomes == {
        ((-11,), 0, ("node 0: 1 mapped, 3 counted, read-only", (15, 16))),
        ((1,), 1, ("node 1: 1 mapped, 3 counted, read-only", (16, 15))),
    }


def test_s02_explored_a_reader_with_a_passing_reference() -> None:
    """S01, S02: M fails only if T has its reference in all ten passes, and T drops it in the end."""
    stage = file_page(nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.area, 1), stage.app),
        (pm.calls.read_file(stage.file, 0, 2), stage.other),
        observe=lambda end: (seen(end, stage.app, stage.address), free(end)),
    )
    assert outcomes == {
        ((-11,), b"\x00\x00", ("node 0: 1 mapped, 2 counted, read-only", (15, 16))),
        ((1,), b"\x00\x00", ("node 1: 1 mapped, 2 counted, read-only", (16, 15))),
    }


def test_s03_explored_two_look_ups_around_the_freeze() -> None:
    """S03, S04: two at once; each finds the old page, and then M is stuck, or the new one; not a third.

    At most three preemptions.
    """
    stage = file_page(nodes=SMALL)
    third = stage.machine.spawn("third", stack=False)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.area, 1), stage.app),
        (pm.calls.lookup(stage.file, 0), stage.other),
        (pm.calls.lookup(stage.file, 0), third),
        observe=lambda end: (seen(end, stage.app, stage.address), free(end)),
        result=node_of,
        preemptions=3,
    )
    assert outcomes == {
        ((-11,), 0, 0, ("node 0: 1 mapped, 4 counted, read-only", (15, 16))),
        ((1,), 1, 1, ("node 1: 1 mapped, 4 counted, read-only", (16, 15))),
    }


def test_s04_explored_a_late_drop_and_somebody_who_wants_the_frame() -> None:
    """S04: a drain and an allocation beside M and T: whoever wins, no frame is used twice or lost.

    At most two preemptions.
    """
    stage = file_page(nodes=SMALL)
    third = stage.machine.spawn("third", stack=False)
    heap = third.mmap(pm.PAGE_SIZE)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.area, 1), stage.app),
        (pm.calls.lookup(stage.file, 0), stage.other),
        (pm.calls.write(heap.start, b"mine"), third),
        (pm.calls.drain(), third),
        observe=lambda end: (
            seen(end, stage.app, stage.address),
            end.task(third.pid).read(heap.start, 4),
            free(end),
        ),
        result=node_of,
        preemptions=2,
    )
    assert outcomes == {
        ((-11,), 0, None, None, ("node 0: 1 mapped, 3 counted, read-only", b"mine", (14, 16))),
        ((1,), 1, None, None, ("node 1: 1 mapped, 3 counted, read-only", b"mine", (15, 15))),
    }


def test_s05_explored_a_load_of_an_anonymous_page() -> None:
    """S05, S08: T waits for M before or after the count test; its byte is always the page's."""
    stage = own_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.read(stage.address, 4), stage.parent),
        observe=lambda end: (seen(end, stage.parent, stage.address), free(end)),
    )
    assert outcomes == {
        ((-11,), b"page", ("node 0: 1 mapped, 1 counted, writable", (15, 16))),
        ((1,), b"page", ("node 1: 1 mapped, 1 counted, writable", (16, 15))),
    }


def test_s06_explored_a_fault_of_a_cached_page_during_the_freeze() -> None:
    """S06, S07: T goes round while the count reads 0. T is a pin: it counts none of its rounds, so that going
    round comes back to an equal state.
    """
    stage = file_page(nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.area, 1), stage.app),
        (pm.calls.pin(stage.address), stage.app),
        observe=lambda end: (seen(end, stage.app, stage.address), free(end)),
        result=node_of,
    )
    assert outcomes == {
        ((-11,), 0, ("node 0: 1 mapped, 3 counted, read-only", (15, 16))),
        ((1,), 1, ("node 1: 1 mapped, 3 counted, read-only", (16, 15))),
    }


def test_s07_explored_two_faults_of_a_cached_page() -> None:
    """S07: both sleep on the old page, or get the new one; the last drop frees the old frame.

    At most three preemptions.
    """
    stage = file_page(nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.area, 1), stage.app),
        (pm.calls.pin(stage.address), stage.app),
        (pm.calls.drain(), stage.other),
        observe=lambda end: (seen(end, stage.app, stage.address), free(end)),
        result=node_of,
        preemptions=3,
    )
    assert outcomes == {
        ((-11,), 0, None, ("node 0: 1 mapped, 3 counted, read-only", (15, 16))),
        ((1,), 1, None, ("node 1: 1 mapped, 3 counted, read-only", (16, 15))),
    }


def test_s08_explored_two_loads_of_an_anonymous_page() -> None:
    """S08: two sharers load; both see the page's bytes, and both map what M left.

    At most two preemptions.
    """
    stage = shared_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.read(stage.address, 4), stage.parent),
        (pm.calls.read(stage.address, 4), stage.child),
        observe=lambda end: (
            seen(end, stage.parent, stage.address),
            seen(end, stage.child, stage.address),
            free(end),
        ),
        preemptions=2,
    )
    assert outcomes == {
        (
            (-11,),
            b"page",
            b"page",
            ("node 0: 2 mapped, 2 counted, read-only", "node 0: 2 mapped, 2 counted, read-only", (15, 16)),
        ),
        (
            (1,),
            b"page",
            b"page",
            ("node 1: 2 mapped, 2 counted, read-only", "node 1: 2 mapped, 2 counted, read-only", (16, 15)),
        ),
    }


def test_s09_explored_a_store_to_a_shared_page_and_a_sharer_that_leaves() -> None:
    """S09: T copies or takes the page over, as the map count says, never because of M's reference. A copy
    stays on node 0, and M moved what the child then left behind; -16: M met the copy in its pagevec (Q07).

    At most two preemptions.
    """
    stage = shared_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.write(stage.address, b"PAGE"), stage.parent),
        (pm.calls.exit(), stage.child),
        observe=lambda end: (seen(end, stage.parent, stage.address), free(end)),
        preemptions=2,
    )
    assert outcomes == {
        ((-11,), None, None, ("node 0: 1 mapped, 1 counted, writable", (15, 16))),
        ((-16,), None, None, ("node 0: 1 mapped, 1 counted, writable", (15, 16))),
        ((1,), None, None, ("node 0: 1 mapped, 1 counted, writable", (15, 16))),
        ((1,), None, None, ("node 1: 1 mapped, 1 counted, writable", (16, 15))),
    }


def test_s10_explored_a_store_to_a_page_that_is_mapped_once() -> None:
    """S10, I-111: the store is there whenever it was made, and nothing of the page is lost."""
    stage = own_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.write(stage.address, b"PA"), stage.parent),
        observe=lambda end: (
            seen(end, stage.parent, stage.address),
            end.task(stage.parent.pid).read(stage.address, 4),
            free(end),
        ),
    )
    assert outcomes == {
        ((-11,), None, ("node 0: 1 mapped, 1 counted, writable", b"PAge", (15, 16))),
        ((1,), None, ("node 1: 1 mapped, 1 counted, writable", b"PAge", (16, 15))),
    }


def test_s11_explored_a_store_that_copies_the_page() -> None:
    """S11, S12: T owns the page lock, or queues for it: it copies in the end, and M moves what is left.

    At most three preemptions.
    """
    stage = shared_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.write(stage.address, b"PAGE"), stage.child),
        observe=lambda end: (
            seen(end, stage.parent, stage.address),
            seen(end, stage.child, stage.address),
            free(end),
        ),
        preemptions=3,
    )
    assert outcomes == {
        (
            (-11,),
            None,
            ("node 0: 1 mapped, 1 counted, read-only", "node 0: 1 mapped, 1 counted, writable", (14, 16)),
        ),
        (
            (1,),
            None,
            ("node 1: 1 mapped, 1 counted, read-only", "node 0: 1 mapped, 1 counted, writable", (15, 15)),
        ),
    }


def test_s12_explored_two_stores_that_queue_for_the_page() -> None:
    """S12: both sharers store: one copies and the last takes the page over; or both copy, and it is freed
    (M: S16, S17). -16: M met the copy, which waits in a pagevec (Q07).

    At most two preemptions.
    """
    stage = shared_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.write(stage.address, b"CHILD"), stage.child),
        (pm.calls.write(stage.address, b"PARENT"), stage.parent),
        observe=lambda end: (
            seen(end, stage.parent, stage.address),
            seen(end, stage.child, stage.address),
            end.task(stage.parent.pid).read(stage.address, 6),
            free(end),
        ),
        preemptions=2,
    )
    on_0, on_1 = (f"node {node}: 1 mapped, 1 counted, writable" for node in (0, 1))
    assert outcomes == {
        (status, None, None, (parent, child, b"PARENT", left))
        for status, parent, child, left in (
            ((-11,), on_0, on_0, (14, 16)),
            ((-16,), on_0, on_0, (14, 16)),
            ((1,), on_0, on_0, (14, 16)),
            ((1,), on_0, on_1, (15, 15)),
            ((1,), on_1, on_0, (15, 15)),
        )
    }


def test_s43_explored_a_pin_of_an_anonymous_page() -> None:
    """S43: the page that is pinned is the page that is mapped: the old one, which stays, or the new one."""
    stage = own_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.pin(stage.address), stage.parent),
        observe=lambda end: (seen(end, stage.parent, stage.address), free(end)),
        result=node_of,
    )
    assert outcomes == {
        ((-11,), 0, ("node 0: 1 mapped, 2 counted, writable", (15, 16))),
        ((1,), 1, ("node 1: 1 mapped, 2 counted, writable", (16, 15))),
    }
