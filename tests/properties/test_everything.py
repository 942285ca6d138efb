"""Any sequence of everything leaves all invariants true and every byte where it belongs.

Goal: the interplay. Method: hypothesis chooses operations on a small machine with files of every
filesystem, swap, a memory cgroup and KSM; after each the audit runs, and loads are compared with
a shadow of every byte ever stored (I-110, I-114). At the end everything exits, and no frame is
left in use but those that offlining took (I-05). Set ``PAGEMIG_RULE_RUNS`` for more than the 40
sequences of 60 steps of a normal run.
"""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import pagemig as pm

from .world import World

RUNS = int(os.environ.get("PAGEMIG_RULE_RUNS", "40"))
STEPS = 60

N = st.integers(0, 255)


class Everything(RuleBasedStateMachine):
    """Every rule is one operation of the world."""

    world: World

    @initialize(cpus=st.integers(1, 3), repaired=st.booleans())
    def build(self, cpus: int, repaired: bool) -> None:
        """A machine with a task, some memory and a file."""
        self.world = World(cpus=cpus, profile=pm.Profile.REPAIRED if repaired else pm.Profile.EXACT)
        self.world.create_file(0, 6)
        self.world.mmap(0, 7, 8)
        self.world.mmap(0, 7, 13)

    @rule(who=N)
    def spawn(self, who: int) -> None:
        self.world.spawn(who)

    @rule(who=N)
    def fork(self, who: int) -> None:
        self.world.fork(who)

    @rule(who=N)
    def exit(self, who: int) -> None:
        self.world.exit(who)

    @rule(who=N, count=N, kind=N)
    def mmap(self, who: int, count: int, kind: int) -> None:
        self.world.mmap(who, count, kind)

    @rule(who=N, page=N, count=N)
    def munmap(self, who: int, page: int, count: int) -> None:
        self.world.munmap(who, page, count)

    @rule(who=N, page=N, count=N, writable=N)
    def mprotect(self, who: int, page: int, count: int, writable: int) -> None:
        self.world.mprotect(who, page, count, writable)

    @rule(who=N, page=N, count=N)
    def mremap(self, who: int, page: int, count: int) -> None:
        self.world.mremap(who, page, count)

    @rule(who=N, page=N, count=N, kind=N)
    def madvise(self, who: int, page: int, count: int, kind: int) -> None:
        self.world.madvise(who, page, count, kind)

    @rule(who=N, page=N, count=N, lock=N)
    def mlock(self, who: int, page: int, count: int, lock: int) -> None:
        self.world.mlock(who, page, count, lock)

    @rule(who=N, page=N, at=st.integers(0, 4095))
    def write(self, who: int, page: int, at: int) -> None:
        self.world.write(who, page, at)

    @rule(who=N, page=N, count=N)
    def write_run(self, who: int, page: int, count: int) -> None:
        self.world.write_run(who, page, count)

    @rule(who=N, page=N, count=N, node=N)
    def write_and_move(self, who: int, page: int, count: int, node: int) -> None:
        self.world.write_run(who, page, count)
        self.world.drain()
        self.world.move_pages(who, page, count, node)

    @rule(who=N, page=N)
    def read(self, who: int, page: int) -> None:
        self.world.read(who, page)

    @rule(kind=N, pages=N)
    def create_file(self, kind: int, pages: int) -> None:
        self.world.create_file(kind, pages)

    @rule(which=N, who=N, page=N, pages=N)
    def write_file(self, which: int, who: int, page: int, pages: int) -> None:
        self.world.write_file(which, who, page, pages)

    @rule(which=N, who=N, page=N)
    def read_file(self, which: int, who: int, page: int) -> None:
        self.world.read_file(which, who, page)

    @rule(which=N, size=N)
    def truncate(self, which: int, size: int) -> None:
        self.world.truncate(which, size)

    @rule(which=N, page=N)
    def writeback(self, which: int, page: int) -> None:
        self.world.writeback(which, page)

    @rule(who=N, page=N)
    def swap_out(self, who: int, page: int) -> None:
        self.world.swap_out(who, page)

    @rule(node=N, pages=N, anonymous=N)
    def reclaim(self, node: int, pages: int, anonymous: int) -> None:
        self.world.reclaim(node, pages, anonymous)

    @rule()
    def ksm_scan(self) -> None:
        self.world.ksm_scan()

    @rule(pages=N)
    def set_limit(self, pages: int) -> None:
        self.world.set_limit(pages)

    @rule(ticks=N)
    def advance(self, ticks: int) -> None:
        self.world.advance(ticks)

    @rule()
    def drain(self) -> None:
        self.world.drain()

    @rule(who=N, page=N, count=N, node=N)
    def move_pages(self, who: int, page: int, count: int, node: int) -> None:
        self.world.move_pages(who, page, count, node)

    @rule(who=N, old=N, new=N)
    def migrate_pages(self, who: int, old: int, new: int) -> None:
        self.world.migrate_pages(who, old, new)

    @rule(who=N, page=N, count=N, kind=N)
    def mbind(self, who: int, page: int, count: int, kind: int) -> None:
        self.world.mbind(who, page, count, kind)

    @rule(node=N, block=N)
    def offline(self, node: int, block: int) -> None:
        self.world.offline(node, block)

    @rule(pfn=N)
    def soft_offline(self, pfn: int) -> None:
        self.world.soft_offline(pfn)

    @invariant()
    def everything_is_in_order(self) -> None:
        """No rule of the audit complains, after any step."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """Every byte is compared, everything goes, and no frame is left."""
        if hasattr(self, "world"):
            self.world.end()


TestEverything = Everything.TestCase
TestEverything.settings = settings(max_examples=RUNS, stateful_step_count=STEPS, report_multiple_bugs=False)
