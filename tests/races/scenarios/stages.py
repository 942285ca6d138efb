"""Stages beside that of two tasks and their heap: a page of a file, a page of the swap cache.

Start with :func:`file_page`. What is played on them is driven by ``tests.races.stage``, whose
functions take any of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import pagemig as pm

PAGE = pm.PAGE_SIZE
PLAIN = pm.FileSystem("plain", pm.MigrateMethod.PAGE)
"""Moved by ``migrate_page``: no buffers, dirty pages are counted."""
WRITTEN_FIRST = pm.FileSystem("written first")
"""No migrate method: clean pages move, dirty ones are written first (WO)."""
SLOT = pm.SwapEntry(0, 1)
"""The first slot of swap."""


@dataclass(frozen=True)
class Playground:
    """A machine alone, for what is driven on it."""

    machine: pm.Machine


@dataclass(frozen=True)
class FileStage:
    """A file, or a cut-out of one, that ``app`` maps shared; its first page is in the cache on node 0."""

    machine: pm.Machine
    app: pm.Task
    other: pm.Task
    """Somebody who maps nothing."""
    file: pm.File
    area: pm.Region
    """In the memory of ``app``."""
    old: int
    """The frame that the first page is in before the race."""

    @property
    def address(self) -> int:
        """Of the first page."""
        return self.area.start

    def mover(self) -> pm.Call:
        """Start a ``move_pages`` of the first page to node 1."""
        return self.machine.start(pm.calls.move_pages(self.area[:1], 1), by=self.app)

    def frame_mover(self) -> pm.Call:
        """Start a move of the frame to node 1, as memory offlining does: through nobody's mm."""
        return self.machine.start(pm.calls.migrate_frames([self.old], pm.ToNode(1)), by=self.other)

    def truncation(self, size: int = 0) -> pm.Call:
        """Start a truncation of the file."""
        return self.machine.start(pm.calls.truncate(self.file, size), by=self.other)

    def counts(self, pfn: int | None = None) -> tuple[int, int]:
        """Count and map count of a frame, the old one if none is named."""
        frame = self.machine.frame(self.old if pfn is None else pfn)
        return frame.count, frame.mapcount

    def new_frame(self) -> int:
        """The frame that the file's first page is in now."""
        pfn = self.file.pfn_of(0)
        assert pfn is not None
        return pfn


def file_page(
    *,
    filesystem: pm.FileSystem = PLAIN,
    write: bool = False,
    pages: int = 1,
    nodes: tuple[int, ...] = (64, 64),
    profile: pm.Profile = pm.Profile.EXACT,
    charged: bool = False,
) -> FileStage:
    """A file, mapped once, its first page drained to its list; it says ``page`` if it was written."""
    machine = pm.Machine(nodes=[frames * PAGE for frames in nodes], cpus=2, contents=True, profile=profile)
    group = machine.create_memcg("group") if charged else None
    app = machine.spawn("app", stack=False, memcg=group)
    other = machine.spawn("other", stack=False)
    file = machine.create_file("data", pages * PAGE, filesystem=filesystem)
    area = app.mmap(pages * PAGE, file=file, shared=True)
    if write:
        file.write(0, b"page" + bytes(PAGE - 4), by=app)
    app.touch(area[:1], write=write)
    machine.drain()
    pfn = file.pfn_of(0)
    assert pfn is not None
    return FileStage(machine, app, other, file, area, pfn)


@dataclass(frozen=True)
class SwapStage:
    """A page of ``app`` that was swapped out and read back: mapped read-only, and in the swap cache."""

    machine: pm.Machine
    app: pm.Task
    other: pm.Task
    """Somebody who maps nothing."""
    page: pm.Region
    old: int
    """The frame that it is in before the race."""

    @property
    def address(self) -> int:
        """Of the page."""
        return self.page.start

    def mover(self) -> pm.Call:
        """Start a move of the frame to node 1, through nobody's mm."""
        return self.machine.start(pm.calls.migrate_frames([self.old], pm.ToNode(1)), by=self.other)

    def counts(self, pfn: int | None = None) -> tuple[int, int]:
        """Count and map count of a frame, the old one if none is named."""
        frame = self.machine.frame(self.old if pfn is None else pfn)
        return frame.count, frame.mapcount

    def slot(self) -> pm.SwapSlot:
        """The slot that the page has in swap."""
        return self.machine.swap_slot(SLOT)

    def frame(self) -> pm.FrameInfo:
        """The frame that ``app`` maps."""
        found = self.app.page_at(self.address)
        assert found is not None
        return found


def swap_machine(
    *, nodes: tuple[int, ...] = (64, 64), slots: int = 16
) -> tuple[pm.Machine, pm.Task, pm.Task]:
    """A machine with swap, a task for memory and one without."""
    machine = pm.Machine(nodes=[frames * PAGE for frames in nodes], contents=True, swap=slots * PAGE)
    app, other = (machine.spawn(name, stack=False) for name in ("app", "other"))
    return machine, app, other


def swap_cache_page(*, nodes: tuple[int, ...] = (64, 64)) -> SwapStage:
    """One anonymous page that says ``page``, mapped once, count 2, slot 1 with no other user."""
    machine, app, other = swap_machine(nodes=nodes)
    page = app.mmap(PAGE)
    app.write(page.start, b"page")
    machine.drain()
    assert app.swap_out(page) == 1
    assert app.touch(page, write=False).major == 1
    machine.drain()
    found = app.page_at(page.start)
    assert found is not None
    assert (found.count, found.mapcount) == (2, 1)
    assert pm.PageFlags.SWAPCACHE in found.flags
    return SwapStage(machine, app, other, page, found.pfn)
