"""Playing a recorded program on a simulated machine, and moving its hot pages half way.

A trace is a list of addresses. :class:`Player` gives them a task: it maps what the trace touches as
it comes by, faults pages in, and counts on which node every access was served. :func:`replay` plays a
whole file on a machine of a fast and a slow tier; with ``move_hot`` it stops half way, clones the
machine, moves the most used pages of one of the two to the fast node, and plays the rest on both, so
that the difference is the move and nothing else.

Start with :func:`replay`. Below: :mod:`pagemig.inputs`, :mod:`pagemig.machine`, :mod:`pagemig.report`.
Above: the command line. (The word ``replay`` alone is `pagemig.replay`, which replays schedules.)

Left out: time. The model counts where accesses go; it does not say how long a node takes to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import OutOfMemoryError, SyscallError, UsageError
from .flags import PAGE_SIZE, USER_END, GiB, MiB
from .inputs import page_accesses, read_trace
from .machine import Machine
from .report import Outcome, tally
from .task import Task
from .topology import Node

AREA = 2 * MiB
"""What the trace touches is mapped in aligned pieces of this many bytes."""

# Text of the trace that is played at once: long enough that a batch's fixed costs do not show.
_CHUNK = 16 * MiB

# No access of a trace is wider than this: its sizes are bytes.
_WIDEST = 255

_PAGE_SHIFT = PAGE_SIZE.bit_length() - 1

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of the file has been read, from 0.0 to 1.0."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """The machine that a trace is played on.

    Attributes
    ----------
    memory
        Bytes on each node, node 0 first.
    fast
        The node that hot pages are moved to.
    start
        The node of the CPU that the program runs on, where its pages are born while there is room.

    Raises
    ------
    UsageError
        If a node is named that does not exist, or there are more than 64 nodes, or none.
    """

    memory: tuple[int, ...] = (GiB, GiB)
    fast: int = 0
    start: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.memory) <= 64:
            raise UsageError(f"a machine has 1 to 64 nodes, not {len(self.memory)}")
        for role, node in (("fast", self.fast), ("start", self.start)):
            if not 0 <= node < len(self.memory):
                raise UsageError(f"the {role} node is {node}, but the nodes are 0 to {len(self.memory) - 1}")


@dataclass(frozen=True, slots=True)
class Served:
    """Where a stretch of accesses went.

    Attributes
    ----------
    by_node
        Accesses served by each node, node 0 first.
    zero_page
        Accesses that met the zero page: memory that was read before anything wrote to it.
    minor, cow
        Pages faulted in, and pages copied on the first write after a read.
    """

    by_node: tuple[int, ...]
    zero_page: int = 0
    minor: int = 0
    cow: int = 0

    @property
    def accesses(self) -> int:
        """All accesses of the stretch."""
        return sum(self.by_node) + self.zero_page

    def share(self, node: int) -> float:
        """Return the share of the accesses that ``node`` served, from 0.0 to 1.0."""
        return self.by_node[node] / self.accesses if self.accesses else 0.0

    def __add__(self, other: Served) -> Served:
        nodes = tuple(mine + its for mine, its in zip(self.by_node, other.by_node, strict=True))
        return Served(nodes, self.zero_page + other.zero_page, self.minor + other.minor, self.cow + other.cow)


@dataclass(frozen=True, slots=True)
class HotMove:
    """What moving the hot pages half way did.

    Attributes
    ----------
    asked, chosen, used
        How many pages were wanted, how many were moved at most, and how many the program had used
        until then; a page of its own is needed to be chosen, the zero page is none.
    outcomes
        What ``move_pages`` answered.
    refused
        Why the call ended early, such as a fast node that was full; empty if it did not.
    before
        The first half of the trace, before the move.
    moved, unmoved
        The second half, played twice: after the move, and on a clone that did not move anything.
    """

    asked: int
    chosen: int
    used: int
    outcomes: tuple[Outcome, ...]
    refused: str
    before: Served
    moved: Served
    unmoved: Served


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a whole trace.

    Attributes
    ----------
    records
        Data accesses in the file.
    straddling
        How many of them touched two pages; each of these was played as two accesses.
    writes
        How many of them were stores, or loads and stores in one.
    served
        Where all accesses went.
    pages
        Pages on each node at the end, node 0 first.
    mapped
        Bytes of address space that were mapped for the program.
    move
        What moving hot pages did, if that was asked for.
    """

    tiers: Tiers
    records: int
    straddling: int
    writes: int
    served: Served
    pages: tuple[int, ...]
    mapped: int
    move: HotMove | None


