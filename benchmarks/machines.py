"""Machines with a heap on them, as every benchmark wants them.

Start with :func:`machine_with_heap`. Orders come from a seeded generator, so that two commits are
asked to do the same work.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

import pagemig as pm

# From a thousand to ten million. A quick run stays short because the largest are asked for by name:
# PAGEMIG_BENCH_LARGEST=10000000 asv run ...
LARGEST = int(os.environ.get("PAGEMIG_BENCH_LARGEST", "100000"))
PAGES = tuple(pages for pages in (10**3, 10**4, 10**5, 10**6, 10**7) if pages <= LARGEST)

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


def machine_with_shared(pages: int, mappers: int) -> tuple[pm.Machine, pm.Task, pm.Region]:
    """The same heap, mapped by a task and its children."""
    machine, task, heap = machine_with_heap(pages)
    for _ in range(mappers - 1):
        task.fork()
    return machine, task, heap


def machine_with_swap_cache(pages: int) -> tuple[pm.Machine, pm.Task, pm.Region]:
    """A heap that went out to swap and was read back: its pages are in the swap cache."""
    room = bytes_for(pages)
    machine = pm.Machine(nodes=[room] * 2, swap=room)
    task = machine.spawn("bench")
    heap = task.mmap(pages * pm.PAGE_SIZE)
    task.touch(heap)
    machine.drain()
    task.swap_out(heap)
    task.touch(heap, write=False)
    return machine, task, heap
