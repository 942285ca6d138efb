"""How cost grows: with pages, mappers of a page, mappers of a file, areas. One table.

What is shown is counted where it can be (entries, walks), and time and memory beside it. Each line is one
size ten times the last, so growth worse than linear shows as a rate that rises. Start with :func:`main`, or
``python -m benchmarks.scale``.
Options: ``--touched`` (pages of the large machine), ``--json``.

Left out: judging. ``tests/kernel/test_growth.py`` counts; this measures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pagemig as pm

from .apart import apart
from .comparators import seconds
from .machines import machine_with_heap

Line = dict[str, float | str]


def line(what: str, size: int, elapsed: float, units: float, **more: float) -> Line:
    """One measurement: nanoseconds for each of ``units``."""
    return {"what": what, "size": size, "ns_per_unit": elapsed * 1e9 / units, **more}


def pages(most: int) -> Iterator[Line]:
    """One call that moves a heap; the nanoseconds are for each page."""
    size = 1000
    while size <= most:
        _, task, heap = machine_with_heap(size)
        task.move_pages(heap, 1)
        yield line("pages of one move", size, seconds(lambda t=task, h=heap: t.move_pages(h, 0)), size)
        size *= 10


def mappers(most: int) -> Iterator[Line]:
    """A page that so many tasks map, moved; nanoseconds for each mapper."""
    tasks = 1
    while tasks <= most:
        machine, parent, heap = machine_with_heap(10)
        fork = seconds(lambda p=parent, n=tasks: [p.fork() for _ in range(n - 1)])
        before = machine.cost["unmaps"]
        moved = seconds(lambda p=parent, h=heap: p.move_pages(h, 1, scope=pm.MoveScope.SHARED))
        walked = (machine.cost["unmaps"] - before) / 10
        yield line("mappers of an anonymous page", tasks, moved, 10 * tasks, entries=walked)
        yield line("forks of a task with them", tasks, fork, tasks)
        tasks *= 10


def file_mappers(most: int) -> Iterator[Line]:
    """A file of so many areas, each on a page of its own; moving one page must meet one area."""
    areas = 1
    while areas <= most:
        machine = pm.Machine(nodes=[pm.GiB] * 2)
        file = machine.create_file("file", areas * pm.PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
        task = machine.spawn()
        first = task.mmap(pm.PAGE_SIZE, file=file, shared=True)
        task.touch(first, write=False)
        made = seconds(
            lambda t=task, f=file, n=areas: [
                t.mmap(pm.PAGE_SIZE, file=f, offset=page * pm.PAGE_SIZE, shared=True) for page in range(1, n)
            ]
        )
        task.move_pages(first, 1)
        moved = seconds(lambda t=task, r=first: [t.move_pages(r, turn % 2) for turn in range(100)])
        yield line("areas of a file, one page moved", areas, moved, 100)
        yield line("areas of a file, made", areas, made, areas)
        areas *= 10


def file_tasks(most: int) -> Iterator[Line]:
    """A file that so many tasks map, all of its pages moved; nanoseconds for each mapping of a page."""
    tasks = 1
    while tasks <= most:
        machine = pm.Machine(nodes=[pm.GiB] * 2)
        file = machine.create_file("file", 16 * pm.PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
        for _ in range(tasks):
            task = machine.spawn()
            region = task.mmap(16 * pm.PAGE_SIZE, file=file, shared=True)
            task.touch(region, write=False)
        moved = seconds(lambda t=task, r=region: t.move_pages(r, 1, scope=pm.MoveScope.SHARED))
        yield line("tasks that map a file", tasks, moved, 16 * tasks)
        everyone = machine.tasks
        yield line("their exits", tasks, seconds(lambda all=everyone: [t.exit() for t in all]), tasks)
        tasks *= 10


def areas_of_a_task(most: int) -> Iterator[Line]:
    """A task of so many areas: made, touched, looked up in random order, unmapped."""
    for size in (60, 600, 6_000, 60_000):
        if size > most:
            return
        machine = pm.Machine(nodes=[2 * pm.GiB] * 2)
        task = machine.spawn()
        regions: list[pm.Region] = []
        make = seconds(lambda t=task, n=size, r=regions: r.extend(t.mmap(pm.PAGE_SIZE) for _ in range(n)))
        yield line("areas of a task, made", size, make, size)
        starts = [region.start for region in regions]
        touched = seconds(lambda t=task, s=starts: t.touch(s))
        yield line("areas of a task, touched", size, touched, size)
        moved = seconds(lambda t=task, s=starts: t.move_pages(s, 1))
        yield line("areas of a task, moved", size, moved, size)
        gone = seconds(lambda t=task, r=regions: [t.munmap(region) for region in r])
        yield line("areas of a task, unmapped", size, gone, size)


def pieces_of_a_heap(most: int) -> Iterator[Line]:
    """A heap cut into so many areas, all on one list: cut, moved, unmapped."""
    for size in (60, 600, 6_000, 60_000):
        if size > most:
            return
        machine = pm.Machine(nodes=[2 * pm.GiB] * 2)
        task = machine.spawn()
        heap = task.mmap(size * pm.PAGE_SIZE)
        task.touch(heap)
        every_other = [heap[page : page + 1] for page in range(0, size, 2)]
        cut = seconds(lambda t=task, r=every_other: [t.mprotect(piece, pm.Protection.READ) for piece in r])
        yield line("pieces of a heap, cut", size, cut, size)
        moved = seconds(lambda t=task, h=heap: t.move_pages(h, 1))
        yield line("pieces of a heap, moved", size, moved, size)
        gone = seconds(lambda t=task, h=heap: t.munmap(h))
        yield line("pieces of a heap, unmapped", size, gone, size)


_LARGE = """
machine = pm.Machine(nodes=[512 * pm.GiB] * 2)
task = machine.spawn()
heap = task.mmap({pages} * pm.PAGE_SIZE)
task.touch(heap)
touched = resident() - before
move = time.perf_counter()
assert (task.move_pages(heap, 1) == 1).all()
print(touched, time.perf_counter() - move)
"""


def large(touched: int) -> Iterator[Line]:
    """A machine of 1 TiB, so many pages of it touched, and one call that moves them."""
    elapsed, moved, printed = apart(_LARGE.format(pages=touched))
    resident, move = (float(word) for word in printed.split())
    yield line("pages touched of 1 TiB", touched, elapsed - move, touched, bytes_per_page=resident / touched)
    both = (moved or 0) / touched
    yield line("the same, moved by one call", touched, move, touched, bytes_per_page=both)


def measured(touched: int, progress: Callable[[Line], object]) -> list[Line]:
    """Everything, line by line."""
    lines = []
    for part in (
        pages(min(touched, 10**7)),
        mappers(1000),
        file_mappers(10_000),
        file_tasks(1000),
        areas_of_a_task(60_000),
        pieces_of_a_heap(60_000),
        large(touched),
    ):
        for one in part:
            progress(one)
            lines.append(one)
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument("--touched", type=int, default=20_000_000, help="pages of the large machine")
    parser.add_argument("--json", type=Path, help="write the lines to this file, too")
    chosen = parser.parse_args(arguments)

    def show(one: Line) -> None:
        rest = {name: value for name, value in one.items() if name not in ("what", "size", "ns_per_unit")}
        more = "  ".join(f"{name} {value:,.1f}" for name, value in rest.items())
        print(f"{one['what']:35} {one['size']:>12,} {one['ns_per_unit']:>14,.1f} ns  {more}", flush=True)

    lines = measured(chosen.touched, show)
    if chosen.json:
        chosen.json.write_text(json.dumps(lines, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
