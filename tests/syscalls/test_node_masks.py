"""How a node mask is read from user memory (syscalls 5.1), seen through ``set_mempolicy``.

Method: BIND takes any mask that names a node with memory, and ``get_mempolicy`` tells which
bits counted; a mask that cannot be read is -EINVAL or -EFAULT and leaves the policy alone.
"""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

BIND = 2
EVERY = (1 << 64) - 1


def bind(app: pm.Task, mask: object, maxnode: int) -> int:
    """Set BIND with a mask."""
    return pm.syscalls.set_mempolicy(app, BIND, mask, maxnode)  # type: ignore[arg-type]


def bound(app: pm.Task) -> set[int]:
    """The nodes of the task policy."""
    mask = np.zeros(1, np.uint64)
    assert pm.syscalls.get_mempolicy(app, None, mask, 64, 0, 0) == 0
    return {node for node in range(64) if int(mask[0]) >> node & 1}


def words(*values: int, readable: int | None = None) -> pm.UserMemory:
    """A mask in user memory, of which ``readable`` words exist."""
    array = np.array(values, np.uint64)
    return pm.UserMemory(array, valid_bytes=None if readable is None else 8 * readable)


@pytest.mark.parametrize(
    ("maxnode", "nodes"), [(64, {0, 1, 3}), (5, {0, 1, 3}), (4, {0, 1}), (3, {0, 1}), (2, {0})]
)
def test_sy51_maxnode_n_makes_n_minus_one_bits_count(app: pm.Task, maxnode: int, nodes: set[int]) -> None:
    """The traditional off-by-one (step 1); bits beyond are cleared (step 6)."""
    assert bind(app, words(EVERY), maxnode) == 0
    assert bound(app) == nodes
    assert bind(app, set(range(64)), maxnode) == 0
    assert bound(app) == nodes


def test_sy51_one_or_null_is_the_empty_mask(app: pm.Task) -> None:
    """Step 2: nothing is read, whatever the other argument says."""
    assert bind(app, words(EVERY, readable=0), 1) == -errno.EINVAL
    for maxnode in (0, 1, 64, 1 << 40, EVERY):
        assert bind(app, None, maxnode) == -errno.EINVAL
        assert pm.syscalls.set_mempolicy(app, 0, None, maxnode) == 0
        assert pm.syscalls.migrate_pages(app, 0, maxnode, None, None) == 0


def test_sy51_zero_wraps_to_a_mask_that_is_too_long(app: pm.Task) -> None:
    """Steps 1 and 3: 0 - 1 is more than 32768; so is 32770 - 1; 32769 - 1 is not."""
    page = np.zeros(512, np.uint64)
    page[0] = 2
    for maxnode in (0, 32770, EVERY):
        assert bind(app, page, maxnode) == -errno.EINVAL
        assert bind(app, pm.UserMemory(page, valid_bytes=0), maxnode) == -errno.EINVAL
    assert bind(app, page, 32769) == 0
    assert bound(app) == {1}


def test_sy51_words_beyond_the_first_must_be_zero(app: pm.Task) -> None:
    """Step 5; of the last only the valid bits matter."""
    assert bind(app, words(2, 0, 0), 193) == 0
    assert bind(app, words(2, 1, 0), 193) == -errno.EINVAL
    assert bind(app, words(2, 0, 1), 193) == -errno.EINVAL
    assert bind(app, words(2, 0, 1), 130) == -errno.EINVAL
    assert bind(app, words(2, 0, 2), 130) == 0
    assert bind(app, words(EVERY, EVERY << 1 & EVERY), 66) == 0
    assert bound(app) == {0, 1, 3}
    assert bind(app, {1, 64}, 66) == -errno.EINVAL
    assert bind(app, {1, 64}, 65) == 0


def test_sy51_words_are_read_one_by_one_from_the_second_on(app: pm.Task) -> None:
    """A wrong word before the end of memory is -EINVAL, after it is not reached: -EFAULT."""
    assert bind(app, words(2, 0, 0, readable=2), 193) == -errno.EFAULT
    assert bind(app, words(2, 7, 0, readable=2), 193) == -errno.EINVAL
    assert bind(app, words(2, 7, 0, readable=1), 193) == -errno.EFAULT
    assert bind(app, words(2, readable=0), 64) == -errno.EFAULT
    assert bind(app, pm.UserMemory(np.array([2], np.uint64), readable=False), 64) == -errno.EFAULT
    assert bind(app, pm.UserMemory(np.array([2], np.uint64), valid_bytes=7), 64) == -errno.EFAULT
    assert bound(app) == set()


def test_a_mask_may_be_bytes_or_signed_words(app: pm.Task) -> None:
    """User memory has no types: eight bytes are a word."""
    assert bind(app, np.array([2, 0, 0, 0, 0, 0, 0, 0], np.uint8), 64) == 0
    assert bound(app) == {1}
    assert bind(app, np.array([-1], np.int64), 64) == 0
    assert bound(app) == {0, 1, 3}


@pytest.mark.parametrize(
    "mask",
    [5, [1], (1,), "1", np.zeros(1, np.uint32), np.zeros((1, 1), np.uint64), {-1}, {1 << 15}, {"1"}, {1.0}],
)
def test_what_is_no_mask_is_a_usage_error(app: pm.Task, mask: object) -> None:
    """A mask is null, an array of 64-bit words, a UserMemory, or a set of node ids."""
    with pytest.raises(pm.UsageError):
        bind(app, mask, 64)
    for masks in ((mask, None), (None, mask)):
        with pytest.raises(pm.UsageError):
            pm.syscalls.migrate_pages(app, 0, 64, *masks)  # type: ignore[arg-type]
    for maxnode in (-(1 << 64), 1 << 64, None, 1.0):
        with pytest.raises(pm.UsageError):
            bind(app, None, maxnode)  # type: ignore[arg-type]
