"""The text files of ``/proc/PID`` that tell about memory, line by line.

Start with `mapped_in`: the areas. `counts_in` and `nodes_in` add, by the start of an area,
how much of it is in memory and on which nodes.

Source: proc(5), numa(7). Left out: their other columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError
from ..flags import KiB
from .area import Area

_LINE = re.compile(
    rb"([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-])([ps]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)(?: +(.*))?"
)
_COUNT = re.compile(rb"(\w+): +(\d+) kB")
_ON_NODE = re.compile(rb"N(\d+)=(\d+)")
_PAGE_KIB = re.compile(rb"kernelpagesize_kB=(\d+)")


@dataclass(frozen=True, slots=True)
class Mapped:
    """One line of ``maps``: an area without its pages."""

    start: int
    end: int
    protection: str
    shared: bool
    offset: int
    name: str
    device: str
    inode: int

    @property
    def length(self) -> int:
        """Bytes of address space."""
        return self.end - self.start

    def bare(self) -> Area:
        """Return the area without any page."""
        return Area(
            self.start,
            self.end,
            self.protection,
            self.shared,
            self.offset,
            self.name,
            device=self.device,
            inode=self.inode,
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What ``smaps`` counts in one area, bytes."""

    resident: int
    anonymous: int
    swapped: int
    is_raw: bool
    """Whether it maps physical memory that has no page descriptors, as devices do."""

    @property
    def is_empty(self) -> bool:
        """Whether none of its pages is anywhere."""
        return not self.resident and not self.swapped and not self.is_raw


def _lines(text: bytes) -> list[bytes]:
    """Return the lines of a file of the kernel; a carriage return is part of a name."""
    return text.removesuffix(b"\n").split(b"\n") if text else []


def mapped_in(maps: bytes) -> list[Mapped]:
    """Return the areas of ``maps``.

    Raises
    ------
    UsageError
        A line is none of ``maps``, with its number.

    Examples
    --------
    >>> mapped_in(b"1000-3000 rw-p 00000000 00:00 0    [heap]\\n")[0].name
    '[heap]'
    """
    areas = []
    for number, line in enumerate(_lines(maps), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"maps: line {number}: not an area: {line[:60]!r}")
        areas.append(_mapped(match))
    return areas


def _mapped(match: re.Match[bytes]) -> Mapped:
    start, end, protection, share, offset, device, inode, name = match.groups()
    # An area of no object has device and inode 0; the first segment of System V has inode 0 too.
    number = int(inode)
    is_of_object = bool(number) or device.strip(b"0:") != b""
    return Mapped(
        int(start, 16),
        int(end, 16),
        protection.decode(),
        share == b"s",
        int(offset, 16),
        (name or b"").decode("utf-8", "backslashreplace"),
        device.decode() if is_of_object else "",
        number,
    )


def counts_in(smaps: bytes) -> dict[int, Counts]:
    """Return what ``smaps`` counts, by the start of the area."""
    counts: dict[int, Counts] = {}
    start, numbers, flags = -1, dict[bytes, int](), set[bytes]()
    for line in [*_lines(smaps), b"0-0 ---p 0 0:0 0"]:
        if (match := _LINE.fullmatch(line)) is not None:
            if start >= 0:
                counts[start] = _counts(numbers, flags)
            start, numbers, flags = int(match[1], 16), {}, set()
        elif (counted := _COUNT.fullmatch(line)) is not None:
            numbers[counted[1]] = int(counted[2]) * KiB
        elif line.startswith(b"VmFlags:"):
            flags = set(line.split()[1:])
    return counts


def _counts(numbers: dict[bytes, int], flags: set[bytes]) -> Counts:
    return Counts(
        resident=numbers.get(b"Rss", 0),
        anonymous=numbers.get(b"Anonymous", 0),
        swapped=numbers.get(b"Swap", 0),
        is_raw=bool(flags & {b"pf", b"io"}),
    )


def nodes_in(numa_maps: bytes) -> dict[int, tuple[tuple[int, int], ...]]:
    """Return (node, small pages on it) of each area, by the start of the area.

    >>> nodes_in(b"7f00 default anon=3 dirty=3 N0=1 N2=2 kernelpagesize_kB=4\\n")
    {32512: ((0, 1), (2, 2))}
    """
    nodes: dict[int, tuple[tuple[int, int], ...]] = {}
    for line in _lines(numa_maps):
        start, _, rest = line.partition(b" ")
        # A name that looks like a count must not be one.
        words = [word for word in rest.split(b" ") if not word.startswith(b"file=")]
        on_node = [match for word in words if (match := _ON_NODE.fullmatch(word)) is not None]
        size = next((int(match[1]) for word in words if (match := _PAGE_KIB.fullmatch(word)) is not None), 4)
        if on_node and re.fullmatch(rb"[0-9a-f]+", start) and size <= 64:
            pairs = {int(match[1]): int(match[2]) for match in on_node}
            nodes[int(start, 16)] = tuple(sorted(pairs.items()))
    return nodes
