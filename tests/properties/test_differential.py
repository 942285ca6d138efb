"""The package against the reference: the same operations, the same state after each.

Goal: two implementations written from the same specification agree on every
result, every frame, list, leaf, counter and byte. Method: hypothesis chooses
sequences of operations and makes a failing one short; a long random walk with
fixed seeds goes where short sequences do not. Set ``PAGEMIG_WALK_STEPS`` for a
longer walk, ``PAGEMIG_WALK_SEEDS`` for more of them.

Source: all of the specification; comparator C5.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .operations import OPERATIONS, Theme, steps_of
from .twin import Twin
from .twin_base import Shape

STEPS = int(os.environ.get("PAGEMIG_WALK_STEPS", "400"))
SEEDS = int(os.environ.get("PAGEMIG_WALK_SEEDS", "16"))

WIDE = st.integers(0, 1 << 20)
NUMBERS = st.lists(WIDE, min_size=6, max_size=6)
PAGES = st.lists(WIDE, min_size=1, max_size=40)


class Differential(RuleBasedStateMachine):
    """The one rule chooses an operation of the twin, and its arguments."""

    @initialize(
        cpus=st.integers(1, 3),
        low=st.sampled_from([0, 0, 6]),
        swap=st.sampled_from([0, 12, 40]),
        contents=st.booleans(),
        repaired=st.booleans(),
    )
    def start(self, cpus: int, low: int, swap: int, contents: bool, repaired: bool) -> None:
        """Two machines, a first task with some memory, and a file."""
        shape = Shape((40, 48, 40), cpus, low, contents, swap, repaired)
        self.twin = Twin(shape)
        self.twin.spawn(0, 0, 0)
        self.twin.mmap(0, 0, 15, 0, 0)
        self.twin.create_file(0, 9)

    @rule(name=st.sampled_from(sorted(OPERATIONS)), numbers=NUMBERS, pages=PAGES)
    def step(self, name: str, numbers: list[int], pages: list[int]) -> None:
        OPERATIONS[name].run(self.twin, numbers, pages)

    def teardown(self) -> None:
        """Everybody exits, and no frame is left over."""
        if hasattr(self, "twin"):
            self.twin.end()


TestDifferential = Differential.TestCase
TestDifferential.settings = settings(
    max_examples=60, stateful_step_count=40, derandomize=True, deadline=None, database=None
)


@pytest.mark.parametrize("theme", list(Theme))
@pytest.mark.parametrize("seed", range(SEEDS // len(Theme) or 1))
def test_a_long_walk_never_parts_the_package_from_the_reference(seed: int, theme: Theme) -> None:
    """Method: random operations with a fixed seed; CPUs, sizes and contents follow the seed."""
    rng = random.Random(seed * 100 + list(Theme).index(theme))
    frames = ((64, 64, 64), (40, 24, 96), (200, 200, 200), (32, 32, 48))[seed % 4]
    shape = Shape(
        frames=frames,
        cpus=seed % 3 + 1,
        low=(0, 5)[seed % 2],
        contents=theme is Theme.MERGING or rng.random() < 0.5,
        swap=0 if theme is Theme.ANONYMOUS else (24, 60, 9)[seed % 3],
        repaired=rng.random() < 0.3,
    )
    twin = Twin(shape)
    twin.spawn(0, 0, 0)
    names, weights = zip(*steps_of(theme), strict=True)
    for _ in range(STEPS):
        operation = OPERATIONS[rng.choices(names, weights)[0]]
        numbers = [rng.randrange(1 << 20) for _ in range(6)]
        pages = [rng.randrange(1 << 20) for _ in range(rng.randrange(1, operation.pages_max + 1))]
        operation.run(twin, numbers, pages)
    twin.end()
