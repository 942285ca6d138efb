"""Files, time and reclaim on both sides.

Start with :class:`Files`, a part of :class:`tests.properties.twin.Twin`.
"""

from __future__ import annotations

import dataclasses

import pagemig as pm
from tests.reference import filesystems as ours
from tests.reference.memory import Flag

from .twin_base import Sides

FILES_MAX = 6
FILE_PAGES = 26
BY_HAND = (pm.PageFlags.CHECKED, pm.PageFlags.MAPPEDTODISK, pm.PageFlags.ERROR, pm.PageFlags.REFERENCED)

SLOW_EXT = dataclasses.replace(ours.EXT, name="slow", io_ticks=7)
CUSTOM = (
    ours.EXT,
    ours.TMPFS,
    ours.BLOCKDEV,
    ours.RAMFS,
    ours.READONLY,
    ours.FAILING,
    ours.PLAIN,
    SLOW_EXT,
    dataclasses.replace(ours.BLOCKDEV, name="noisy", write_script=("activate", 5, "io-error", "well", 28)),
    dataclasses.replace(ours.PLAIN, name="told", page_mkwrite=True, accounts_dirty=False, io_ticks=3),
    dataclasses.replace(ours.EXT, name="scripted", migrate=-5, buffer_bytes=2048, failing_reads=1),
    dataclasses.replace(
        ours.PLAIN, name="unread", failing_reads=2, write_script=("io-error",), congested=True
    ),
    dataclasses.replace(ours.EXT, name="low", below_policy_zone=True),
    dataclasses.replace(ours.PLAIN, name="odd", migrate=7),
)


def for_package(filesystem: ours.FileSystem) -> pm.FileSystem:
    """The same filesystem in the package's words."""
    script = tuple(
        outcome if isinstance(outcome, int) else pm.filesystems.WriteOutcome(outcome)
        for outcome in filesystem.write_script
    )
    migrate = filesystem.migrate
    return pm.FileSystem(
        filesystem.name,
        migrate if isinstance(migrate, int) else pm.filesystems.MigrateMethod(migrate),
        pm.filesystems.WriteMethod(filesystem.write),
        pm.filesystems.DirtyMethod(filesystem.dirtying),
        pm.filesystems.ReleaseMethod(filesystem.release),
        accounts_dirty=filesystem.accounts_dirty,
        swap_backed=filesystem.swap_backed,
        unevictable=filesystem.unevictable,
        buffer_bytes=filesystem.buffer_bytes,
        page_mkwrite=filesystem.page_mkwrite,
        congested=filesystem.congested,
        write_script=script,
        failing_reads=filesystem.failing_reads,
        io_ticks=filesystem.io_ticks,
        area_migrate=filesystem.area_migrate,
        below_policy_zone=filesystem.below_policy_zone,
    )


