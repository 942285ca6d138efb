"""The ledger of a report: operations by phase, and the time that they take as modelled.

Start with `phases` and `time_of`. Below: `pagemig.cost_model`, which prices operations. Above:
`.page`, which shows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..cost_model import ModelledTime, Pricing, modelled_time
from ..errors import UsageError

if TYPE_CHECKING:
    from .run import Report

PHASES: Mapping[str, tuple[str, ...]] = {
    "looking up": ("walks",),
    "taking off the lists": ("isolations", "drains"),
    "going through the batch": ("batches", "passes", "attempts", "retries"),
    "taking target frames": ("allocations",),
    "unmapping": ("unmaps", "flushes"),
    "copying": ("copies",),
    "mapping again": ("restores", "moves"),
    "faults": ("faults", "cow_copies"),
    "address spaces": ("forked_entries", "zaps"),
}
"""Which counts of the ledger belong to which phase of a move, in the order in which they come."""

SYSTEM_CALLS = frozenset(
    {
        "move_pages",
        "migrate_pages",
        "mbind",
        "fork",
        "exit",
        "munmap",
        "mprotect",
        "mremap",
        "madvise",
        "mlock",
        "munlock",
        "read_file",
        "write_file",
        "truncate",
        "raw_move_pages",
        "raw_migrate_pages",
        "raw_mbind",
    }
)
"""Verbs of calls that enter the kernel through a system call of the same meaning."""


def phases(cost: Mapping[str, int]) -> list[tuple[str, dict[str, int]]]:
    """Return the counts of a ledger by phase; what belongs to none comes last, as ``other``.

    >>> phases({"copies": 4, "walks": 8})
    [('looking up', {'walks': 8}), ('copying', {'copies': 4})]
    """
    found = [
        (phase, {name: cost[name] for name in names if cost.get(name)}) for phase, names in PHASES.items()
    ]
    known = {name for names in PHASES.values() for name in names}
    found.append(("other", {name: count for name, count in cost.items() if name not in known and count}))
    return [(phase, counts) for phase, counts in found if counts]


def time_of(report: Report, pricing: Pricing, call: str | None) -> ModelledTime:
    """Return how long all calls of a report take, or one; see `pagemig.Report.modelled_time`."""
    if call is None:
        made = sum(one.verb in SYSTEM_CALLS and one.done for one in report.calls)
        return modelled_time(report.cost, pricing, cpus=report.cpus, calls=made)
    one = next((one for one in report.calls if one.id == call), None)
    if one is None:
        known = ", ".join(one.id for one in report.calls)
        raise UsageError(f"call is {call!r}; the report has {known or 'none'}")
    if one.cost is None:
        raise UsageError(f"call {call!r} ran at once with others; they share one ledger, so ask for all")
    entered = int(one.verb in SYSTEM_CALLS and one.done)
    return modelled_time(one.cost, pricing, cpus=report.cpus, calls=entered)
