"""Moving pages of every kind: of files, with buffers, in the swap cache, mapped by many.

One call a sample, as in :mod:`benchmarks.move_pages`, which has the private anonymous ones. The machines are
made in :mod:`benchmarks.machines`.
"""

from __future__ import annotations

import pagemig as pm

from .machines import (
    LARGEST,
    PAGES,
    machine_with_file,
    machine_with_heap,
    machine_with_shared,
    machine_with_swap_cache,
    shuffled,
)

KINDS = ("shared memory", "file", "file with buffers", "swap cache", "copy on write")


def machine_of(kind: str, pages: int) -> tuple[pm.Machine, pm.Task, pm.Region]:
    """A machine whose task has so many pages of a kind."""
    if kind == "shared memory":
        return machine_with_file(pages, pm.filesystems.TMPFS)
    if kind == "file":
        return machine_with_file(pages, pm.filesystems.RAMFS)
    if kind == "file with buffers":
        return machine_with_file(pages, pm.filesystems.EXT)
    if kind == "swap cache":
        return machine_with_swap_cache(pages)
    return machine_with_shared(pages, 2)


class MoveKind:
    """All pages of one kind to the other node."""

    params = (PAGES[:4], KINDS, ("address", "random"))
    param_names = ("pages", "kind", "order")
    number = 1
    rounds = 2
    repeat = (1, 3, 5.0)
    timeout = 600

    def setup(self, pages: int, kind: str, order: str) -> None:
        """A fresh machine."""
        _, self.task, region = machine_of(kind, pages)
        self.where = region.addresses if order == "address" else shuffled(region)

    def time_to_other_node(self, pages: int, kind: str, order: str) -> None:
        """One call."""
        self.task.move_pages(self.where, 1, scope=pm.MoveScope.SHARED)


class MoveMapped:
    """A page costs what its mappers cost, and no more."""

    params = (tuple(tasks for tasks in (1, 10, 100, 1000) if tasks <= LARGEST // 100),)
    param_names = ("mappers",)
    number = 1
    rounds = 2
    timeout = 600
    pages = 100

    def setup(self, mappers: int) -> None:
        """A heap, and so many tasks that map all of it."""
        self.machine, self.task, self.heap = machine_with_shared(self.pages, mappers)

    def time_to_other_node(self, mappers: int) -> None:
        """One call."""
        self.task.move_pages(self.heap, 1, scope=pm.MoveScope.SHARED)

    def track_unmaps(self, mappers: int) -> float:
        """Entries replaced, for each page."""
        before = self.machine.cost["unmaps"]
        self.task.move_pages(self.heap, 1, scope=pm.MoveScope.SHARED)
        return (self.machine.cost["unmaps"] - before) / self.pages

    track_unmaps.unit = "entries/page"


class MigrateTask:
    """``migrate_pages(2)``: found by walking tables rather than by address."""

    params = (PAGES,)
    param_names = ("pages",)
    number = 1
    rounds = 2
    timeout = 600

    def setup(self, pages: int) -> None:
        """A fresh heap."""
        _, self.task, _ = machine_with_heap(pages)

    def time_migrate_pages(self, pages: int) -> None:
        """Everything on node 0 to node 1."""
        self.task.migrate_pages(None, [0], [1])


class Faults:
    """Faults other than a first write."""

    params = (PAGES[:4], ("zero page", "file", "copy on write", "swap in"))
    param_names = ("pages", "fault")
    number = 1
    rounds = 2
    timeout = 600

    def setup(self, pages: int, fault: str) -> None:
        """Memory that is one touch away from the fault."""
        self.is_write = fault in ("copy on write", "swap in")
        if fault == "zero page":
            _, self.task, self.region = machine_with_heap(pages, touched=False)
        elif fault == "file":
            machine, self.task, region = machine_with_file(pages, pm.filesystems.TMPFS)
            self.region = self.task.mmap(region.length, file=machine.file("bench"), shared=True)
        elif fault == "copy on write":
            _, self.task, self.region = machine_with_shared(pages, 2)
        else:
            machine, self.task, self.region = machine_with_swap_cache(pages)
            machine.drain()
            self.task.swap_out(self.region)

    def time_touch(self, pages: int, fault: str) -> None:
        """One fault a page."""
        self.task.touch(self.region, write=self.is_write)


class Unmap:
    """The end of memory."""

    params = (PAGES, ("munmap", "exit"))
    param_names = ("pages", "verb")
    number = 1
    rounds = 2
    timeout = 600

    def setup(self, pages: int, verb: str) -> None:
        """A heap to lose."""
        _, self.task, self.heap = machine_with_heap(pages)

    def time_end(self, pages: int, verb: str) -> None:
        """Entries cleared, frames freed."""
        if verb == "exit":
            self.task.exit()
        else:
            self.task.munmap(self.heap)
