"""The yield points Y01 to Y21 of concurrency 2: where a migration stops, and what it holds there.

Start with :data:`POINTS`, the table of the specification in the machine's own words. At every
point that is one, others run: a store, a look-up without a lock, a fork.

Neighbours: ``crowd``, in which coarse calls are watched for spinlocks. Y02 has no stop of its own: inside
UM-1 others could run only if the allocation reclaimed, which ``new_page_node`` does not do here.

Source: concurrency 1 and 2, invariants I-32 to I-35.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

import pagemig as pm
from pagemig import PAGE_SIZE
from tests.races.crowd import Crowd

SPINLOCKS = {"anon_vma_lock", "i_mmap_lock", "leaf_lock", "tree_lock"}
SEM, PAGE = "mmap_sem", "page_lock"


@dataclass(frozen=True)
class Scene:
    """A machine with a page in question and the call that migrates it, not yet run."""

    machine: pm.Machine
    mover: pm.Call
    heap: pm.Region
    other: pm.Task
    file: pm.File | None

    def held(self, machine: pm.Machine) -> list[str]:
        """What the mover holds, outermost first; a lock once for each that it has."""
        return [lock.lock for lock in machine.locks if self.mover.number in lock.holders]


def scene(kind: pm.FileSystem | None, how: pm.Granularity, *, pages: int = 2) -> Scene:
    """Two tasks that share pages of a file, or by a fork, and a mover of all of them."""
    machine = pm.Machine(nodes=[64 * PAGE_SIZE] * 2, contents=True)
    app = machine.spawn("app", stack=False)
    if kind is None:
        file, heap = None, app.mmap(pages * PAGE_SIZE)
        app.touch(heap)
        other = app.fork("other")
    else:
        file = machine.create_file("data", pages * PAGE_SIZE, filesystem=kind)
        other = machine.spawn("other", stack=False)
        heap = app.mmap(pages * PAGE_SIZE, file=file, shared=True)
        other.mmap(pages * PAGE_SIZE, at=heap.start, file=file, shared=True)
        app.touch(heap)
        other.touch(other.same(heap), write=False)
    machine.drain()
    move = pm.calls.move_pages(heap, 1, scope=pm.MoveScope.SHARED)
    return Scene(machine, machine.start(move, by=app, granularity=how), heap, other, file)


def stops(at: Scene, *, until: Callable[[Scene], bool] = lambda _: False) -> Iterable[tuple[str, ...]]:
    """Step the mover alone, audited, and give the labels of what comes next at every stop."""
    while not at.mover.done and at.mover.waiting_for is None:
        yield at.mover.labels
        if until(at):
            return
        at.mover.step()
        at.machine.check()


ANON, EXT, BLOCK = None, pm.filesystems.EXT, pm.filesystems.BLOCKDEV
BOTH = (ANON, EXT)

POINTS = {
    # point: (kinds of page, the next step, what is held)
    "Y01": (BOTH, "UM-1", [SEM]),
    "Y03": (BOTH, "UM-3", [SEM]),
    "Y05": (BOTH, "UM-4", [SEM, PAGE]),
    "Y07 anonymous": ((ANON,), "UM-9", [SEM, PAGE, "anon_vma_lock"]),
    "Y07 file": ((EXT,), "UM-9", [SEM, PAGE, "i_mmap_lock"]),
    "Y08 anonymous": ((ANON,), "UM-9", [SEM, PAGE, "anon_vma_lock", "leaf_lock"]),
    "Y08 file": ((EXT,), "UM-9", [SEM, PAGE, "i_mmap_lock", "leaf_lock"]),
    "Y09": (BOTH, "UM-10", [SEM, PAGE]),
    "Y10": ((EXT,), "MM-6", [SEM, PAGE, PAGE, "tree_lock"]),
    "Y11": ((EXT,), "MM-9", [SEM, PAGE, PAGE, "tree_lock"]),
    "Y12 anonymous": ((ANON,), "MC-1", [SEM, PAGE, PAGE]),
    "Y12 file": ((EXT,), "BM-3", [SEM, PAGE, PAGE]),
    "Y14 anonymous": ((ANON,), "RP-1", [SEM, PAGE, PAGE, "anon_vma_lock"]),
    "Y14 file": ((EXT,), "RP-1", [SEM, PAGE, PAGE, "i_mmap_lock"]),
    "Y15": (BOTH, "MN-5", [SEM, PAGE, PAGE]),
    "Y16": (BOTH, "UM-15", [SEM, PAGE]),
    "Y17": (BOTH, "UM-16", [SEM]),
    "Y18": (BOTH, "UM-17", [SEM]),
    "Y19": ((BLOCK,), "WO-5", [SEM, PAGE]),
    "Y20": (BOTH, "MP-2", [SEM]),
}
CASES = [
    pytest.param(kind, label, held, id=f"{point} {kind.name if kind else 'anon'}")
    for point, (kinds, label, held) in POINTS.items()
    for kind in kinds
]


@pytest.mark.parametrize(("kind", "label", "held"), CASES)
def test_a_fine_migration_stops_at_every_yield_point_with_what_it_says_held(
    kind: pm.FileSystem | None, label: str, held: list[str]
) -> None:
    """Goal: the table of concurrency 2. Y10 and Y11 are inside ``tree_lock``, Y08 inside a leaf lock."""
    at = scene(kind, pm.Granularity.FINE)
    seen = [at.held(at.machine) for labels in stops(at) if label in labels]
    assert held in seen, f"stops before {label} hold {seen}"


@pytest.mark.parametrize("kind", [ANON, EXT, BLOCK, pm.filesystems.TMPFS, pm.filesystems.RAMFS])
def test_a_coarse_migration_stops_at_the_others_and_never_inside_a_spinlock(
    kind: pm.FileSystem | None,
) -> None:
    """Goal: the coarse mode of concurrency 1: the fine stops less those in which a spinlock is held."""
    fine, coarse = ([], [])
    for how, found in ((pm.Granularity.FINE, fine), (pm.Granularity.COARSE, coarse)):
        at = scene(kind, how)
        for labels in stops(at):
            if SPINLOCKS.isdisjoint(at.held(at.machine)):
                found.append(labels)
            else:
                assert how is pm.Granularity.FINE, f"{at.held(at.machine)} held before {labels}"
    assert coarse == fine


OTHERS: dict[str, Callable[[Scene], object]] = {
    "store": lambda at: pm.calls.write(at.heap.start, b"!"),
    "load": lambda at: pm.calls.read(at.heap.start, 1),
    "fork": lambda at: pm.calls.fork("late"),
    "lookup": lambda at: pm.calls.lookup(at.machine.files[0].number, 0),
}


@pytest.mark.parametrize(
    ("kind", "other"),
    [(ANON, "store"), (ANON, "load"), (ANON, "fork"), (EXT, "store"), (EXT, "fork"), (EXT, "lookup")],
)
def test_at_every_stop_others_run_as_far_as_locks_let_them(kind: pm.FileSystem | None, other: str) -> None:
    """Goal: locked actors queue, lockless ones go on (concurrency 1); in the end everybody is done.

    Method: at each stop of a fine migration a clone goes on with another task's call first, as far as
    it gets, then with all. A look-up that meets the frozen page would spin until MM-9 (S03); it is
    said to wait for what ends the spinning, ``tree_lock``.
    """
    at = scene(kind, pm.Granularity.FINE, pages=1)
    what = OTHERS[other](at)
    waits = set()
    for labels in stops(at):
        twin = at.machine.clone()
        call = twin.start(what, by=twin.task(at.other.pid))  # type: ignore[arg-type]
        for _ in range(60):
            if call.done or not call.step():
                break
            twin.check()
        if call.waiting_for is not None:
            waits.add(call.waiting_for.lock)
        if other == "lookup" and "MM-9" not in labels:
            assert call.waiting_for is None, f"a look-up takes no lock, but waits before {labels}"
        twin.run()
        twin.check()
    legal = {
        "store": {PAGE, "leaf_lock", "mmap_sem", "anon_vma_lock"},
        "load": {PAGE, "leaf_lock"},
        "fork": {"leaf_lock", "anon_vma_lock", "i_mmap_lock"},
        "lookup": {"tree_lock"},
    }
    assert waits and waits <= legal[other]


def test_a_sleep_on_the_page_lock_is_a_yield_point_from_the_fourth_pass_on() -> None:
    """Goal: Y04: passes 0 to 2 give up at UM-3, pass 3 sleeps, with ``mmap_sem`` held (E1)."""
    at = scene(EXT, pm.Granularity.FINE, pages=1)
    assert at.file is not None
    holder = at.machine.start(pm.calls.truncate(at.file, 10), by=at.other)
    assert holder.run_until("SP8-partial")
    assert not at.mover.run_until("UM-4")
    wait = at.mover.waiting_for
    assert wait is not None and (wait.lock, wait.holder) == (PAGE, holder.number)
    assert at.held(at.machine) == [SEM]
    assert sum("UM-3" in label for label in at.mover.history) == 3
    at.machine.run()
    assert at.mover.result.tolist() == [1]


def test_a_sleep_on_writeback_is_a_yield_point_from_the_fourth_pass_on() -> None:
    """Goal: Y06: pass 3 sleeps at UM-6 with ``mmap_sem`` and the page lock held (S31)."""
    at = scene(pm.FileSystem("slow", io_ticks=50), pm.Granularity.FINE, pages=1)
    assert at.file is not None
    writer = at.machine.start(pm.calls.writeback(at.file, 0), by=at.other)
    writer.run()
    while at.mover.step():
        at.machine.check()
    wait = at.mover.waiting_for
    assert wait is not None and wait.lock == "writeback"
    assert at.held(at.machine) == [SEM, PAGE]
    at.machine.run()
    assert at.mover.result.tolist() == [1]


def test_a_sleep_on_a_buffer_is_a_yield_point_with_both_pages_locked() -> None:
    """Goal: Y13: BM-3 sleeps after the point of no return (S33)."""
    at = scene(EXT, pm.Granularity.FINE, pages=1)
    assert at.file is not None
    at.file.hold_buffer(0, 2, lock=True)
    while at.mover.step():
        at.machine.check()
    wait = at.mover.waiting_for
    assert wait is not None and wait.lock == "buffer_lock"
    assert at.held(at.machine) == [SEM, PAGE, PAGE, "buffer_lock", "buffer_lock"]
    at.file.release_buffer(0, 2)
    at.machine.run()
    assert at.mover.result.tolist() == [1]


def test_between_two_pages_that_are_put_back_others_run() -> None:
    """Goal: Y21: MP-5 stops between pages, with ``mmap_sem`` held and one page on a list again."""
    at = scene(ANON, pm.Granularity.FINE)
    pins = [at.other.pin(page.start) for page in at.heap]
    between = [at.held(at.machine) for labels in stops(at) if "MP-5" in labels]
    assert between == [[SEM]] * 3, "before, between and after the two"
    assert at.mover.result.tolist() == [-11, -11]
    assert None not in pins


class Watched(Crowd):
    """A crowd whose coarse calls may hold no spinlock between two steps."""

    def step(self, waiting: list[pm.Call]) -> None:
        super().step(waiting)
        for lock in self.machine.locks:
            if lock.lock in SPINLOCKS:
                holders = self.coarse.intersection(lock.holders)
                assert not holders, f"coarse calls {holders} stopped inside {lock}"


@pytest.mark.parametrize("seed", range(12))
def test_no_coarse_call_of_any_kind_stops_inside_a_spinlock(seed: int) -> None:
    """Goal: coarse mode for every operation of `pagemig.calls`. Method: crowds, which throw all of them."""
    crowd = Watched(1000 + seed)
    for _ in range(6):
        crowd.round()
    crowd.end()
