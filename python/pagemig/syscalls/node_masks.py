"""Node masks in user memory: read and written as Linux does, off by one and all.

Start with `read_node_mask` (``get_nodes``). A mask is an array of 64-bit words, bit n of word w
for node 64w + n; ``maxnode`` = N makes N - 1 bits count. A set of node ids stands for a mask of
4096 bytes, all of which can be read, so that ``maxnode`` keeps its meaning.

Source: syscalls 5.1, and 6.5 (step 6) for the writing.
"""

from __future__ import annotations

import errno
from collections.abc import Set
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..arguments import integer
from ..flags import PAGE_SIZE
from ..user_memory import ADDRESS, UserPointer, read_values, writable_bytes, write_bytes

NodeMask: TypeAlias = "UserPointer | Set[int]"
"""User memory of 64-bit words, or node ids for convenience."""

BITS_MAX = 8 * PAGE_SIZE
"""Bits that a mask may have: as many as a page."""

_WORD_BITS = 64
_ALL = (1 << _WORD_BITS) - 1


def read_node_mask(pointer: NodeMask, maxnode: int, what: str) -> int:
    """Return the mask at ``pointer``, bit n for node n, or a negative errno.

    Parameters
    ----------
    pointer
        Where it is.
    maxnode
        What the register holds: one more than the bits that count.
    what
        The name of the argument, for the `UsageError` if it is no pointer.
    """
    words = _words(pointer, what)
    bits = (maxnode - 1) & _ALL
    if bits == 0 or pointer is None:
        return 0
    if bits > BITS_MAX:
        return -errno.EINVAL
    count = -(-bits // _WORD_BITS)
    valid = (1 << bits % _WORD_BITS) - 1 or _ALL
    for number in range(1, count):
        if number >= words.size:
            return -errno.EFAULT
        if int(words[number]) & (valid if number == count - 1 else _ALL):
            return -errno.EINVAL
    if words.size == 0:
        return -errno.EFAULT
    return int(words[0]) & (valid if count == 1 else _ALL)


def require_mask_memory(pointer: UserPointer, what: str) -> None:
    """Raise `UsageError` unless a mask could be written there, faults aside."""
    writable_bytes(pointer, what, ADDRESS)


def write_node_mask(pointer: UserPointer, maxnode: int, mask: int, what: str) -> int:
    """Write a mask, ascending, as far as memory goes; return 0 or a negative errno.

    ``maxnode`` is at least 64: the first word is always written whole.
    """
    count = -(-((maxnode - 1) & _ALL) // _WORD_BITS)
    if count * _WORD_BITS > BITS_MAX:
        return -errno.EINVAL
    words = np.zeros(count, dtype=ADDRESS)
    words[0] = mask
    room = min(writable_bytes(pointer, what, ADDRESS), words.nbytes)
    write_bytes(pointer, words, 0, room)
    return 0 if room == words.nbytes else -errno.EFAULT


def _words(pointer: NodeMask, what: str) -> npt.NDArray[np.uint64]:
    """The words that can be read, from the first on."""
    if not isinstance(pointer, Set):
        return read_values(pointer, ADDRESS, BITS_MAX // _WORD_BITS, what)
    words = [0] * (BITS_MAX // _WORD_BITS)
    for node in pointer:
        number = integer(node, f"a node of {what}", high=BITS_MAX - 1)
        words[number // _WORD_BITS] |= 1 << number % _WORD_BITS
    return np.array(words, dtype=ADDRESS)
