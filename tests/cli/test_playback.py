"""Playing accesses on a task counts what a slow and simple reading of them counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagemig as pm
from pagemig.playback import AREA, Player, Tiers

PAGES = st.integers(0, 40)
BATCH = st.lists(st.tuples(PAGES, st.booleans()), min_size=1, max_size=60)


def player(nodes: int = 2) -> Player:
    """A player on a machine of some small nodes, running on the last."""
    machine = pm.Machine(nodes=[4 * pm.MiB] * nodes, cpus=nodes)
    return Player(machine, machine.spawn("program", cpu=nodes - 1, stack=False), nodes)


def address_of(page: int) -> int:
    """Pages 0 to 19 lie in one area, 20 to 40 in another one, with a hole between."""
    return AREA * (3 if page < 20 else 9) + page * pm.PAGE_SIZE + 8 * page


@given(st.lists(BATCH, min_size=1, max_size=4))
def test_batches_are_counted_as_one_by_one(batches: list[list[tuple[int, bool]]]) -> None:
    """Goal: it does not matter where a batch ends.

    Method: a page has a frame of its own from the access on that first writes it, and meets the zero page
    until then; all frames are on node 1, where the program runs.
    """
    made = player()
    written: set[int] = set()
    uses: Counter[int] = Counter()
    for batch in batches:
        addresses = np.array([address_of(page) for page, _ in batch], dtype=np.uint64)
        served = made.play(addresses, np.array([write for _, write in batch]))
        uses.update(page for page, _ in batch)
        own = 0
        for page, write in batch:
            written |= {page} if write else set()
            own += page in written
        assert served.by_node == (0, own)
        assert served.zero_page == len(batch) - own
    assert made.pages_by_node() == (0, len(written))
    ranked = sorted(written, key=lambda page: (-uses[page], page))
    expected = [address_of(page) // pm.PAGE_SIZE * pm.PAGE_SIZE for page in ranked[:5]]
    assert made.hottest(5).tolist() == expected
    assert not made.machine.audit()


def test_a_twin_goes_its_own_way() -> None:
    """What one of the two plays or moves, the other does not see."""
    made = player()
    pages = np.array([address_of(page) for page in range(4)], dtype=np.uint64)
    writes = np.ones(4, dtype=np.bool_)
    made.play(pages, writes)
    twin = made.twin()
    assert made.task.move_pages(made.hottest(2), 0).tolist() == [0, 0]
    made.play(np.array([address_of(30)], dtype=np.uint64), writes[:1])
    assert made.pages_by_node() == (2, 3)
    assert twin.pages_by_node() == (0, 4)
    assert twin.play(pages, writes).by_node == (0, 4)
    assert made.play(pages, writes).by_node == (2, 2)


def test_neighbouring_areas_are_mapped_in_one_piece() -> None:
    """The address space has one area for a run of touched pieces, as the program that was recorded had."""
    made = player()
    addresses = np.array([AREA, 2 * AREA, 5 * AREA], dtype=np.uint64)
    made.play(addresses, np.ones(3, dtype=np.bool_))
    assert [(region.start, region.length) for region in made.task.regions] == [
        (AREA, 2 * AREA),
        (5 * AREA, AREA),
    ]
    assert made.mapped == 3 * AREA


def test_an_address_outside_user_space_changes_nothing() -> None:
    """The batch is refused whole."""
    made = player()
    with pytest.raises(pm.UsageError, match="user address"):
        made.play(np.array([AREA, 1 << 47], dtype=np.uint64), np.ones(2, dtype=np.bool_))
    assert made.task.regions == () and made.mapped == 0


@pytest.mark.parametrize("wrong", [{"memory": ()}, {"fast": 2}, {"start": -1}])
def test_tiers_name_nodes_that_exist(wrong: dict[str, object]) -> None:
    """A value that makes no sense is refused when it is made."""
    with pytest.raises(pm.UsageError):
        Tiers(**wrong)
