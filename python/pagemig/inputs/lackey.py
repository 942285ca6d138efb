"""Valgrind lackey text: how to know it, and who parses it.

The parser itself is Rust (``rust/inputs``): one line an access, `` L addr,size`` and so on.
Every further format is a module of its own beside this one, with the same two functions.

Source: valgrind's manual, chapter Lackey; ``valgrind --tool=lackey --trace-mem=yes``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .. import _core

Columns: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Addresses, sizes and kinds, as the parser gives them."""

EXPECTED = "' L 1fff000650,8' (a load), ' S ...', ' M ...', 'I  ...', or '==123== ...'"
"""What its lines look like, for messages."""

HINT = "was it recorded with --trace-mem=yes?"
"""What is likely wrong with a recording that holds no access."""

_BEGINNINGS = (b" L ", b" S ", b" M ", b"I  ", b"==", b"--", b"**")


def is_lackey(beginning: bytes) -> bool:
    """Return whether a file that begins so is worth parsing as lackey text.

    >>> is_lackey(b" S 1fff000658,8"), is_lackey(b"time,address")
    (True, False)
    """
    return beginning.startswith(_BEGINNINGS)


def parser(*, instructions: bool) -> _core.LackeyParser:
    """Return a parser at the beginning of a file."""
    return _core.LackeyParser(instructions=instructions)
