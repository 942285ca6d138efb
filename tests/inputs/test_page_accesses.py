"""An access to bytes becomes one access to each page that holds one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagemig as pm
from pagemig.inputs import Accesses, page_accesses

PAGE = pm.PAGE_SIZE


def test_an_access_within_a_page_stays_as_it_is() -> None:
    """The last byte of a page included."""
    addresses, writes = page_accesses([0, 4088, 4095], [1, 8, 1], [False, True, False])
    assert addresses.tolist() == [0, 4088, 4095]
    assert writes.tolist() == [False, True, False]


def test_a_straddling_access_touches_both_pages_in_order() -> None:
    """In its place between its neighbours, the lower page first, the upper one at its start."""
    addresses, writes = page_accesses([16, 4095, 32], [8, 2, 8], [False, True, False])
    assert addresses.tolist() == [16, 4095, 4096, 32]
    assert writes.tolist() == [False, True, True, False]


def test_a_modify_is_one_write() -> None:
    """It reads and writes one place: the page is written."""
    kinds = np.array([0, 1, 2, 3], dtype=np.uint8)
    accesses = Accesses(np.zeros(4, dtype=np.uint64), np.ones(4, dtype=np.uint8), kinds)
    assert accesses.writes.tolist() == [False, True, True, False]


def test_nothing_becomes_nothing() -> None:
    """Columns of length 0."""
    addresses, writes = page_accesses([], [], np.empty(0, dtype=bool))
    assert addresses.dtype == np.uint64 and writes.dtype == np.bool_
    assert len(addresses) == len(writes) == 0


def test_the_last_byte_of_all_addresses_can_be_touched() -> None:
    """And the one after it cannot."""
    top = (1 << 64) - 1
    assert page_accesses([top - 4096], [4097], [True])[0].tolist() == [top - 4096, top - 4095]
    with pytest.raises(pm.UsageError, match=r"access 1 has 2 bytes at 0xf+; .* end within 64 bits"):
        page_accesses(np.array([0, top], dtype=np.uint64), [1, 2], [True, True])


accesses = st.lists(
    st.tuples(st.integers(0, 1 << 47), st.integers(1, 3 * PAGE), st.booleans()), min_size=1, max_size=30
)


@given(accesses=accesses)
def test_every_byte_of_an_access_lies_in_a_page_it_touches(accesses: list[tuple[int, int, bool]]) -> None:
    """Against the definition, one access and one page at a time."""
    expected = []
    for address, size, write in accesses:
        pages = range(address // PAGE, (address + size - 1) // PAGE + 1)
        expected += [(max(address, page * PAGE), write) for page in pages]
    columns = [list(column) for column in zip(*accesses, strict=True)]
    touched, writes = page_accesses(columns[0], columns[1], np.array(columns[2]))
    assert list(zip(touched.tolist(), writes.tolist(), strict=True)) == expected
    assert not touched.flags.writeable and not writes.flags.writeable


@pytest.mark.parametrize(
    ("addresses", "sizes", "writes", "said"),
    [
        ([0, 0], [1], [True, True], "2 addresses, 1 sizes and 2 writes"),
        ([0], [1], [True, False], "1 addresses, 1 sizes and 2 writes"),
        ([0], [1], [1], "writes must be bool"),
        ([0], [0], [True], "access 0 has 0 bytes"),
        ([-1], [1], [True], "an address is 0 or more"),
        ("00", [1], [True], "addresses"),
        ([0.5], [1], [True], "addresses"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    addresses: object, sizes: object, writes: object, said: str
) -> None:
    """Saying which, and what would fit."""
    with pytest.raises(pm.UsageError, match=said):
        page_accesses(addresses, sizes, writes)  # type: ignore[arg-type]


def test_columns_of_another_type_are_no_accesses() -> None:
    """The columns of `Accesses` have the types that it promises."""
    with pytest.raises(pm.UsageError, match="sizes must be an array of 1 uint8"):
        Accesses(np.zeros(1, dtype=np.uint64), np.ones(1, dtype=np.int64), np.ones(1, dtype=np.uint8))
    with pytest.raises(pm.UsageError, match="kinds must be an array of 1 uint8"):
        Accesses(np.zeros(1, dtype=np.uint64), np.ones(1, dtype=np.uint8), np.ones(2, dtype=np.uint8))
