"""S28 to S30 in every order of their calls: pages of the swap cache, wanted and unwanted, that M moves."""

from __future__ import annotations

from typing import Any

import pagemig as pm
from tests.races.scenarios.exploring import explored, free, seen
from tests.races.scenarios.stages import Playground, SwapStage, swap_cache_page, swap_machine

SMALL = (16, 16)


def status(result: Any) -> Any:
    """Of a move by frames its one status; of an access the bytes."""
    return result.statuses.tolist()[0] if isinstance(result, pm.MigrationResult) else result


def frames(stage: SwapStage) -> tuple[Any, pm.Task]:
    """M: the frame is moved through nobody's mm."""
    return pm.calls.migrate_frames([stage.old], pm.ToNode(1)), stage.other


def slots(machine: pm.Machine) -> tuple[int, int]:
    """Free slots of swap, and pages in the swap cache."""
    return machine.swap.free, machine.swap.cached


def swapped_pair() -> tuple[pm.Machine, pm.Task, pm.Task, pm.Region]:
    """Two pages in swap, the second of which says ``ahead``."""
    machine, app, other = swap_machine(nodes=SMALL, slots=4)
    pair = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(pair)
    app.write(pair[1].start, b"ahead")
    machine.drain()
    assert app.swap_out(pair) == 2
    return machine, app, other, pair


def test_s28_explored_a_page_while_it_is_being_read_ahead() -> None:
    """S28: locked by the disk, which answers at any time, in a call of its own; the fault that had it read
    does not care; M waits, and moves the page, which has its bytes.
    """
    machine, app, other, pair = swapped_pair()
    fault = machine.start(pm.calls.touch(pair[0], write=False), by=app)
    while fault.step():
        machine.check()
    assert fault.waiting_for is not None
    (old,) = {transfer.pfn for transfer in machine.pending_io} - {fault.waiting_for.number}
    outcomes = explored(
        Playground(machine),
        (pm.calls.migrate_frames([old], pm.ToNode(1)), other),
        fault,
        (pm.calls.complete_io(), other),
        observe=lambda end: (end.task(app.pid).read(pair[1].start, 5), slots(end), free(end)),
        result=lambda result: None if isinstance(result, pm.AccessResult) else status(result),
    )
    assert outcomes == {
        (1, None, True, (b"ahead", (2, 2), (15, 15))),
    }


def test_s28_explored_a_page_that_was_read_ahead_and_a_faulter() -> None:
    """S28: a faulter finds it before M, or after; bytes and slot are there either way. It is left in swap if
    M came last, for it was mapped then (Q12).

    At most three preemptions.
    """
    machine, app, other, pair = swapped_pair()
    app.touch(pair[0], write=False)
    machine.drain()
    while machine.complete_io():
        machine.check()
    (old,) = [pfn for pfn in range(16) if machine.frame(pfn).private == 2]
    outcomes = explored(
        Playground(machine),
        (pm.calls.migrate_frames([old], pm.ToNode(1)), other),
        (pm.calls.read(pair[1].start, 5), app),
        observe=lambda end: (seen(end, app, pair[1].start), slots(end), free(end)),
        result=status,
        preemptions=3,
    )
    assert outcomes == {
        (-11, b"ahead", ("node 0: 1 mapped, 2 counted, read-only", (2, 2), (14, 16))),
        (1, b"ahead", ("node 1: 1 mapped, 2 counted, read-only", (2, 2), (15, 15))),
        (1, b"ahead", ("swap", (2, 2), (15, 15))),
    }


def test_s29_explored_a_load_of_a_swap_cache_page() -> None:
    """S29, Q12: T maps the page before or after; M unmaps it to its slot; no load ever misses its bytes."""
    stage = swap_cache_page(nodes=SMALL)
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.read(stage.address, 4), stage.app),
        observe=lambda end: (seen(end, stage.app, stage.address), slots(end), free(end)),
        result=status,
    )
    assert outcomes == {
        (-11, b"page", ("node 0: 1 mapped, 2 counted, read-only", (15, 1), (15, 16))),
        (1, b"page", ("node 1: 1 mapped, 2 counted, read-only", (15, 1), (16, 15))),
        (1, b"page", ("swap", (15, 1), (16, 15))),
    }


def test_s29_explored_a_store_to_a_swap_cache_page() -> None:
    """S29: a store takes the page out of the swap cache (reuse), or finds the new one there."""
    stage = swap_cache_page(nodes=SMALL)
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.write(stage.address, b"PA"), stage.app),
        observe=lambda end: (
            end.task(stage.app.pid).read(stage.address, 4),
            slots(end),
            free(end),
        ),
        result=status,
    )
    assert outcomes == {
        (-11, None, (b"PAge", (16, 0), (15, 16))),
        (1, None, (b"PAge", (16, 0), (16, 15))),
    }


def test_s30_explored_the_last_mapper_of_a_swap_cache_page_unmaps_it() -> None:
    """S30: try-locks that fail leave the page in the swap cache with no user, on either node; else it is
    freed; a passing reference may cost M all of its passes; -EBUSY if the page was gone.
    """
    stage = swap_cache_page(nodes=SMALL)
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.munmap(stage.page), stage.app),
        observe=lambda end: (slots(end), free(end)),
        result=status,
    )
    assert outcomes == {
        (-11, None, ((15, 1), (15, 16))),
        (-11, None, ((16, 0), (16, 16))),
        (-16, None, ((16, 0), (16, 16))),
        (1, None, ((15, 1), (16, 15))),
        (1, None, ((16, 0), (16, 16))),
    }