def _before_first_store(
    addresses: npt.NDArray[np.uint64],
    writes: npt.NDArray[np.bool_],
    pages: npt.NDArray[np.uint64],
    concerned: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Count the accesses to each page that came before the first store to it; 0 for those not concerned.

    Pages are ascending, of shape (pages,) as is what concerns them; accesses in order.
    """
    page_of = np.searchsorted(pages, addresses >> np.uint64(_PAGE_SHIFT))
    those = np.flatnonzero(concerned[page_of])
    page_of, is_store = page_of[those], writes[those]
    first = np.full(len(pages), len(those))
    # Of several stores to one page the last assignment stays, which is that of the first store.
    stores = np.flatnonzero(is_store)[::-1]
    first[page_of[stores]] = stores
    return np.bincount(page_of[np.arange(len(those)) < first[page_of]], minlength=len(pages))


class Player:
    """One task that plays a trace, and how often it used each page.

    Parameters
    ----------
    machine
        Where to play.
    task
        Who plays; its memory should be empty.
    node_count
        Nodes are counted from 0 to below this number.
    """

    def __init__(self, machine: Machine, task: Task, node_count: int) -> None:
        self.machine = machine
        self.task = task
        self.node_count = node_count
        self._areas: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._pages: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._uses: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._own: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        """Those of the pages that have, or had, a frame of their own."""

    @property
    def mapped(self) -> int:
        """Bytes of address space mapped so far."""
        return len(self._areas) * AREA

    @property
    def used(self) -> npt.NDArray[np.uint64]:
        """Addresses of the pages used so far, ascending."""
        return self._pages << np.uint64(_PAGE_SHIFT)

    def twin(self) -> Player:
        """Return a player on a clone of the machine, as far in the trace as this one."""
        machine = self.machine.clone()
        copy = Player(machine, machine.task(self.task.pid), self.node_count)
        copy._areas, copy._pages, copy._uses, copy._own = self._areas, self._pages, self._uses, self._own
        return copy

    def play(self, addresses: npt.NDArray[np.uint64], writes: npt.NDArray[np.bool_]) -> Served:
        """Play accesses that each touch one page, in order, and say where they went.

        Raises
        ------
        UsageError
            If an address is no user address; nothing has been played then.
        OutOfMemoryError
            If no node has a frame left for a page.
        """
        if not len(addresses):
            return Served((0,) * self.node_count)
        pages, uses = np.unique(addresses >> np.uint64(_PAGE_SHIFT), return_counts=True)
        self._map(pages)
        had_none = ~np.isin(pages, self._own, assume_unique=True)
        result = self.task.access(addresses, writes)
        places = self.locate(pages << np.uint64(_PAGE_SHIFT))
        self._count(pages, uses)
        self._own = np.union1d(self._own, pages[places >= 0])
        of_zeros = np.where(places < 0, uses, 0)
        if result.cow:
            of_zeros += _before_first_store(addresses, writes, pages, had_none & (places >= 0))
        by_node = np.bincount(places[places >= 0], (uses - of_zeros)[places >= 0], minlength=self.node_count)
        return Served(
            tuple(int(accesses) for accesses in by_node),
            int(of_zeros.sum()),
            result.minor,
            result.cow,
        )

    def locate(self, addresses: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """Ask, as a program would, on which node each page is; negative where it has no frame of its own."""
        return self.task.move_pages(addresses)

    def hottest(self, count: int) -> npt.NDArray[np.uint64]:
        """Return the addresses of the ``count`` most used pages that have a frame of their own.

        Most used first; among equals the lowest address.
        """
        own = self.locate(self.used) >= 0
        pages, uses = self._pages[own], self._uses[own]
        order = np.lexsort((pages, -uses))[:count]
        return pages[order] << np.uint64(_PAGE_SHIFT)

    def pages_by_node(self) -> tuple[int, ...]:
        """Count the program's pages on each node."""
        places = self.locate(self.used)
        return tuple(int(pages) for pages in np.bincount(places[places >= 0], minlength=self.node_count))

    def _map(self, pages: npt.NDArray[np.uint64]) -> None:
        """Map the areas of these pages that are not mapped yet, neighbours in one piece."""
        last = int(pages[-1]) << _PAGE_SHIFT
        if last >= USER_END:
            raise UsageError(f"address {last:#x} is not a user address, which end at {USER_END:#x}")
        areas = np.unique(pages // np.uint64(AREA // PAGE_SIZE))
        missing = np.setdiff1d(areas, self._areas, assume_unique=True)
        if not len(missing):
            return
        gaps = np.flatnonzero(np.diff(missing) != 1) + 1
        for run in np.split(missing, gaps):
            start = int(run[0]) * AREA
            self.task.mmap(min(len(run) * AREA, USER_END - start), at=start)
        self._areas = np.union1d(self._areas, missing)

    def _count(self, pages: npt.NDArray[np.uint64], uses: npt.NDArray[np.int64]) -> None:
        """Add these uses to those of before."""
        together, places = np.unique(np.concatenate((self._pages, pages)), return_inverse=True)
        sums = np.zeros(len(together), dtype=np.int64)
        np.add.at(sums, places, np.concatenate((self._uses, uses)))
        self._pages, self._uses = together, sums


def replay(
    path: Path, *, tiers: Tiers | None = None, move_hot: int | None = None, progress: Progress | None = None
) -> Replayed:
    """Play a recorded trace from its first access to its last.

    With ``move_hot`` the file is read twice, first to count it: half way is after half of its
    records, so that the answer does not depend on how the file is compressed.

    Parameters
    ----------
    path
        A trace that :func:`pagemig.inputs.read_trace` knows.
    tiers
        The machine; by default two nodes of 1 GiB, where the program starts on node 1.
    move_hot
        How many of the most used pages to move to the fast node half way; ``None`` moves nothing.
    progress
        Told from time to time how far the file has been read.

    Raises
    ------
    UsageError
        With the file, and the line where there is one: if it is no trace, is cut off, names an
        address that no user has, or touches more memory than the machine has.
    """
    tiers = tiers or Tiers()
    if move_hot is not None and move_hot < 1:
        raise UsageError(f"the number of pages to move must be at least 1, not {move_hot}")
    machine = Machine(nodes=[Node(memory) for memory in tiers.memory], cpus=len(tiers.memory))
    task = machine.spawn("program", cpu=tiers.start, stack=False)
    player = Player(machine, task, len(tiers.memory))
    try:
        return _Session(path, tiers, player, progress or _silent).play(move_hot)
    except OutOfMemoryError:
        room = sum(tiers.memory) / MiB
        raise UsageError(
            f"{path}: the program touches more than the {room:g} MiB of the machine; "
            "give its nodes more memory"
        ) from None


def _silent(_doing: str, _share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Accesses of the trace in a row, each to one page or two."""

    addresses: npt.NDArray[np.uint64]
    sizes: npt.NDArray[np.uint8]
    writes: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.addresses)

    def cut(self, at: int) -> tuple[_Batch, _Batch]:
        """Return the first ``at`` accesses, and the rest."""
        first = _Batch(self.addresses[:at], self.sizes[:at], self.writes[:at])
        return first, _Batch(self.addresses[at:], self.sizes[at:], self.writes[at:])


class _Session:
    """One trace, played from its first record to its last; what is counted on the way."""

    def __init__(self, path: Path, tiers: Tiers, player: Player, progress: Progress) -> None:
        self.path = path
        self.tiers = tiers
        self.player = player
        self.progress = progress
        self.records = 0
        self.straddling = 0
        self.writes = 0

    def play(self, move_hot: int | None) -> Replayed:
        """Play all of it, and move the hot pages half way if asked to."""
        if move_hot is None:
            served, move = self._nothing(), None
            for batch in self._batches("playing"):
                served += self._play(batch)[0]
        else:
            served, move = self._play_and_move(move_hot)
        if not self.records:
            raise UsageError(f"{self.path}: there is no data access in this trace")
        return Replayed(
            tiers=self.tiers,
            records=self.records,
            straddling=self.straddling,
            writes=self.writes,
            served=served,
            pages=self.player.pages_by_node(),
            mapped=self.player.mapped,
            move=move,
        )

    def _play_and_move(self, move_hot: int) -> tuple[Served, HotMove | None]:
        """Play the first half, move, and play the second half with and without the move."""
        half = sum(len(batch) for batch in self._batches("counting")) // 2
        before, moved, unmoved = self._nothing(), self._nothing(), self._nothing()
        still: Player | None = None
        made: tuple[int, int, tuple[Outcome, ...], str] = (0, 0, (), "")
        for batch in self._batches("playing"):
            first, rest = batch.cut(max(0, half - self.records))
            if len(first):
                before += self._play(first)[0]
            if not len(rest):
                continue
            if still is None:
                still = self.player.twin()
                made = self._move(move_hot)
            with_move, without = self._play(rest, still)
            moved += with_move
            unmoved += without
        chosen, used, outcomes, refused = made
        move = HotMove(move_hot, chosen, used, outcomes, refused, before, moved, unmoved)
        return before + moved, move

    def _move(self, move_hot: int) -> tuple[int, int, tuple[Outcome, ...], str]:
        """Move the hottest pages: how many were chosen, how many used, outcomes, and why it ended early."""
        player = self.player
        hot = player.hottest(move_hot)
        places = player.locate(hot)
        refused = ""
        try:
            statuses = player.task.move_pages(hot, self.tiers.fast)
        except SyscallError as error:
            statuses = error.statuses if error.statuses is not None else np.empty(0, dtype=np.int32)
            refused = (
                f"node {self.tiers.fast} is full: {error.strerror} after {len(statuses)} of {len(hot)} pages"
            )
        return len(hot), len(player.used), tally(statuses, places[: len(statuses)]), refused

    def _play(self, batch: _Batch, still: Player | None = None) -> tuple[Served, Served]:
        """Play a batch on the player, and on a second one if there is one."""
        if int(batch.addresses.max()) > USER_END - _WIDEST:
            self._refuse_beyond(batch)
        addresses, writes = page_accesses(batch.addresses, batch.sizes, batch.writes)
        served = self.player.play(addresses, writes)
        self.records += len(batch)
        self.straddling += len(addresses) - len(batch)
        self.writes += int(np.count_nonzero(batch.writes))
        return served, still.play(addresses, writes) if still is not None else self._nothing()

    def _refuse_beyond(self, batch: _Batch) -> None:
        """Raise for the first access that ends beyond user space, if there is one."""
        beyond = np.flatnonzero(batch.addresses > USER_END - batch.sizes.astype(np.uint64))
        if len(beyond):
            address = int(batch.addresses[beyond[0]])
            raise UsageError(
                f"{self.path}: data access {self.records + int(beyond[0]) + 1} is at {address:#x}, "
                f"beyond the end of user space at {USER_END:#x}"
            )

    def _nothing(self) -> Served:
        return Served((0,) * len(self.tiers.memory))

    def _batches(self, doing: str) -> Iterator[_Batch]:
        """Read the trace from its beginning, telling how far it has been read."""
        trace = read_trace(self.path, chunk=_CHUNK)
        for chunk in trace.chunks():
            self.progress(doing, trace.share_read)
            yield _Batch(chunk.addresses, chunk.sizes, chunk.writes)
