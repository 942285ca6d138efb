"""Time for what was done: nanoseconds per elementary operation, over the ledger of a machine.

The machine counts operations (`Machine.cost`); it has no idea of how long they take. A `CostModel` is a
table of nanoseconds, given by the user or taken from `presets`, that turns the counts of a call into
modelled time, in all, by operation and by page::

    with pm.measured(machine, pm.presets["two-socket-2010"]) as took:
        task.move_pages(heap, 1)
    print(took.ns_per_page)

A simulator that has a clock of its own gives a function instead of a table: it is asked what ``count``
operations of a name take, and can charge them to its own clock.

Start with `CostModel`, `measured` and `cost_curve`. Below: the ledger. Left out: time that is spent
waiting for locks and disks, and caches that are warm or cold.

Sources stand with each preset. Published measurements bound whole calls, seldom single operations; what
is an estimate of ours is called so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from .arguments import integer
from .errors import UsageError
from .flags import PAGE_SIZE, MiB
from .machine import Machine
from .tables import Table

Pricing: TypeAlias = Callable[[str, int], float]
"""Told the name of an operation (a field of `CostModel`) and how many were made: returns nanoseconds."""

LEVELS = 4
"""Levels of page tables that a walk goes through."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """Nanoseconds per elementary operation.

    Parameters
    ----------
    name
        What to call it.
    source
        Where the numbers come from, and which of them are estimates.
    call
        Entering and leaving a system call.
    walk_level
        One level of a walk through page tables.
    allocation, isolation
        Taking a frame, and taking a page off its LRU list.
    attempt
        What an attempt to move a page costs beside what is counted on its own: locks, checks.
    unmap, restore
        Replacing an entry by a migration entry, and putting an ordinary one back.
    flush, ipi
        Flushing a translation here, and on each other CPU.
    copy_byte
        Copying one byte from node to node.
    batch, one_pass, drain
        Handing a batch to the engine, going once through it, and draining the pagevecs of one CPU.
    fault
        Serving a page fault, without its walk, allocation and copy.
    fork_entry, zap
        Copying an entry at a fork, and clearing one.

    Raises
    ------
    UsageError
        A number is negative or no number.
    """

    name: str
    source: str
    call: float = 0.0
    walk_level: float = 0.0
    allocation: float = 0.0
    isolation: float = 0.0
    attempt: float = 0.0
    unmap: float = 0.0
    flush: float = 0.0
    ipi: float = 0.0
    copy_byte: float = 0.0
    restore: float = 0.0
    batch: float = 0.0
    one_pass: float = 0.0
    drain: float = 0.0
    fault: float = 0.0
    fork_entry: float = 0.0
    zap: float = 0.0

    def __post_init__(self) -> None:
        for operation in OPERATIONS:
            value = getattr(self, operation)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value) or value < 0:
                raise UsageError(f"{operation} is {value!r}; it must be nanoseconds, 0 or more")

    def __call__(self, operation: str, count: int) -> float:
        """Return what so many operations take: a model is a `Pricing`."""
        return float(getattr(self, operation)) * count

    @property
    def table(self) -> Mapping[str, float]:
        """Nanoseconds by operation."""
        return MappingProxyType({name: float(getattr(self, name)) for name in OPERATIONS})

    def changed(self, **nanoseconds: float) -> CostModel:
        """Return the same with some of its numbers changed, and said so in ``source``.

        Parameters
        ----------
        nanoseconds
            What an operation takes, by its name: ``ipi=0``; see `OPERATIONS`.

        Returns
        -------
        CostModel
            A new one.

        Raises
        ------
        UsageError
            There is no such operation, or a number makes no sense.

        Examples
        --------
        >>> presets["two-socket-2010"].changed(ipi=0).ipi
        0
        """
        unknown = sorted(set(nanoseconds) - set(OPERATIONS))
        if unknown:
            raise UsageError(f"{unknown[0]} is no operation; there are {', '.join(OPERATIONS)}")
        told = f"{self.source} Changed by the user: {', '.join(sorted(nanoseconds))}."
        return dataclasses.replace(self, source=told, **nanoseconds)  # type: ignore[arg-type]


OPERATIONS: tuple[str, ...] = tuple(
    each.name for each in dataclasses.fields(CostModel) if each.name not in ("name", "source")
)
"""The elementary operations that have a price."""


def operations_in(cost: Mapping[str, int], *, cpus: int, calls: int = 0) -> dict[str, int]:
    """Return how many priced operations a ledger stands for.

    Parameters
    ----------
    cost
        Counts as in `pagemig.Machine.cost`.
    cpus
        CPUs that have run the program: a flush interrupts all of them but one.
    calls
        System calls that were made.

    Returns
    -------
    dict
        How many of each, by the names of the fields of `pagemig.CostModel`.

    Examples
    --------
    >>> made = operations_in({"walks": 2, "copies": 1, "flushes": 1}, cpus=3)
    >>> made["walk_level"], made["copy_byte"], made["ipi"], made["fault"]
    (8, 4096, 2, 0)
    """
    counted = {name: int(count) for name, count in cost.items()}

    def sum_of(*names: str) -> int:
        return sum(counted.get(name, 0) for name in names)

    return {
        "call": calls,
        "walk_level": LEVELS * sum_of("walks"),
        "allocation": sum_of("allocations"),
        "isolation": sum_of("isolations"),
        "attempt": sum_of("attempts"),
        "unmap": sum_of("unmaps"),
        "flush": sum_of("flushes"),
        "ipi": (cpus - 1) * sum_of("flushes"),
        "copy_byte": PAGE_SIZE * sum_of("copies", "cow_copies"),
        "restore": sum_of("restores"),
        "batch": sum_of("batches"),
        "one_pass": sum_of("passes"),
        "drain": sum_of("drains"),
        "fault": sum_of("faults"),
        "fork_entry": sum_of("forked_entries"),
        "zap": sum_of("zaps"),
    }


@dataclass(slots=True)
class ModelledTime:
    """How long what was measured takes, as modelled. Filled when the measuring ends.

    Attributes
    ----------
    by_operation
        Nanoseconds of each operation that was made.
    counts
        How many of each were made.
    pages
        Pages that were moved.
    """

    by_operation: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    pages: int = 0

    @property
    def ns(self) -> float:
        """Nanoseconds in all."""
        return sum(self.by_operation.values())

    @property
    def ns_per_page(self) -> float:
        """Nanoseconds for each page that was moved; 0 if none was."""
        return self.ns / self.pages if self.pages else 0.0

    @property
    def table(self) -> Table:
        """The same as a table: ``operation``, ``count``, ``ns``."""
        return Table.of(
            operation=list(self.by_operation),
            count=[self.counts[name] for name in self.by_operation],
            ns=[float(ns) for ns in self.by_operation.values()],
        )


def modelled_time(
    cost: Mapping[str, int], pricing: Pricing, *, cpus: int = 1, calls: int = 0
) -> ModelledTime:
    """Price the operations of a ledger.

    Parameters
    ----------
    cost
        Counts as in `pagemig.Machine.cost`, or the difference of two.
    pricing
        A `pagemig.CostModel`, or a function of a simulator that has its own.
    cpus
        CPUs that have run the program, 1 to 4096: a flush interrupts all of them but one.
    calls
        System calls that were made.

    Returns
    -------
    ModelledTime
        How long they take.

    Raises
    ------
    UsageError
        ``pricing`` cannot be asked, or answers with what is no time.
    """
    if not callable(pricing):
        raise UsageError(
            f"pricing is {pricing!r}; it must be a CostModel or a function of (operation, count)"
        )
    took = ModelledTime(pages=int(cost.get("moves", 0)))
    made = operations_in(cost, cpus=integer(cpus, "cpus", 1, 4096), calls=integer(calls, "calls"))
    for operation, count in made.items():
        if count:
            ns = pricing(operation, count)
            is_number = isinstance(ns, (int, float)) and not isinstance(ns, bool)
            if not is_number or not math.isfinite(ns) or ns < 0:
                raise UsageError(
                    f"pricing says {ns!r} for {count} {operation}; it must be nanoseconds, 0 or more"
                )
            took.by_operation[operation] = float(ns)
            took.counts[operation] = count
    return took


@contextlib.contextmanager
def measured(
    machine: Machine, pricing: Pricing, *, cpus: int | None = None, calls: int = 1
) -> Iterator[ModelledTime]:
    """Model the time of what a machine does within a ``with`` block.

    Parameters
    ----------
    machine
        Whose ledger is read before and after.
    pricing
        A `CostModel`, or a function of a simulator that has its own.
    cpus
        CPUs that have run the program; by default all of the machine.
    calls
        System calls that are made within.

    Yields
    ------
    ModelledTime
        Empty until the block ends; then what was done in it.

    Raises
    ------
    UsageError
        ``machine`` is none, or as `pagemig.modelled_time`.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB, pm.MiB], cpus=2)
    >>> task = machine.spawn()
    >>> heap = task.mmap(8 * pm.PAGE_SIZE)
    >>> _ = task.touch(heap)
    >>> with measured(machine, presets["two-socket-2010"]) as took:
    ...     _ = task.move_pages(heap, 1)
    >>> took.pages, took.ns_per_page > 1000
    (8, True)
    """
    if not isinstance(machine, Machine):
        raise UsageError(f"machine is {machine!r}; it must be a pagemig.Machine")
    before = machine.cost
    took = ModelledTime()
    yield took
    spent = {name: count - before.get(name, 0) for name, count in machine.cost.items()}
    there = len(machine.cpus) if cpus is None else cpus
    done = modelled_time(spent, pricing, cpus=there, calls=calls)
    took.by_operation, took.counts, took.pages = done.by_operation, done.counts, done.pages


def cost_curve(pricing: Pricing, batches: Sequence[int], *, cpus: int = 2) -> Table:
    """Return what a page costs when so many are moved by one ``move_pages``.

    Each size is a program of its own, on a machine of two nodes, whose pages wait on LRU lists.

    Parameters
    ----------
    pricing
        A `CostModel`, or a function of a simulator.
    batches
        Numbers of pages, each 1 or more.
    cpus
        CPUs of the machine, all of which have run the program.

    Returns
    -------
    Table
        ``pages`` (int64), ``ns`` and ``ns_per_page`` (float64), and ``fixed_share`` (float64): how much
        of the time does not depend on the number of pages (call, batches, passes, drains).

    Raises
    ------
    UsageError
        A number is not 1 to 2^20, or as `pagemig.modelled_time`.
    """
    rows: list[tuple[int, float, float, float]] = []
    for pages in batches:
        count = integer(pages, "batches", 1, 1 << 20)
        room = max(MiB, 4 * count * PAGE_SIZE)
        machine = Machine(nodes=[room, room], cpus=cpus)
        task = machine.spawn(stack=False)
        heap = task.mmap(count * PAGE_SIZE)
        task.touch(heap)
        machine.drain()
        with measured(machine, pricing) as took:
            task.move_pages(heap, 1)
        fixed = sum(took.by_operation.get(name, 0.0) for name in ("call", "batch", "one_pass", "drain"))
        rows.append((count, took.ns, took.ns_per_page, fixed / took.ns if took.ns else 0.0))
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Table.of(
        **dict(zip(("pages", "ns", "ns_per_page", "fixed_share"), map(list, columns), strict=True))
    )


_ESTIMATE_2010 = CostModel(
    name="two-socket-2010",
    source=(
        "Every number is an estimate of ours for a machine of two sockets of the time of Linux 2.6.34. "
        "Published is only the order of a shootdown, which can take microseconds (Amit, USENIX ATC 2017, "
        "section 1): flush and ipi together are 1.7. A copy is derived: each byte is read and written once "
        "over one channel of DDR3-1333, 8 bytes at 1333 million transfers a second, 10.7 GB/s."
    ),
    call=300.0,
    walk_level=10.0,
    allocation=150.0,
    isolation=80.0,
    attempt=250.0,
    unmap=150.0,
    flush=200.0,
    ipi=1500.0,
    copy_byte=2 / 10.7,
    restore=150.0,
    batch=200.0,
    one_pass=50.0,
    drain=4000.0,
    fault=700.0,
    fork_entry=30.0,
    zap=40.0,
)

_BATCHED_2023 = CostModel(
    name="two-socket-2023",
    source=(
        "The share of flushing is published: on a two-socket server, flushing translations in batches "
        "made migrate_pages move 291.7 % more pages a second while 99.1 % of the interrupts went away "
        "(Huang, 'migrate_pages(): batch TLB flushing', linux-mm, 13 February 2023). So flushing took "
        "3.02 times as long as all the rest, and ipi is set to that for two CPUs. The rest is an estimate "
        "of ours: one channel of DDR4-3200 for the copy, 8 bytes at 3200 million transfers a second, and "
        "software twice as fast as in 'two-socket-2010'. On one CPU that makes about 870 ns a page, where "
        "about 1,200 is reported for move_pages on bare metal (Zen 3)."
    ),
    call=150.0,
    walk_level=5.0,
    allocation=75.0,
    isolation=40.0,
    attempt=125.0,
    unmap=75.0,
    flush=100.0,
    ipi=2240.0,
    copy_byte=2 / 25.6,
    restore=75.0,
    batch=100.0,
    one_pass=25.0,
    drain=2000.0,
    fault=350.0,
    fork_entry=15.0,
    zap=20.0,
)

presets: Mapping[str, CostModel] = MappingProxyType(
    {model.name: model for model in (_ESTIMATE_2010, _BATCHED_2023)}
)
"""Models by name; `CostModel.source` says what is measured and what is estimated."""
