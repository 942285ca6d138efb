"""S20 to S22, S34, S45, S47 and S48 in every order of their calls: address spaces that change under M.

M moves the frame through nobody's mm, as memory offlining does, where the mm must not be locked.
"""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm
from tests.races.scenarios.exploring import explored, free, seen
from tests.races.scenarios.stages import Playground
from tests.races.stage import SHARED, Stage, own_page, shared_page

SMALL = (16, 16)
HERE, THERE = 0x400000, 0x800000
EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED


def frames(stage: Stage) -> tuple[Any, pm.Task]:
    """M: somebody without memory moves the frame."""
    return pm.calls.migrate_frames([stage.old], pm.ToNode(1)), stage.machine.spawn("mover", stack=False)


def plainly(result: Any) -> Any:
    """Of a move by frames its one status; of a fork nothing."""
    return result.statuses.tolist()[0] if isinstance(result, pm.MigrationResult) else result


def every_task(machine: pm.Machine, address: int) -> tuple[str, ...]:
    """A page of everybody, in the order of their pids."""
    return tuple(seen(machine, task, address) for task in machine.tasks if task.regions)


@pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])
def test_s20_explored_a_fork_of_the_only_mapper(profile: pm.Profile) -> None:
    """S20, Q16: both map one page read-only, on one node; the child's counter misses an entry, in EXACT."""
    stage = shared_page(nodes=SMALL, profile=profile)
    stage.child.exit()
    stage.machine.drain()
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.fork("grandchild"), stage.parent),
        observe=lambda end: (
            every_task(end, stage.address),
            tuple(task.counters.anon for task in end.tasks if task.regions),
            free(end),
        ),
        result=plainly,
    )
    both = ("node 1: 2 mapped, 2 counted, read-only",) * 2
    copied_entry = {(1, 4, (both, (1, 0), (16, 15)))} if profile is EXACT else set()
    assert outcomes == {(1, 4, (both, (1, 1), (16, 15))), *copied_entry}


def test_s21_explored_a_fork_of_a_sharer_during_the_walk() -> None:
    """S21: three mappers in the end, whatever the fork copied, and all of one page."""
    stage = shared_page(nodes=SMALL)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.heap, 1, scope=SHARED), stage.parent),
        (pm.calls.fork("grandchild"), stage.child),
        observe=lambda end: (every_task(end, stage.address), free(end)),
    )
    assert outcomes == {
        (
            (1,),
            3,
            (
                (
                    "node 1: 3 mapped, 3 counted, read-only",
                    "node 1: 3 mapped, 3 counted, read-only",
                    "node 1: 3 mapped, 3 counted, read-only",
                ),
                (16, 15),
            ),
        ),
    }


def stored(machine: pm.Machine, task: pm.Task, page: pm.Region) -> str:
    """What a store to a page does in the end: refused, or made in the same page, or in another."""
    owner = machine.task(task.pid)
    before = owner.entry_at(page.start).pfn
    made = owner.access([page.start], [True])
    if made.sigsegv.size:
        return "refused"
    return "made there" if owner.entry_at(page.start).pfn == before else "made in a copy"


def test_s22_explored_mprotect_there_and_back() -> None:
    """S22, Q27: whether mprotect met the PTE or the entry: read-only on the target; if the last protection
    allows it, the next store faults and reuses the page, and else it is refused.
    """
    stage = own_page(nodes=SMALL)
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.mprotect(stage.heap, pm.R), stage.parent),
        (pm.calls.mprotect(stage.heap, pm.RW), stage.parent),
        observe=lambda end: (
            seen(end, stage.parent, stage.address),
            stored(end, stage.parent, stage.heap),
            free(end),
        ),
        result=plainly,
    )
    assert outcomes == {
        (1, None, None, ("node 1: 1 mapped, 1 counted, read-only", "made there", (16, 15))),
        (1, None, None, ("node 1: 1 mapped, 1 counted, read-only", "refused", (16, 15))),
    }


def remapping(profile: pm.Profile, *, merges: bool) -> tuple[pm.Machine, list[Any], pm.Task]:
    """A page on its way while its area moves: to a new place, or back into an area before it on its list."""
    machine = pm.Machine(
        nodes=[frames * pm.PAGE_SIZE for frames in SMALL], cpus=1, contents=True, profile=profile
    )
    app, mover = (machine.spawn(name, stack=False) for name in ("app", "mover"))
    if merges:
        pair = app.mmap(2 * pm.PAGE_SIZE, at=HERE)
        for page in pair:
            app.write(page.start, b"bytes")
        page, to, old = app.mremap(pair[1], to=THERE), HERE + pm.PAGE_SIZE, 1
    else:
        page, to, old = app.mmap(pm.PAGE_SIZE, at=HERE), THERE, 0
        app.write(page.start, b"bytes")
    machine.drain()
    what = pm.calls.migrate_frames([old], pm.ToNode(1))
    return machine, [(what, mover), (pm.calls.mremap(page, to=to), app)], app


