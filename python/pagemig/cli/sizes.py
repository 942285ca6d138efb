"""Sizes as people write them: ``64MiB``, ``1.5GiB``, ``4096``.

Start with :func:`size`. Above: the verbs that take one.
"""

from __future__ import annotations

import re

from pagemig.errors import UsageError
from pagemig.flags import PAGE_SIZE

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


def size(text: str, what: str) -> int:
    """Read a size in bytes; units are powers of 1024.

    Raises
    ------
    UsageError
        If it is no size, or not a whole number of pages.

    Examples
    --------
    >>> size("64MiB", "--node-memory"), size("1.5g", "--node-memory")
    (67108864, 1610612736)
    """
    words = _SIZE.fullmatch(text.strip())
    if words is None:
        raise UsageError(f"{what}: {text!r} is not a size such as 64MiB")
    amount = float(words[1]) * _UNITS[words[2].upper()]
    if amount != int(amount) or int(amount) % PAGE_SIZE:
        below = int(amount) - int(amount) % PAGE_SIZE
        raise UsageError(
            f"{what}: {text!r} is {amount:.16g} bytes, not whole pages; "
            f"{below} or {below + PAGE_SIZE} would be"
        )
    return int(amount)


def sizes(text: str, what: str) -> tuple[int, ...]:
    """Read one size, or several with commas between them."""
    return tuple(size(word, what) for word in text.split(","))


def told(amount: int) -> str:
    """Write a size the short way.

    >>> told(67108864), told(4097)
    ('64 MiB', '4097 B')
    """
    for unit, letters in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if amount >= unit and amount % unit == 0:
            return f"{amount // unit} {letters}"
    return f"{amount} B"
