"""What the tests of recorded and captured programs share: the recorded data, and who wrote it.

``data/README.md`` says what of it was recorded, and what was made by hand.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"

_LINE = re.compile(rb"(?: ([LSM]) |I  ?)([0-9a-fA-F]{1,16}),([0-9]{1,16})")
_KINDS = {b"L": 0, b"S": 1, b"M": 2}

Row = tuple[int, int, int]


@pytest.fixture(scope="session")
def sort_text() -> bytes:
    """The recorded sort, unpacked."""
    return lzma.decompress((DATA / "sort.lackey.xz").read_bytes())


@pytest.fixture(scope="session")
def sort_start(sort_text: bytes) -> bytes:
    """Its first 300 lines."""
    return b"".join(sort_text[:8192].splitlines(keepends=True)[:300])


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Write a file and return its path."""

    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def rows_in(text: bytes) -> list[Row] | None:
    """Lackey text the plain-Python way: (address, size, kind) of each data access; None if it is not legal.

    Written from the description of the format alone, to compare the parser with. The last line may be
    without a newline, lines may end with CR LF, and a byte order mark may stand before the first.
    """
    rows: list[Row] = []
    for line in text.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n"):
        line = line.removesuffix(b"\r")
        if line.startswith(b"==") or re.match(
            rb"(--|\*\*|SYSCALL\[)[0-9]|SB [0-9a-fA-F]{1,16}$| --> \[", line
        ):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        address, size = int(match[2], 16), int(match[3])
        if not 1 <= size <= 4096 or address + size > 1 << 64:
            return None
        if match[1] is not None:
            step = size if size < 256 else 128
            rows += [(address + at, min(step, size - at), _KINDS[match[1]]) for at in range(0, size, step)]
    return rows
