"""A crowd: calls of every kind at once on one machine with files, swap, groups and KSM.

Start with :class:`Crowd`. Each round throws some calls and steps them in a thrown order, fine steps
and coarse ones, with an audit after every step; where all wait, the disk is let go on. The seed
is the whole story: the same one gives the same crowd everywhere.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pagemig as pm
from pagemig import PAGE_SIZE

FILESYSTEMS = (
    pm.filesystems.EXT,
    pm.filesystems.TMPFS,
    pm.filesystems.RAMFS,
    pm.filesystems.BLOCKDEV,
    pm.filesystems.READONLY,
    pm.filesystems.FAILING,
)
STEPS_MAX = 20_000
BLOCK = 8
NODES = (64, 56, 56)


class Stuck(AssertionError):
    """No call can go on, and nothing is on its way."""


class Crowd:
    """A machine and everybody on it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.profile = pm.Profile.REPAIRED if seed % 2 else pm.Profile.EXACT
        self.machine = pm.Machine(
            nodes=[frames * PAGE_SIZE for frames in NODES],
            cpus=1 + seed % 3,
            contents=True,
            swap=40 * PAGE_SIZE,
            profile=self.profile,
            pageblock_frames=BLOCK,
        )
        self.machine.watch_stores()
        self.offlined = 0
        self.coarse: set[int] = set()
        """The numbers of calls that were begun coarse."""
        self.group = self.machine.create_memcg("group", limit=90 * PAGE_SIZE)
        self.sets = [self.machine.create_cpuset(name, mems={0, 1, 2}) for name in ("one", "two")]
        self.sets[1].memory_migrate = True
        kinds = self.dice.sample(FILESYSTEMS, 3)
        self.files = [
            self.machine.create_file(f"file{at}", (3 + at) * PAGE_SIZE, filesystem=kind)
            for at, kind in enumerate(kinds)
        ]
        self.tasks = [self.machine.spawn(cpu=at % len(self.machine.cpus), stack=False) for at in range(3)]
        self.group.attach(self.tasks[1])
        self.sets[0].attach(self.tasks[2])
        for task in self.tasks:
            self.settle_in(task)
        self.machine.drain()

    def settle_in(self, task: pm.Task) -> None:
        """Some memory of every kind, touched."""
        same = pm.VmFlags.MERGEABLE
        heap = task.mmap(6 * PAGE_SIZE, flags=same if self.dice.random() < 0.5 else pm.VmFlags(0))
        for at, page in enumerate(heap):
            task.write(page.start, bytes([1 + at % 3]))
        for file in self.files:
            shared = self.dice.random() < 0.7
            area = task.mmap(3 * PAGE_SIZE, file=file, shared=shared)
            with contextlib.suppress(pm.OutOfMemoryError):
                task.touch(area[: self.dice.randrange(4)], write=self.dice.random() < 0.5)
        with contextlib.suppress(pm.OutOfMemoryError):
            task.touch(task.mmap(2 * PAGE_SIZE, shared=True))

    def region(self, task: pm.Task) -> pm.Region | None:
        """A part of one area of a task."""
        areas = task.vmas
        if not areas:
            return None
        area = self.dice.choice(areas)
        pages = (area.end - area.start) // PAGE_SIZE
        first = self.dice.randrange(pages)
        count = self.dice.randrange(1, min(4, pages - first) + 1)
        return pm.Region(task, area.start + first * PAGE_SIZE, count * PAGE_SIZE)

    def file_call(self, kind: str) -> object:
        """A call about one of the files."""
        file, page = self.dice.choice(self.files), self.dice.randrange(6)
        match kind:
            case "read_file":
                return pm.calls.read_file(file, page * PAGE_SIZE, PAGE_SIZE)
            case "write_file":
                data = bytes([self.dice.randrange(1, 4)]) * PAGE_SIZE
                return pm.calls.write_file(file, page * PAGE_SIZE, data)
            case "truncate":
                return pm.calls.truncate(file, self.dice.randrange(6 * PAGE_SIZE))
            case "lookup":
                return pm.calls.lookup(file, page)
            case "writeback":
                return pm.calls.writeback(file, page)
            case _:
                return pm.calls.invalidate(file, page)

    def kernel_call(self, kind: str) -> object | None:
        """A call that the kernel makes by itself."""
        node, first = self.dice.randrange(3), self.dice.randrange(sum(NODES))
        match kind:
            case "ksm_scan":
                return pm.calls.ksm_scan()
            case "reclaim":
                family = self.dice.choice(tuple(pm.PageFamily))
                return pm.calls.reclaim(node, self.dice.randrange(1, 12), family=family)
            case "drain":
                return pm.calls.drain()
            case "complete_io":
                return pm.calls.complete_io()
            case "offline" if self.offlined < 3:
                self.offlined += 1
                return pm.calls.offline(first // BLOCK * BLOCK, BLOCK, timeout=6)
            case "soft_offline" if self.offlined < 3:
                self.offlined += 1
                return pm.calls.soft_offline(first)
            case "cpuset":
                mems = self.dice.sample(range(3), self.dice.randrange(1, 4))
                return pm.calls.set_cpuset_mems(self.dice.choice(self.sets), mems)
            case "migrate_frames":
                pfns = self.dice.sample(range(sum(NODES)), 6)
                return pm.calls.migrate_frames(pfns, pm.ToNode(node), offlining=self.dice.random() < 0.5)
            case _:
                return None

    def memory_call(self, kind: str, task: pm.Task) -> object | None:
        """A call of a task about its memory."""
        region, node = self.region(task), self.dice.randrange(3)
        if region is None:
            return None
        match kind:
            case "touch":
                return pm.calls.touch(region, write=self.dice.random() < 0.6)
            case "move_pages":
                other = self.dice.choice(self.tasks)
                scope = self.dice.choice(tuple(pm.MoveScope))
                theirs = self.region(other)
                return theirs and pm.calls.move_pages(theirs, node, target=other, scope=scope)
            case "migrate_pages":
                return pm.calls.migrate_pages(self.dice.choice(self.tasks), {node}, {(node + 1) % 3})
            case "mbind":
                policy = pm.Policy(pm.PolicyMode.BIND, {node})
                return pm.calls.mbind(region, policy, flags=pm.MbindFlags.MOVE_ALL)
            case "munmap":
                return pm.calls.munmap(region)
            case "mprotect":
                return pm.calls.mprotect(region, self.dice.choice((pm.R, pm.RW)))
            case "mlock":
                return self.dice.choice((pm.calls.mlock, pm.calls.munlock))(region)
            case "mremap" if self.profile is pm.Profile.REPAIRED:
                return pm.calls.mremap(region, to=(1 << 40) + self.dice.randrange(1 << 10) * 16 * PAGE_SIZE)
            case "madvise":
                return pm.calls.madvise(region, self.dice.choice(tuple(pm.Advice)))
            case "swap_out":
                return pm.calls.swap_out(region.start)
            case "pin":
                return pm.calls.pin(region.start, write=self.dice.random() < 0.5)
            case "fork" if len(self.tasks) < 6:
                return pm.calls.fork()
            case _:
                return None

    KINDS: tuple[str, ...] = (
        *("touch", "touch", "move_pages", "move_pages", "migrate_frames", "swap_out", "write_file"),
        *("read_file", "truncate", "lookup", "writeback", "invalidate", "ksm_scan", "reclaim", "drain"),
        *("complete_io", "offline", "soft_offline", "cpuset", "migrate_pages", "mbind", "munmap"),
        *("mprotect", "mlock", "mremap", "madvise", "pin", "fork"),
    )

    def thrown(self, task: pm.Task) -> object | None:
        """Any call at all."""
        kind = self.dice.choice(self.KINDS)
        makers: tuple[Callable[[], object | None], ...] = (
            lambda: self.memory_call(kind, task),
            lambda: self.kernel_call(kind),
        )
        if kind in ("read_file", "write_file", "truncate", "lookup", "writeback", "invalidate"):
            return self.file_call(kind)
        return next((made for make in makers if (made := make()) is not None), None)

    def round(self) -> None:
        """Some calls, begun at once, to their ends."""
        for _ in range(self.dice.randrange(2, 5)):
            task = self.dice.choice(self.tasks)
            call = self.thrown(task)
            if call is not None:
                with contextlib.suppress(OSError):
                    how = self.dice.choice((pm.Granularity.FINE, pm.Granularity.COARSE))
                    begun = self.machine.start(call, by=task, granularity=how)  # type: ignore[arg-type]
                    if how is pm.Granularity.COARSE:
                        self.coarse.add(begun.number)
        for _ in range(STEPS_MAX):
            waiting = [call for call in self.machine.calls if not call.done]
            if not waiting:
                break
            self.step(waiting)
            self.machine.check()
        self.tidy()

    def step(self, waiting: list[pm.Call]) -> None:
        """One step of whoever is thrown; if nobody can, the disk goes on."""
        self.dice.shuffle(waiting)
        if not any(call.step() for call in waiting) and not self.machine.complete_io():
            what = "; ".join(f"{call!r} waits for {call.waiting_for}" for call in waiting)
            raise Stuck(what)

    def tidy(self) -> None:
        """Pins are dropped, children that chance made may go."""
        for pfn, times in self.machine.pins.items():
            for _ in range(times):
                self.machine.tasks[0].unpin(pfn)
        self.tasks = list(self.machine.tasks)
        while len(self.tasks) > 4:
            self.tasks.pop().exit()
        if not self.tasks[-1].vmas:
            self.settle_in(self.tasks[-1])
        self.machine.check()
        if self.profile is pm.Profile.REPAIRED:
            assert not self.machine.drift

    def end(self) -> None:
        """Everybody goes, every file is emptied: nothing is left but what went offline."""
        while self.tasks:
            self.tasks.pop().exit()
        for file in self.files:
            file.truncate(0)
        self.machine.advance(1000)
        self.machine.ksm.scan()
        self.machine.drain()
        self.machine.check()
        assert self.machine.vmstat()["nr_anon_pages"] == 0
        assert self.machine.vmstat()["nr_mapped"] == 0
