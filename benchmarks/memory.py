"""Everything a program does with its memory besides moving it: first touches, questions, forks."""

from __future__ import annotations

import pagemig as pm

from .machines import PAGES, bytes_for, machine_with_heap, shuffled


class Touch:
    """Faults on pages that were never there."""

    params = (PAGES,)
    param_names = ("pages",)
    number = 1
    rounds = 3
    timeout = 300
    contents = False

    def setup(self, pages: int) -> None:
        """A heap without a single page in it."""
        made = machine_with_heap(pages, contents=self.contents, touched=False)
        self.machine, self.task, self.heap = made

    def time_first_write(self, pages: int) -> None:
        """One write fault a page."""
        self.task.touch(self.heap)

    def peakmem_first_write(self, pages: int) -> None:
        """What a mapped page takes."""
        self.task.touch(self.heap)


class TouchBytes(Touch):
    """The same with 4096 bytes behind each page."""

    params = (PAGES[:3],)
    contents = True


class Query:
    """Asking where pages are changes nothing, so one machine serves all samples."""

    params = (PAGES, ("address", "random"))
    param_names = ("pages", "order")
    timeout = 300

    def setup(self, pages: int, order: str) -> None:
        """A heap with all its pages."""
        _, self.task, heap = machine_with_heap(pages)
        self.where = heap.addresses if order == "address" else shuffled(heap)

    def time_nodes_of_all(self, pages: int, order: str) -> None:
        """``move_pages`` without nodes."""
        self.task.move_pages(self.where)


class Fork:
    """A child that shares every page."""

    params = (PAGES,)
    param_names = ("pages",)
    number = 1
    rounds = 3
    timeout = 300

    def setup(self, pages: int) -> None:
        """A parent with a heap."""
        self.machine, self.task, self.heap = machine_with_heap(pages)

    def time_fork(self, pages: int) -> None:
        """Page tables copied, entries made read-only."""
        self.task.fork()

    def track_entries(self, pages: int) -> float:
        """Entries that fork copied, for each page."""
        before = self.machine.cost["forked_entries"]
        self.task.fork()
        return (self.machine.cost["forked_entries"] - before) / pages

    track_entries.unit = "entries/page"


class Build:
    """A machine is paid for by what is touched, not by what exists."""

    params = ((1, 64, 1024),)
    param_names = ("gib",)

    def time_build(self, gib: int) -> None:
        """Four nodes that share so many GiB."""
        pm.Machine(nodes=[gib * pm.GiB // 4] * 4)

    def peakmem_build(self, gib: int) -> None:
        """Descriptors that nobody used are not backed."""
        self.machine = pm.Machine(nodes=[gib * pm.GiB // 4] * 4)


class Clone:
    """A snapshot of a machine with a heap."""

    params = (PAGES,)
    param_names = ("pages",)

    def setup(self, pages: int) -> None:
        """The machine to copy; its size is what counts."""
        self.machine = pm.Machine(nodes=[bytes_for(pages)] * 2)
        task = self.machine.spawn("bench")
        task.touch(task.mmap(pages * pm.PAGE_SIZE))

    def time_clone(self, pages: int) -> None:
        """All of it."""
        self.machine.clone()