class Files(Sides):
    """Files and their pages, writes that take time, and reclaim."""

    def create_file(self, kind: int, size: int) -> None:
        """A new file of some filesystem; its end need not be a page's."""
        if len(self.files) >= FILES_MAX:
            return
        filesystem = CUSTOM[kind % len(CUSTOM)]
        length = size % FILE_PAGES * 4096 + (size * 37 % 4096 if size % 3 == 1 else 0)
        number = self.reference.create_file(f"file {len(self.files)}", length, filesystem)
        file = self.machine.create_file(f"file {len(self.files)}", length, filesystem=for_package(filesystem))
        self._agree(number, file.number, "create_file")
        self.files.append(file)
        self._compare(f"create_file {number} {filesystem.name} {length:#x}")

    def _file(self, which: int) -> pm.File | None:
        return self.files[which % len(self.files)] if self.files else None

    def read_file(self, which: int, who: int, offset: int, size: int) -> None:
        """Read bytes, by a task or the kernel."""
        file = self._file(which)
        if file is None:
            return
        pid = self._by(who)
        at, many = offset * 97 % (FILE_PAGES * 4096), size * 61 % 40000
        got = self.reference.read_file(file.number, at, many, by=pid)
        theirs: object
        try:
            theirs = file.read(at, many, by=self.tasks.get(pid))
        except OSError as error:
            theirs = -(error.errno or 0)
        said = f"read {file.number} {at:#x} +{many:#x} by {pid}"
        self._agree(got, theirs, said)
        self._compare(said)

    def write_file(self, which: int, who: int, offset: int, size: int) -> None:
        """Write bytes, which may make the file longer."""
        file = self._file(which)
        if file is None:
            return
        pid = self._by(who)
        at, many = offset * 97 % (FILE_PAGES * 4096), size * 53 % 20000
        if size % 4 == 0:
            at, many = at & ~4095, many & ~4095
        data = bytes((offset + each) % 251 for each in range(many))
        written = self.reference.write_file(file.number, at, many, data, by=pid)
        try:
            theirs = file.write(at, data, by=self.tasks.get(pid))
        except OSError as error:
            theirs = -(error.errno or 0)
        said = f"write {file.number} {at:#x} +{many:#x} by {pid}"
        self._agree(written, theirs, said)
        self._compare(said)

    def truncate(self, which: int, who: int, size: int) -> None:
        """Cut a file off, or make it longer."""
        file = self._file(which)
        if file is None:
            return
        pid = self._by(who)
        length = size % FILE_PAGES * 4096 + (size * 41 % 4096 if size % 3 == 1 else 0)
        self.reference.truncate(file.number, length, by=pid)
        file.truncate(length, by=self.tasks.get(pid))
        self._compare(f"truncate {file.number} {length:#x} by {pid}")

    def look_up(self, which: int, who: int, page: int) -> None:
        """Look a page up, and keep the reference as a pin."""
        file, pid = self._file(which), self._who(who)
        if file is None or pid is None or len(self.pins) >= 6:
            return
        ours = self.reference.look_up(file.number, page % FILE_PAGES)
        theirs = file.lookup(page % FILE_PAGES, by=self.tasks[pid])
        self._agree(ours, theirs, "lookup")
        if theirs is not None:
            self.pins.append((pid, theirs))
        self._compare(f"lookup {file.number} {page % FILE_PAGES}")

    def write_back(self, which: int, page: int) -> None:
        """Start to write a page; the first dirty one at or after ``page``."""
        file = self._file(which)
        if file is None:
            return
        pages = self.reference.state.files[file.number].pages
        dirty = [index for index in sorted(pages) if pages[index].has(Flag.DIRTY)]
        index = next((index for index in dirty if index >= page % FILE_PAGES), page % FILE_PAGES)
        result = self.reference.write_back(file.number, index)
        try:
            theirs = int(file.writeback(index))
        except OSError as error:
            theirs = -(error.errno or 0)
        said = f"writeback {file.number} {index}"
        self._agree(result, theirs, said)
        self._compare(said)

    def invalidate(self, which: int, who: int, page: int) -> None:
        """Drop a page if it is clean and unused."""
        file = self._file(which)
        if file is None:
            return
        pages = sorted(self.reference.state.files[file.number].pages)
        index = pages[page % len(pages)] if pages else page
        pid = self._by(who)
        gone = self.reference.invalidate(file.number, index, by=pid)
        theirs = file.invalidate(index, by=self.tasks.get(pid))
        self._agree(gone, theirs, f"invalidate {file.number} {index}")
        self._compare(f"invalidate {file.number} {index} -> {gone}")

    def hold_buffer(self, which: int, page: int, at: int) -> None:
        """Keep a buffer busy for a while."""
        file = self._file(which)
        if file is None or len(self.held) >= 3:
            return
        pages = self.reference.state.files[file.number].pages
        found = [index for index in sorted(pages) if pages[index].buffers]
        if found:
            index = found[page % len(found)]
            at %= len(pages[index].buffers)
            file.hold_buffer(index, at)
            pages[index].buffers[at].count += 1
            self.held.append(pages[index].buffers[at])
            self._compare(f"hold buffer {at} of {file.number} {index}")

    def release_buffer(self, which: int) -> None:
        """Let a buffer go, wherever its page is."""
        if self.held:
            buffer = self.held.pop(which % len(self.held))
            frame = next(f for f in self.reference.state.memory.frames if buffer in f.buffers)
            self.machine._system.core.release_buffer(frame.pfn, frame.buffers.index(buffer))
            buffer.count -= 1
            self._compare("release buffer")

    def flag_page(self, which: int, flag: int, on: int) -> None:
        """Set a flag as a filesystem might."""
        frames = [frame for frame in self.reference.state.memory.frames if frame.count]
        if frames:
            frame = frames[which % len(frames)]
            name = BY_HAND[flag % len(BY_HAND)]
            self.machine.set_page_flag(frame.pfn, name, bool(on % 4))
            bit = Flag(int(name))
            frame.flags = frame.flags | bit if on % 4 else frame.flags & ~bit
            self._compare(f"flag {frame.pfn} {name!r} {on % 4}")

    # time and reclaim --------------------------------------------------------------------

    def advance(self, ticks: int) -> None:
        """Let time pass."""
        self.machine.advance(ticks)
        self.reference.advance(ticks)
        self._compare(f"advance {ticks}")

    def complete_io(self) -> None:
        """End one transfer."""
        self._agree(self.reference.complete_io(), self.machine.complete_io(), "complete_io")
        self._compare("complete_io")

    def swap_out(self, who: int, pages: list[int], times: int) -> None:
        """Reclaim single pages, some of them twice."""
        pid = self._who(who)
        present = sorted(self.reference.task(pid).memory_map.entries) if pid is not None else []
        if pid is None or not present:
            return
        for page in pages[:12]:
            address = present[page % len(present)]
            for _ in range(times % 3 + 1):
                ours = self.reference.swap_out(pid, address)
                theirs = self.tasks[pid].swap_out([address])
                self._agree(int(ours), theirs, f"swap_out {pid} {address:#x}")
                self._compare(f"swap_out {pid} {address:#x} -> {ours}")

    def reclaim(self, node: int, pages: int, family: int) -> None:
        """Scan an inactive list."""
        node, pages = node % len(self.machine.nodes), pages + 1
        kind = pm.PageFamily.ANON if family % 2 else pm.PageFamily.FILE
        ours = self.reference.reclaim(node, pages, anonymous=bool(family % 2))
        theirs = self.machine.reclaim(node, pages, family=kind)
        said = f"reclaim {node} {pages} {kind!r}"
        self._agree(ours, theirs, said)
        self._compare(f"{said} -> {ours}")

    def _by(self, who: int) -> int:
        """A task, or the kernel now and then."""
        pid = self._who(who // 5) if who % 5 else None
        return 0 if pid is None else pid
