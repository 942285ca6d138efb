"""Regions are values: ranges of pages that slice, compare and print."""

from __future__ import annotations

import numpy as np
import pytest

import pagemig as pm


def test_a_region_is_counted_and_cut_in_pages() -> None:
    """Slicing gives smaller regions; nothing is copied."""
    region = pm.Region(7, 0x10000, 8 * pm.PAGE_SIZE)
    assert len(region) == 8
    assert region[2:4] == pm.Region(7, 0x12000, 2 * pm.PAGE_SIZE)
    assert region[-1] == region[7] == pm.Region(7, 0x17000, pm.PAGE_SIZE)
    assert region[5:2].length == 0
    assert [page.start for page in region[:2]] == [0x10000, 0x11000]
    assert (0x10FFF in region, region.end in region, "x" in region) == (True, False, False)


def test_the_addresses_of_a_region_are_a_read_only_array() -> None:
    """uint64, one a page, also at the very end of 64 bits."""
    addresses = pm.Region(1, 0x10000, 2 * pm.PAGE_SIZE).addresses
    assert addresses.dtype == np.uint64
    assert addresses.tolist() == [0x10000, 0x11000]
    assert not addresses.flags.writeable
    top = pm.Region(1, (1 << 64) - 8192, 8192)
    assert top.addresses.tolist() == [(1 << 64) - 8192, (1 << 64) - 4096]
    assert pm.Region(1, 0, 0).addresses.size == 0


def test_a_region_may_be_built_with_a_task_or_a_pid(app: pm.Task) -> None:
    """Both give the same value."""
    assert pm.Region(app, 0, 4096) == pm.Region(app.pid, 0, 4096)
    assert hash(pm.Region(app, 0, 4096)) == hash(pm.Region(app.pid, 0, 4096))


@pytest.mark.parametrize(
    "arguments",
    [
        (1, 1, 4096),
        (1, 4096, 1),
        (1, -4096, 4096),
        (1, 0, -4096),
        (1, (1 << 64) - 4096, 8192),
        (1, 1 << 64, 4096),
        ("app", 0, 4096),
        (-1, 0, 4096),
        (1, 0.0, 4096),
    ],
)
def test_a_range_that_is_not_whole_pages_is_refused(arguments: tuple[object, ...]) -> None:
    """Unaligned, overflowing, negative, or no numbers."""
    with pytest.raises(pm.UsageError):
        pm.Region(*arguments)  # type: ignore[arg-type]


def test_a_region_is_not_cut_with_a_step_nor_beyond_its_end() -> None:
    """It is contiguous, and it ends."""
    region = pm.Region(1, 0, 8192)
    with pytest.raises(pm.UsageError, match="contiguous"):
        region[::2]
    with pytest.raises(pm.UsageError):
        region[2]
    with pytest.raises(AttributeError):
        region.start = 0  # type: ignore[misc]


def test_an_address_of_any_kind_of_integer_lies_in_a_region_and_so_may_a_region() -> None:
    """Those of numpy, too; a region does if all of it does, in the same task."""
    heap = pm.Region(1, 0x10000, 4 * pm.PAGE_SIZE)
    assert heap.addresses[1] in heap
    assert np.uint64(0x10FFF) in heap[0]
    assert np.int64(heap.end) not in heap
    assert float(heap.start) not in heap
    assert heap[1] in heap
    assert heap[1:4] in heap
    assert heap not in heap[1:]
    assert pm.Region(2, 0x10000, pm.PAGE_SIZE) not in heap


def test_what_is_no_number_of_a_page_is_refused_in_words() -> None:
    """A slice with fractions, and any page of a region that has none."""
    heap = pm.Region(1, 0x10000, 4 * pm.PAGE_SIZE)
    with pytest.raises(pm.UsageError, match="ends must be integers"):
        heap[1.0:2]  # type: ignore[misc]
    with pytest.raises(pm.UsageError, match="the region is empty; it has no page 0"):
        heap[2:2][0]
