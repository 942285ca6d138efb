"""Steps of a scenario that reach beyond its machine: frames, CPUs, addresses and files that are not there.

Start with `reach`. Only what the page itself shows is told here, when it is read. What a call may well be
made to fail with, an errno, is no mistake: asking for a node without memory or a task that is gone is what
some scenarios are about.

Neighbours: `pagemig.scenario.fitting` for the machine, `pagemig.scenario.checking`, which asks both.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from ..flags import FILE_BYTES_MAX, PAGE_SIZE, USER_END
from ..machine import Machine
from . import naming
from .call_steps import MigrateFrames, Mremap, Offline, Pin, Read, ReadFile, SwapOut, Write, WriteFile
from .fitting import Facts, Mistake, Place, spans
from .mapped import Mapped
from .model import Page
from .naming import nearest, told
from .part import Step
from .setup_steps import SetTask

_IN_MEMORY = frozenset(
    {"touch", "read", "write", "fork", "mmap", "munmap", "mprotect", "mremap", "madvise", "mlock", "munlock"}
    | {"swap_out", "pin"}
)
"""What needs memory of the one who does it."""


def reach(page: Page) -> Iterator[Mistake]:
    """Return what the steps and expectations of a page name that its machine cannot have."""
    facts = Facts.of(page.machine)
    pages = page_counts(page)
    threads = {name for name, task in page.tasks.items() if task.kernel_thread}
    for kind, steps in (("setup", page.setup), ("calls", page.calls)):
        for position, step in enumerate(steps):
            where: Place = (kind, position)
            if step.by in threads and str(getattr(step, "do", "")) in _IN_MEMORY:
                yield (*where, "by"), f"{step.by!r} is a kernel thread, which has no memory of its own"
            yield from _frames(step, where, facts)
            yield from _addresses(step, where)
            yield from _rest(step, where, facts, pages)
    yield from _expected(page, facts)


def _frames(step: Step, where: Place, facts: Facts) -> Iterator[Mistake]:
    # The number after the last is the zero page: it can be looked at, but never moves.
    is_moved = getattr(step, "do", "") in ("soft_offline", "migrate_frames")
    last = facts.frames - is_moved
    for field in ("pfn", "pfns"):
        for text in listed(getattr(step, field, None)):
            number = naming.number_in(text)
            if number is not None and number > last:
                yield (*where, field), f"there is no frame {number}; the machine has 0 to {facts.frames - 1}"
    if isinstance(step, MigrateFrames) and step.node is not None and not facts.memory.get(step.node):
        yield (
            (*where, "node"),
            f"node {step.node} has no memory; nodes that have are {', '.join(map(str, facts.with_memory))}",
        )
    if not isinstance(step, Offline):
        return
    first, count = step.first_pfn or 0, step.count or 0
    if step.node is not None:
        first = facts.first_frame(step.node)
        if not facts.memory.get(step.node):
            yield (*where, "node"), f"node {step.node} has no memory that could go offline"
    if first + count > facts.frames:
        yield (
            (*where, "count"),
            f"{count} frames from frame {first} on; the machine has 0 to {facts.frames - 1}",
        )


def _addresses(step: Step, where: Place) -> Iterator[Mistake]:
    if not isinstance(step, (Read, Write, Pin, SwapOut)):
        return
    size = step.size if isinstance(step, Read) else len(step.data.encode()) if isinstance(step, Write) else 1
    for text in listed(step.address):
        number = naming.number_in(text)
        if number is not None and number + size > USER_END:
            yield (
                (*where, "address"),
                f"{told(size)} at {number:#x} leave user space, which ends at {USER_END:#x}",
            )


def _rest(step: Step, where: Place, facts: Facts, pages: dict[str, int]) -> Iterator[Mistake]:
    if isinstance(step, Mapped):
        yield from spans(step, where)
    if isinstance(step, SetTask):
        yield from facts.cpu(step.cpu, (*where, "cpu"))
        yield from facts.allowed(step.mems_allowed, (*where, "mems_allowed"))
    if isinstance(step, Mremap) and step.to is not None:
        length = (
            -(-(step.length or PAGE_SIZE * (counted((step.region,), pages) or 1)) // PAGE_SIZE) * PAGE_SIZE
        )
        if step.to + length > USER_END:
            yield (
                (*where, "to"),
                f"{told(length)} at {step.to:#x} leave user space, which ends at {USER_END:#x}",
            )
    if isinstance(step, (ReadFile, WriteFile)):
        size = step.size if step.size is not None else len(str(getattr(step, "data", "")).encode())
        if step.offset + size > FILE_BYTES_MAX:
            yield (
                (*where, "offset"),
                f"{told(size)} from {told(step.offset)} on end beyond {told(FILE_BYTES_MAX)}; no file does",
            )


@cache
def _counters() -> tuple[frozenset[str], frozenset[str]]:
    """The counters that there are: of a machine, and of a node. They are the same everywhere."""
    smallest = Machine(nodes=[PAGE_SIZE])
    return frozenset(smallest.vmstat()), frozenset(smallest.zone_counters(0))


def _expected(page: Page, facts: Facts) -> Iterator[Mistake]:
    for position, told_page in enumerate(page.expect.pages):
        yield from _seen(told_page.node, ("expect", "pages", position, "node"), facts)
    for position, place in enumerate(page.expect.frames):
        where: Place = ("expect", "frames", position)
        yield from _seen(place.node, (*where, "node"), facts)
        number = naming.number_in(place.frame)
        if number is not None and number > facts.frames:
            yield (*where, "frame"), f"there is no frame {number}; the machine has 0 to {facts.frames - 1}"
    for position, counter in enumerate(page.expect.counters):
        known = _counters()[counter.node is not None]
        if counter.name not in known:
            close = nearest(counter.name, sorted(known))
            yield ("expect", "counters", position, "name"), f"there is no counter {counter.name!r}{close}"
    for position, stored in enumerate(page.expect.bytes):
        if naming.number_in(stored.at) is not None:
            yield ("expect", "bytes", position, "at"), "say whose address it is: a page of a region"


def _seen(node: int | None, where: Place, facts: Facts) -> Iterator[Mistake]:
    if node is not None and node >= 0 and node not in facts.memory:
        yield where, f"there is no node {node}; the machine has {', '.join(map(str, facts.memory))}"


def listed(value: object) -> tuple[str, ...]:
    """Return a reference, or several, as several."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, tuple) else ()


# how many pages -------------------------------------------------------------------------


def page_counts(page: Page) -> dict[str, int]:
    """Return the pages of every region whose size is written in the scenario."""
    counts = {}
    mapped = [(name, region.size, region.pages) for name, region in page.regions.items()]
    mapped += [
        (str(getattr(step, "name", "")), getattr(step, "size", None), getattr(step, "pages", None))
        for step in page.setup
        if getattr(step, "do", "") == "mmap"
    ]
    for name, size, pages in mapped:
        counts[name] = int(pages) if pages is not None else -(-int(size or 0) // PAGE_SIZE)
    return counts


def counted(asked: tuple[str, ...], pages: dict[str, int]) -> int | None:
    """Return how many pages references mean; None if that shows only when it runs."""
    count = 0
    for text in asked:
        found = None if naming.number_in(text) is not None else naming.parse(text)
        if found is None or found.offset:
            count += 1
        elif found.first is not None and found.stop is not None:
            count += found.stop - found.first
        elif found.name in pages:
            count += pages[found.name]
        else:
            return None
    return count
