"""Machines with a heap on them, as every benchmark wants them.

Start with :func:`machine_with_heap`. Orders come from a seeded generator, so that two commits are
asked to do the same work.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import pagemig as pm

PAGES = (1_000, 10_000, 100_000, 1_000_000)

SEED = 20100516


def bytes_for(pages: int) -> int:
    """The size of a node that has room for a heap, its page tables' worth of slack and the watermarks."""
    return (pages + pages // 8 + 4096) * pm.PAGE_SIZE


def machine_with_heap(
    pages: int, *, contents: bool = False, touched: bool = True
) -> tuple[pm.Machine, pm.Task, pm.Region]:
    """A machine of two nodes, a task on node 0, and its heap there."""
    machine = pm.Machine(nodes=[bytes_for(pages)] * 2, contents=contents)
    task = machine.spawn("bench")
    heap = task.mmap(pages * pm.PAGE_SIZE)
    if touched:
        task.touch(heap)
    return machine, task, heap


def shuffled(heap: pm.Region, seed: int = SEED) -> npt.NDArray[np.uint64]:
    """The heap's pages in a random order, the same one each time for one seed."""
    return np.random.default_rng(seed).permutation(heap.addresses)


def machine_with_file(pages: int, filesystem: pm.FileSystem) -> tuple[pm.Machine, pm.Task, pm.Region]:
    """A machine of two nodes, a task on node 0, and a clean file mapped there, all of it in memory."""
    machine = pm.Machine(nodes=[bytes_for(pages)] * 2)
    task = machine.spawn("bench")
    file = machine.create_file("bench", pages * pm.PAGE_SIZE, filesystem=filesystem)
    area = task.mmap(pages * pm.PAGE_SIZE, file=file, shared=True)
    task.touch(area, write=False)
    return machine, task, area


def pin_all(task: pm.Task, heap: pm.Region) -> None:
    """Take one reference on every page, as direct I/O would: none of them can move any more."""
    for address in heap.addresses.tolist():
        task.pin(address)