@pytest.mark.parametrize("merges", [False, True], ids=["plain", "into an earlier area"])
def test_s34_explored_in_exact_a_mapping_that_moves_can_strand_an_entry(merges: bool) -> None:
    """S34, Q21: the defect is found, in a few steps, and nothing else: an entry that survives M (I-20)."""
    machine, racers, app = remapping(EXACT, merges=merges)
    verdict = pm.explore(machine, racers)
    assert verdict.complete
    (finding,) = verdict.findings
    assert (finding.kind, finding.rule) == (pm.ViolationKind.INVARIANT, "migration_entries_have_a_migrator")
    assert "I-20" in finding.ids
    stranded = finding.replay().machine
    stranded.run()
    entries = [stranded.task(app.pid).entry_at(at) for at in (HERE + pm.PAGE_SIZE, THERE)]
    (entry,) = [entry for entry in entries if entry.kind is pm.EntryKind.MIGRATION]
    assert pm.PageFlags.LOCKED not in stranded.frame(entry.pfn).flags
    assert stranded.audit() != []


@pytest.mark.parametrize("merges", [False, True], ids=["plain", "into an earlier area"])
def test_s34_explored_in_repaired_nothing_is_stranded(merges: bool) -> None:
    """S34, Q21 off: the page is where its area went, on the target or, after ten attempts, where it was."""
    machine, racers, app = remapping(REPAIRED, merges=merges)
    to = HERE + pm.PAGE_SIZE if merges else THERE
    outcomes = explored(
        Playground(machine),
        *racers,
        observe=lambda end: (seen(end, app, to), end.task(app.pid).read(to, 5), free(end)),
        result=lambda result: (
            plainly(result) if isinstance(result, pm.MigrationResult) else result.start == to
        ),
    )
    left = (15, 15) if merges else (16, 15)
    assert outcomes == {(1, True, ("node 1: 1 mapped, 1 counted, writable", b"bytes", left))}


def test_s45_explored_an_mbind_with_a_sibling_and_another_process() -> None:
    """S45: the sibling never costs M an attempt; the other process may, and then M leaves the page.

    At most two preemptions.
    """
    stage = shared_page(nodes=SMALL)
    policy = pm.Policy(pm.PolicyMode.BIND, [1])
    outcomes = explored(
        stage,
        (pm.calls.mbind(stage.heap, policy, flags=pm.MbindFlags.MOVE_ALL), stage.parent),
        (pm.calls.read(stage.address, 4), stage.parent),
        (pm.calls.read(stage.address, 4), stage.child),
        observe=lambda end: (every_task(end, stage.address), free(end)),
        preemptions=2,
    )
    assert outcomes == {
        (
            None,
            b"page",
            b"page",
            (("node 0: 2 mapped, 2 counted, read-only", "node 0: 2 mapped, 2 counted, read-only"), (15, 16)),
        ),
        (
            None,
            b"page",
            b"page",
            (("node 1: 2 mapped, 2 counted, read-only", "node 1: 2 mapped, 2 counted, read-only"), (16, 15)),
        ),
    }


def test_s45_explored_an_mbind_with_a_sibling_alone() -> None:
    """S45: a sibling blocks before it can see an entry, so that M succeeds in every order."""
    stage = own_page(nodes=SMALL)
    policy = pm.Policy(pm.PolicyMode.BIND, [1])
    outcomes = explored(
        stage,
        (pm.calls.mbind(stage.heap, policy, flags=pm.MbindFlags.MOVE), stage.parent),
        (pm.calls.read(stage.address, 4), stage.parent),
        observe=lambda end: (every_task(end, stage.address), free(end)),
    )
    assert outcomes == {
        (None, b"page", (("node 1: 1 mapped, 1 counted, writable",), (16, 15))),
    }


def test_s47_explored_a_target_that_exits() -> None:
    """S47: M has its reference to the mm from the start: always the target; all frames come back."""
    stage = own_page(nodes=SMALL)
    operator = stage.machine.spawn("operator", stack=False)
    outcomes = explored(
        stage,
        (pm.calls.move_pages(stage.heap, 1, target=stage.parent), operator),
        (pm.calls.exit(), stage.parent),
        observe=lambda end: (len(end.tasks), free(end)),
    )
    assert outcomes == {
        ((1,), None, (1, (16, 16))),
    }


def test_s48_explored_a_signal_that_is_pending_changes_nothing() -> None:
    """S48: with it and without it M and a store to the page come to the same, in the same number of ways."""
    verdicts = []
    for pending in (False, True):
        stage = own_page(nodes=SMALL)
        stage.parent.signal(pending=pending)
        calls = [
            (pm.calls.move_pages(stage.heap, 1), stage.parent),
            (pm.calls.pin(stage.address), stage.parent),
        ]
        verdict = pm.explore(stage.machine, calls)
        assert verdict.complete and not verdict.findings
        verdicts.append((verdict.schedules, {(one.results, one.count) for one in verdict.outcomes}))
    assert verdicts[0] == verdicts[1]
    assert {results[0] for results, _ in verdicts[0][1]} == {(1,), (-11,)}
