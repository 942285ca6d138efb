"""A small machine with everything on it, and the operations that chance performs there.

Every operation takes small numbers and makes of them whatever is possible at the moment, so that a
failing sequence can be made short. After each, the audit must be empty and what is read must be
what the shadow says.
"""

from __future__ import annotations

import contextlib

import pagemig as pm
from pagemig import PAGE_SIZE

from .shadow import ShadowArea, ShadowFile, ShadowMemory

FILESYSTEMS = (
    pm.filesystems.EXT,
    pm.filesystems.TMPFS,
    pm.filesystems.RAMFS,
    pm.filesystems.BLOCKDEV,
    pm.filesystems.READONLY,
    pm.filesystems.FAILING,
)
TASKS_MAX = 4
FILES_MAX = 5


class World:
    """A machine, its tasks and files, and their shadows."""

    def __init__(self, *, cpus: int, profile: pm.Profile, frames: tuple[int, ...] = (72, 64, 64)) -> None:
        self.machine = pm.Machine(
            nodes=[count * PAGE_SIZE for count in frames],
            cpus=cpus,
            contents=True,
            swap=48 * PAGE_SIZE,
            profile=profile,
            pageblock_frames=8,
        )
        self.machine.watch_stores()
        self.free_at_start = self.machine.vmstat()["nr_free_pages"]
        self.tasks: list[pm.Task] = []
        self.memories: list[ShadowMemory] = []
        self.files: list[tuple[pm.File, ShadowFile]] = []
        self.value = 0
        self.group = self.machine.create_memcg("group", limit=80 * PAGE_SIZE)
        self.nodes = len(frames)
        self.offline_frames = 0
        self.spawn(0)

    # what chance names

    def task(self, which: int) -> tuple[pm.Task, ShadowMemory]:
        """One of the tasks there are."""
        at = which % len(self.tasks)
        return self.tasks[at], self.memories[at]

    def page(self, memory: ShadowMemory, which: int) -> int | None:
        """The address of one mapped page."""
        pages = sorted(memory.areas)
        return pages[which % len(pages)] if pages else None

    def run_of_pages(self, memory: ShadowMemory, which: int, count: int) -> list[int]:
        """Up to eight mapped pages in a row."""
        first = self.page(memory, which)
        run = [] if first is None else [first]
        while run and len(run) < 1 + count % 8 and run[-1] + PAGE_SIZE in memory.areas:
            run.append(run[-1] + PAGE_SIZE)
        return run

    def bytes(self) -> bytes:
        """Bytes like no others so far; every fourth time like some before, for KSM."""
        self.value += 1
        return bytes([self.value % 4 or self.value % 251])

    # tasks and their memory

    def spawn(self, which: int) -> None:
        if len(self.tasks) < TASKS_MAX:
            memcg = self.group if which % 3 == 1 else None
            task = self.machine.spawn(cpu=which % len(self.machine.cpus), memcg=memcg, stack=False)
            self.tasks.append(task)
            self.memories.append(ShadowMemory())

    def fork(self, which: int) -> None:
        if len(self.tasks) < TASKS_MAX:
            task, memory = self.task(which)
            self.tasks.append(task.fork())
            self.memories.append(memory.fork())

    def exit(self, which: int) -> None:
        if which % 4:
            return
        at = which // 4 % len(self.tasks)
        self.tasks.pop(at).exit()
        self.memories.pop(at)
        if not self.tasks:
            self.spawn(which)

    def mmap(self, which: int, count: int, kind: int) -> None:
        task, memory = self.task(which)
        pages = 1 + count % 10
        if len(memory.areas) + pages > 60:
            return
        file, shadow = self.files[kind % len(self.files)] if self.files and kind % 2 else (None, None)
        shared, writable = bool(kind & 4), bool(kind & 24)
        offset = kind % 3 if file is not None else 0
        flags = pm.VmFlags.MERGEABLE if file is None and not shared and kind & 32 else pm.VmFlags(0)
        region = task.mmap(
            pages * PAGE_SIZE,
            protection=pm.RW if writable else pm.R,
            file=file,
            offset=offset * PAGE_SIZE,
            shared=shared,
            flags=flags,
        )
        if file is None and shared:
            shadow = ShadowFile(pages * PAGE_SIZE)
        for index in range(pages):
            address = region.start + index * PAGE_SIZE
            memory.areas[address] = ShadowArea(shadow, offset + index, shared, writable)
        if kind & 192:
            for address in region.addresses.tolist():
                self.store(task, memory, address, kind)

    def munmap(self, which: int, page: int, count: int) -> None:
        task, memory = self.task(which)
        for address in self.run_of_pages(memory, page, count):
            task.munmap(pm.Region(task, address, PAGE_SIZE))
            memory.unmap(address)

    def mprotect(self, which: int, page: int, count: int, writable: int) -> None:
        task, memory = self.task(which)
        run = self.run_of_pages(memory, page, count)
        if run:
            protection = pm.RW if writable & 1 else pm.R
            task.mprotect(pm.Region(task, run[0], len(run) * PAGE_SIZE), protection)
        for address in run:
            area = memory.areas[address]
            memory.areas[address] = ShadowArea(area.file, area.index, area.shared, bool(writable & 1))

    def mremap(self, which: int, page: int, count: int) -> None:
        task, memory = self.task(which)
        run = self.run_of_pages(memory, page, count)
        areas = {address: memory.areas[address] for address in run}
        same = [address for address in run if areas[address].file is areas[run[0]].file]
        same = [a for a in same if areas[a].index - areas[run[0]].index == (a - run[0]) // PAGE_SIZE]
        if len(same) != len(run) or not run:
            return
        top = max(memory.areas) + (2 + count % 3) * PAGE_SIZE
        with contextlib.suppress(OSError):
            moved = task.mremap(pm.Region(task, run[0], len(run) * PAGE_SIZE), to=top)
            for at, address in enumerate(run):
                memory.move(address, moved.start + at * PAGE_SIZE)

    def madvise(self, which: int, page: int, count: int, kind: int) -> None:
        task, memory = self.task(which)
        for address in self.run_of_pages(memory, page, count):
            region = pm.Region(task, address, PAGE_SIZE)
            area = memory.areas[address]
            if kind & 1:
                with contextlib.suppress(OSError):
                    task.madvise(region, pm.Advice.DONTNEED)
                    memory.own.pop(address, None)
            elif area.file is None and not area.shared:
                advice = pm.Advice.MERGEABLE if kind & 2 else pm.Advice.UNMERGEABLE
                with contextlib.suppress(pm.OutOfMemoryError, OSError):
                    task.madvise(region, advice)

    def mlock(self, which: int, page: int, count: int, lock: int) -> None:
        task, memory = self.task(which)
        for address in self.run_of_pages(memory, page, count):
            region = pm.Region(task, address, PAGE_SIZE)
            with contextlib.suppress(OSError):
                task.mlock(region) if lock & 1 else task.munlock(region)
            # To lock a page that may be stored to is to store to it: a private one is copied.
            page, before = task.page_at(address), memory.load(address)
            is_copied = page is not None and page.owner is not None and page.owner.kind is pm.OwnerKind.ANON
            if is_copied and memory.areas[address].file is not None and before is not None:
                memory.own.setdefault(address, before)

    # loads and stores

    def write(self, which: int, page: int, at: int) -> None:
        task, memory = self.task(which)
        address = self.page(memory, page)
        if address is not None:
            self.store(task, memory, address, at % PAGE_SIZE)

    def write_run(self, which: int, page: int, count: int) -> None:
        task, memory = self.task(which)
        for address in self.run_of_pages(memory, page, count):
            self.store(task, memory, address, 0)

    def store(self, task: pm.Task, memory: ShadowMemory, address: int, at: int) -> None:
        """Bytes into one page; it must fail exactly where the shadow has nothing to store to."""
        data = self.bytes()
        area, before = memory.areas[address], memory.load(address)
        if area.shared and area.file is not None and area.index * PAGE_SIZE + at >= area.file.size:
            return  # Beyond the end of the file bytes live as long as the page does, and no longer.
        may = before is not None and memory.areas[address].writable
        try:
            task.write(address + at, data)
        except pm.OutOfMemoryError:
            return
        except pm.SyscallError:
            assert not may, f"a store to {address:#x} failed"
            return
        assert may, f"a store to {address:#x} did not fail"
        memory.store(address, at, data)

    def read(self, which: int, page: int) -> None:
        task, memory = self.task(which)
        address = self.page(memory, page)
        if address is not None:
            self.compare(task, memory, address)

    def compare(self, task: pm.Task, memory: ShadowMemory, address: int) -> None:
        """A page must read as the shadow says (I-110, I-114)."""
        expected = memory.load(address)
        try:
            found = task.read(address, PAGE_SIZE)
        except pm.OutOfMemoryError:
            return
        except pm.SyscallError:
            assert expected is None, f"a load of {address:#x} failed"
            return
        assert found == expected, f"the page at {address:#x} of task {task.pid} has other bytes"

    # files

    def create_file(self, kind: int, pages: int) -> None:
        if len(self.files) < FILES_MAX:
            size = (1 + pages % 9) * PAGE_SIZE
            name = f"file{len(self.files)}"
            file = self.machine.create_file(name, size, filesystem=FILESYSTEMS[kind % len(FILESYSTEMS)])
            self.files.append((file, ShadowFile(size)))

    def write_file(self, which: int, who: int, page: int, pages: int) -> None:
        if not self.files:
            return
        task, _ = self.task(who)
        file, shadow = self.files[which % len(self.files)]
        for index in range(page % 9, page % 9 + 1 + pages % 2):
            data = self.bytes() * PAGE_SIZE
            try:
                file.write(index * PAGE_SIZE, data, by=task)
            except OSError:
                return
            shadow.store(index * PAGE_SIZE, data)
            shadow.extend((index + 1) * PAGE_SIZE)

    def read_file(self, which: int, who: int, page: int) -> None:
        if not self.files:
            return
        task, _ = self.task(who)
        file, shadow = self.files[which % len(self.files)]
        index = page % 10
        with contextlib.suppress(OSError):
            found = file.read(index * PAGE_SIZE, PAGE_SIZE, by=task)
            whole = shadow.page(index) or b""
            assert found == whole[: max(0, shadow.size - index * PAGE_SIZE)], f"page {index} of {file.name}"

    def truncate(self, which: int, size: int) -> None:
        if not self.files:
            return
        file, shadow = self.files[which % len(self.files)]
        to = size * 1000 % (10 * PAGE_SIZE) if size % 3 else shadow.size
        file.truncate(to)
        shadow.cut(to)
        for memory in self.memories:
            memory.cut_off(shadow)

    def writeback(self, which: int, page: int) -> None:
        if self.files:
            with contextlib.suppress(OSError):
                self.files[which % len(self.files)][0].writeback(page % 10)

    # what the kernel does

    def swap_out(self, which: int, page: int) -> None:
        task, memory = self.task(which)
        address = self.page(memory, page)
        if address is not None:
            task.swap_out(address)

    def reclaim(self, node: int, pages: int, anonymous: int) -> None:
        family = pm.PageFamily.ANON if anonymous & 1 else pm.PageFamily.FILE
        self.machine.reclaim(node % self.nodes, 1 + pages % 40, family=family)

    def ksm_scan(self) -> None:
        self.machine.ksm.scan()

    def set_limit(self, pages: int) -> None:
        with contextlib.suppress(OSError):
            self.group.limit = (20 + pages % 80) * PAGE_SIZE

    def advance(self, ticks: int) -> None:
        self.machine.advance(ticks % 5)

    def drain(self) -> None:
        self.machine.drain()

    # the movers

    def move_pages(self, which: int, page: int, count: int, node: int) -> None:
        task, memory = self.task(which)
        run = self.run_of_pages(memory, page, count)
        if run:
            region = pm.Region(task, run[0], len(run) * PAGE_SIZE)
            scope = pm.MoveScope.SHARED if node & 8 else pm.MoveScope.EXCLUSIVE
            with contextlib.suppress(OSError):
                task.move_pages(region, node % self.nodes, scope=scope)

    def migrate_pages(self, which: int, old: int, new: int) -> None:
        task, _ = self.task(which)
        with contextlib.suppress(OSError):
            task.migrate_pages(task, {old % self.nodes}, {new % self.nodes})

    def mbind(self, which: int, page: int, count: int, kind: int) -> None:
        task, memory = self.task(which)
        run = self.run_of_pages(memory, page, count)
        if run:
            modes = (pm.PolicyMode.BIND, pm.PolicyMode.INTERLEAVE, pm.PolicyMode.PREFERRED)
            policy = pm.Policy(modes[kind % 3], {kind % self.nodes})
            region = pm.Region(task, run[0], len(run) * PAGE_SIZE)
            with contextlib.suppress(OSError):
                task.mbind(region, policy, flags=pm.MbindFlags.MOVE_ALL)

    def offline(self, node: int, block: int) -> None:
        if self.offline_frames >= 16:
            return
        node %= self.nodes
        first = sum((72, 64, 64)[:node]) + block % 8 * 8
        with contextlib.suppress(OSError):
            self.machine.offline(first, 8, timeout=20)
            self.offline_frames += 8

    def soft_offline(self, pfn: int) -> None:
        if self.offline_frames < 16:
            self.offline_frames += 1
            with contextlib.suppress(OSError):
                self.machine.soft_offline(pfn % 200)

    # the end of every step, and of everything

    def check(self) -> None:
        """The audit is empty; in REPAIRED no ledger has moved."""
        self.machine.check()
        if self.machine.profile is pm.Profile.REPAIRED:
            assert not self.machine.drift

    def check_bytes(self) -> None:
        """Every page of every task reads as the shadow says."""
        for task, memory in zip(self.tasks, self.memories, strict=True):
            for address in sorted(memory.areas):
                self.compare(task, memory, address)
        self.check()

    def end(self) -> None:
        """Everything exits, every file is cut to nothing: no frame is left in use (I-05)."""
        self.check_bytes()
        while self.tasks:
            self.tasks.pop().exit()
        for file, _ in self.files:
            file.truncate(0)
        self.machine.advance(1000)
        self.machine.ksm.scan()
        self.machine.drain()
        self.machine.check()
