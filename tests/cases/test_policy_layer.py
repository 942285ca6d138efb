"""Programs above the system calls, played by hand: the cases MT-mover and MT-age.

Goal: what such a program relies on holds here: all of a big process moves wherever it is sent,
in as many calls as a limit of bandwidth asks for, and the accessed bits tell what was used since
the last move. Method: :class:`Mover` and :class:`Ager` are the programs, a few lines each; time is
the machine's, a tick a millisecond.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

import pagemig as pm

PAGES = 720 * pm.MiB // pm.PAGE_SIZE
INTERVAL_MS = 100

Addresses = npt.NDArray[np.uint64]


@dataclasses.dataclass
class Mover:
    """Moves pages of another task, so many in each interval."""

    operator: pm.Task
    target: pm.Task
    machine: pm.Machine
    mib_a_second: int
    moved: list[int] = dataclasses.field(default_factory=list)
    """Pages reported on their node, by interval."""

    @property
    def pages_an_interval(self) -> int:
        """MB/s * 1048576 / 4096 * ms / 1000."""
        return self.mib_a_second * 1_048_576 // 4096 * INTERVAL_MS // 1000

    def move(self, pages: Addresses, node: int) -> int:
        """Send pages to a node, interval by interval; return how many are reported there."""
        self.moved.clear()
        for first in range(0, len(pages), self.pages_an_interval):
            part = pages[first : first + self.pages_an_interval]
            statuses = self.operator.move_pages(part, node, target=self.target)
            self.moved.append(int((statuses == node).sum()))
            self.machine.advance(INTERVAL_MS)
        return sum(self.moved)


@dataclasses.dataclass
class Ager:
    """Sends what was used since it was last looked at to one node, and the rest to another."""

    operator: pm.Task
    target: pm.Task
    heap: pm.Region

    def turn(self, *, active: int, idle: int) -> dict[int, int]:
        """Move once; return how many pages are on each node then."""
        used = np.array([self.target.entry_at(page.start).accessed for page in self.heap])
        for node, pages in ((active, self.heap.addresses[used]), (idle, self.heap.addresses[~used])):
            self.operator.move_pages(pages, node, target=self.target)
        found, counts = np.unique(self.target.nodes_of(self.heap), return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))


@pytest.fixture
def machine() -> pm.Machine:
    """Four nodes of 1 GiB, without contents."""
    return pm.Machine(nodes=[pm.GiB] * 4)


@pytest.fixture
def operator(machine: pm.Machine) -> pm.Task:
    """The program: root, with CAP_SYS_NICE."""
    return machine.spawn("operator")


@pytest.fixture
def worker(machine: pm.Machine) -> pm.Task:
    """The process that is moved: an ordinary user's."""
    return machine.spawn("worker", uid=1000)


@pytest.mark.parametrize("mib_a_second", [200, 3000, 10_000])
def test_all_of_a_big_process_goes_where_it_is_sent_within_a_bandwidth(
    machine: pm.Machine, operator: pm.Task, worker: pm.Task, mib_a_second: int
) -> None:
    """MT-mover: 720 MB to node 0, then 1, 2, 3; each time at least 700 MB are reported there.

    The limit bounds the pages of every interval, so that a move takes as long as it must.
    """
    heap = worker.mmap(PAGES * pm.PAGE_SIZE)
    worker.touch(heap)
    mover = Mover(operator, worker, machine, mib_a_second)
    for node in range(4):
        start = machine.now
        reported = mover.move(heap.addresses, node)
        assert reported * pm.PAGE_SIZE >= 700 * pm.MiB
        assert (worker.nodes_of(heap) == node).sum() == reported == PAGES
        assert max(mover.moved) <= mover.pages_an_interval
        least_ms = 720 * 1000 / mib_a_second
        assert least_ms <= machine.now - start < least_ms + INTERVAL_MS
    machine.drain()
    by_node = [machine.zone_counters(node)["nr_anon_pages"] for node in range(4)]
    assert by_node == [0, 0, 0, PAGES]
    machine.check()


@pytest.mark.parametrize(("mib_a_second", "pages", "intervals"), [(200, 5120, 36), (3000, 76_800, 3)])
def test_a_bandwidth_becomes_pages_an_interval(
    machine: pm.Machine, operator: pm.Task, worker: pm.Task, mib_a_second: int, pages: int, intervals: int
) -> None:
    """MT-mover's arithmetic: every interval but the last is full."""
    heap = worker.mmap(PAGES * pm.PAGE_SIZE)
    worker.touch(heap)
    mover = Mover(operator, worker, machine, mib_a_second)
    mover.move(heap.addresses, 1)
    assert mover.moved == [pages] * (intervals - 1) + [PAGES - pages * (intervals - 1)]


def test_the_active_part_and_the_idle_part_of_a_process_are_told_apart(
    machine: pm.Machine, operator: pm.Task, worker: pm.Task
) -> None:
    """MT-age: active 30 % to node 1, idle 70 % to node 3; stop, continue, stop.

    A restored entry is not accessed (Q13), so an accessed one was used since its page was moved.
    """
    heap = worker.mmap(4000 * pm.PAGE_SIZE)
    worker.touch(heap)
    active = heap.addresses[:1200]
    operator.move_pages(heap, 3, target=worker)
    ager = Ager(operator, worker, heap)
    for _ in range(2):
        worker.touch(active, write=False)
        places = ager.turn(active=1, idle=3)
        assert places == {1: 1200, 3: 2800}
        assert places[1] >= 0.2 * len(heap) and places[3] >= 0.7 * len(heap)
        assert (worker.nodes_of(active) == 1).all()
        # Stopped: nothing is used, so everything is idle.
        assert ager.turn(active=1, idle=3) == {3: 4000}
    machine.check()


def test_a_page_that_is_used_where_it_already_is_keeps_its_accessed_bit(
    operator: pm.Task, worker: pm.Task
) -> None:
    """Why the program above forgets a use only by a move: asking for its own node does nothing (DM-2)."""
    heap = worker.mmap(8 * pm.PAGE_SIZE)
    worker.touch(heap)
    ager = Ager(operator, worker, heap)
    assert ager.turn(active=0, idle=3) == {0: 8}
    assert ager.turn(active=0, idle=3) == {0: 8}
    operator.move_pages(heap, 1, target=worker)
    assert ager.turn(active=0, idle=3) == {3: 8}
