"""A machine in the kernel's own words: `vmstat`, `zoneinfo`, and the migrations of its trace.

The formats are those of ``/proc/vmstat`` and ``/proc/zoneinfo`` (proc(5)), and of the trace file of ftrace
(the kernel's ftrace documentation) with the tracepoint ``migrate:mm_migrate_pages``, as its own
``format`` file describes it. That tracepoint is younger (3.7) than what is modelled; tools know it.

Start with the function of the text's name. Below: the core. Above: `pagemig.machine_view`. Beside it:
`proc_texts`, for tasks. Left out: lines about things that the model does not have (slabs, per-CPU free
lists, reclaim statistics), and the later fields about huge pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from .flags import ZoneKind
from .trace import Event, Trace

if TYPE_CHECKING:
    from .system import System

_ZONE_NAMES = {
    ZoneKind.DMA: "DMA",
    ZoneKind.DMA32: "DMA32",
    ZoneKind.NORMAL: "Normal",
    ZoneKind.MOVABLE: "Movable",
}

# By the step labels of who called the engine: the reason that the tracepoint names.
_REASONS = (
    ("SY6", "mempolicy_mbind"),
    ("SY7", "memory_hotplug"),
    ("SY8", "memory_failure"),
)
_SYSCALL = "syscall_or_cpuset"

_FTRACE_HEAD = """\
# tracer: nop
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""


class Migration(NamedTuple):
    """One batch that went through the engine, as `migrations` finds it in a trace."""

    time: int
    """Steps made on the machine when it ended."""
    pid: int
    call: int
    succeeded: int
    failed: int
    reason: str
    """Who asked for it, as the tracepoint calls it."""


def vmstat_text(system: System) -> str:
    """Return the text of ``/proc/vmstat``: one counter a line."""
    return "".join(f"{name} {value}\n" for name, value in system.core.vmstat().items())


def zoneinfo_text(system: System) -> str:
    """Return the text of ``/proc/zoneinfo``: every zone with its watermarks and counters."""
    blocks = []
    for node, kind, first, spanned, present, marks, counters in system.core.zone_rows():
        counted = dict(counters)
        rows = zip(("min", "low", "high"), marks, strict=True)
        lines = [
            f"Node {node}, zone {_ZONE_NAMES[ZoneKind(kind)]:>8}",
            f"  pages free     {counted['nr_free_pages']}",
            *(f"        {name:<8} {pages}" for name, pages in rows),
            f"        spanned  {spanned}",
            f"        present  {present}",
            *(f"    {name:<12} {value}" for name, value in counted.items()),
            f"  start_pfn:         {first}",
        ]
        blocks.append("".join(f"{line}\n" for line in lines))
    return "".join(blocks)


def migrations(trace: Trace) -> tuple[Migration, ...]:
    """Return the batches that a recorded trace shows, in the order in which they ended.

    A page counts by its last attempt; one that was never tried, because there was no memory, does
    not count.
    """
    return tuple(_migrations(trace))


def _migrations(events: Iterable[Event]) -> Iterator[Migration]:
    pages: dict[int, dict[int, bool]] = {}
    reasons: dict[int, str] = {}
    for event in events:
        reason = next((name for label, name in _REASONS if event.label.startswith(label)), None)
        if reason is not None:
            reasons[event.call] = reason
        if event.event == "attempt":
            pages.setdefault(event.call, {})[event.pfn] = event.value == 0
        elif event.event in ("step", "done") and event.label == "MP-2":
            pages.setdefault(event.call, {})
        # Putting back what is left ends a batch; a batch of many makes several such steps.
        elif event.event in ("step", "done") and event.label == "MP-5" and event.call in pages:
            ended = pages.pop(event.call).values()
            yield Migration(
                event.time,
                event.pid,
                event.call,
                sum(ended),
                len(ended) - sum(ended),
                reasons.get(event.call, _SYSCALL),
            )


def ftrace_text(system: System) -> str:
    """Return the recorded migrations as lines of ftrace's trace file.

    Virtual time has no seconds within a call: the time of a line is the number of steps made before,
    as microseconds. A task that is gone is called ``<...>``, as ftrace calls it.
    """
    alive = set(system.core.pids())
    lines = []
    for batch in migrations(Trace(system.core.trace())):
        facts = system.facts(batch.pid) if batch.pid in alive else None
        name = "<...>" if facts is None else facts.name[:15]
        cpu = 0 if facts is None else facts.cpu
        lines.append(
            f"{name:>16}-{batch.pid:<7} [{cpu:03}] ..... {batch.time // 1_000_000:5}."
            f"{batch.time % 1_000_000:06}: mm_migrate_pages: nr_succeeded={batch.succeeded} "
            f"nr_failed={batch.failed} mode=MIGRATE_SYNC reason={batch.reason}\n"
        )
    return _FTRACE_HEAD + "".join(lines)
