"""The package against the reference: the same operations, the same state after each.

Goal: two implementations written from the same specification agree on every
result, every frame, list, leaf, counter and byte. Method: hypothesis chooses
sequences of operations and makes a failing one short; a long random walk with
fixed seeds goes where short sequences do not. Set ``PAGEMIG_WALK_STEPS`` for a
longer walk, ``PAGEMIG_WALK_SEEDS`` for more of them.

Source: all of the specification that stage A needs; comparator C5.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .twin import Twin

STEPS = int(os.environ.get("PAGEMIG_WALK_STEPS", "400"))
SEEDS = int(os.environ.get("PAGEMIG_WALK_SEEDS", "16"))

SMALL = st.integers(0, 255)
WIDE = st.integers(0, 1 << 20)
PAGES = st.lists(WIDE, max_size=40)
NODES = st.lists(SMALL, min_size=1, max_size=12)


class Differential(RuleBasedStateMachine):
    """Every rule is one operation of the twin."""

    @initialize(cpus=st.integers(1, 3), low=st.sampled_from([0, 0, 6]), contents=st.booleans())
    def start(self, cpus: int, low: int, contents: bool) -> None:
        """Two machines and a first task with some memory."""
        self.twin = Twin(frames=(40, 48, 40), cpus=cpus, low=low, contents=contents)
        self.twin.spawn(0, 0, 0)
        self.twin.mmap(0, 0, 15, 0, 0)

    @rule(uid=SMALL, cpu=SMALL, mems=SMALL)
    def spawn(self, uid: int, cpu: int, mems: int) -> None:
        self.twin.spawn(uid, cpu, mems)

    @rule(who=SMALL)
    def fork(self, who: int) -> None:
        self.twin.fork(who)

    @rule(who=SMALL)
    def exit(self, who: int) -> None:
        self.twin.exit(who, survivors=1)

    @rule(who=SMALL, cpu=SMALL, mems=SMALL)
    def run_on(self, who: int, cpu: int, mems: int) -> None:
        self.twin.run_on(who, cpu, mems)

    @rule(who=SMALL, page=SMALL, count=SMALL, protection=SMALL, flags=SMALL)
    def mmap(self, who: int, page: int, count: int, protection: int, flags: int) -> None:
        self.twin.mmap(who, page, count, protection, flags)

    @rule(who=SMALL, page=SMALL, count=SMALL)
    def munmap(self, who: int, page: int, count: int) -> None:
        self.twin.munmap(who, page, count)

    @rule(who=SMALL, page=SMALL, count=SMALL, protection=SMALL)
    def mprotect(self, who: int, page: int, count: int, protection: int) -> None:
        self.twin.mprotect(who, page, count, protection)

    @rule(who=SMALL, page=SMALL, count=SMALL, lock=SMALL)
    def mlock(self, who: int, page: int, count: int, lock: int) -> None:
        self.twin.mlock(who, page, count, lock)

    @rule(who=SMALL, page=SMALL, count=SMALL, choice=SMALL)
    def set_policy(self, who: int, page: int, count: int, choice: int) -> None:
        self.twin.set_policy(who, page, count, choice)

    @rule(who=SMALL, page=SMALL, count=SMALL, write=SMALL)
    def touch(self, who: int, page: int, count: int, write: int) -> None:
        self.twin.touch(who, page, count, write)

    @rule(who=SMALL, pages=PAGES, write=SMALL)
    def scatter(self, who: int, pages: list[int], write: int) -> None:
        self.twin.scatter(who, pages, write)

    @rule(who=SMALL, address=WIDE, value=WIDE)
    def write(self, who: int, address: int, value: int) -> None:
        self.twin.write(who, address, value)

    @rule(who=SMALL, page=SMALL, write=SMALL)
    def pin(self, who: int, page: int, write: int) -> None:
        self.twin.pin(who, page, write)

    @rule(which=SMALL)
    def unpin(self, which: int) -> None:
        self.twin.unpin(which)

    @rule(cpu=SMALL)
    def drain(self, cpu: int) -> None:
        self.twin.drain(cpu)

    @rule(caller=SMALL, of=SMALL, pages=PAGES, nodes=NODES, shape=WIDE)
    def move_pages(self, caller: int, of: int, pages: list[int], nodes: list[int], shape: int) -> None:
        self.twin.move_pages(caller, of, pages, nodes, shape)

    @rule(caller=SMALL, of=SMALL, pages=PAGES, shape=WIDE)
    def query(self, caller: int, of: int, pages: list[int], shape: int) -> None:
        self.twin.move_pages(caller, of, pages, [], shape)

    @rule(who=SMALL, times=SMALL, node=SMALL, flags=SMALL)
    def move_all_of(self, who: int, times: int, node: int, flags: int) -> None:
        self.twin.move_all_of(who, times, node, flags)

    @rule(caller=SMALL, of=SMALL, old=SMALL, new=SMALL)
    def migrate_pages(self, caller: int, of: int, old: int, new: int) -> None:
        self.twin.migrate_pages(caller, of, old, new)

    @rule(who=SMALL, page=SMALL, count=SMALL, choice=SMALL, flags=SMALL)
    def mbind(self, who: int, page: int, count: int, choice: int, flags: int) -> None:
        self.twin.mbind(who, page, count, choice, flags)

    def teardown(self) -> None:
        """Everybody exits, and no frame is left over."""
        if hasattr(self, "twin"):
            self.twin.end()


TestDifferential = Differential.TestCase
TestDifferential.settings = settings(
    max_examples=60, stateful_step_count=40, derandomize=True, deadline=None, database=None
)


def steps_of(twin: Twin, rng: random.Random) -> list[tuple[int, Callable[[], None]]]:
    """Every operation with its weight; each draws its own integers when it is called."""

    def small() -> int:
        return rng.randrange(256)

    def wide(most: int) -> list[int]:
        return [rng.randrange(1 << 20) for _ in range(rng.randrange(most))]

    def shape() -> int:
        return rng.randrange(1 << 20)

    return [
        (2, lambda: twin.spawn(small(), small(), small())),
        (4, lambda: twin.fork(small())),
        (2, lambda: twin.exit(small(), survivors=2)),
        (2, lambda: twin.run_on(small(), small(), small())),
        (12, lambda: twin.mmap(small(), small(), small(), small(), small())),
        (3, lambda: twin.munmap(small(), small(), small())),
        (5, lambda: twin.mprotect(small(), small(), small(), small())),
        (4, lambda: twin.mlock(small(), small(), small(), small())),
        (3, lambda: twin.set_policy(small(), small(), small(), small())),
        (18, lambda: twin.touch(small(), small(), small(), small())),
        (5, lambda: twin.scatter(small(), wide(40), small())),
        (6, lambda: twin.write(small(), shape(), shape())),
        (5, lambda: twin.pin(small(), small(), small())),
        (2, lambda: twin.unpin(small())),
        (3, lambda: twin.drain(small())),
        (9, lambda: twin.move_pages(small(), small(), wide(60), wide(6) or [1], shape())),
        (1, lambda: twin.move_pages(small(), small(), wide(420), wide(6) or [1], shape())),
        (3, lambda: twin.move_pages(small(), small(), wide(60), [], shape())),
        (5, lambda: twin.move_all_of(small(), small(), small(), small())),
        (1, lambda: twin.move_nobodys(small())),
        (5, lambda: twin.migrate_pages(small(), small(), small(), small())),
        (6, lambda: twin.mbind(small(), small(), small(), small(), small())),
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_long_walk_never_parts_the_package_from_the_reference(seed: int) -> None:
    """Method: random operations with a fixed seed; CPUs, sizes and contents follow the seed."""
    rng = random.Random(seed)
    frames = ((64, 64, 64), (40, 24, 90), (200, 200, 200))[seed % 3]
    twin = Twin(frames=frames, cpus=seed % 3 + 1, low=(0, 5)[seed % 2], contents=seed % 4 == 1)
    twin.spawn(0, 0, 0)
    weights, operations = zip(*steps_of(twin, rng), strict=True)
    for _ in range(STEPS):
        rng.choices(operations, weights)[0]()
    twin.end()
