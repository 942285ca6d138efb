"""Reading ``numa_maps``: where a task's pages are, one line for each area.

A line of ``/proc/PID/numa_maps`` names an area by its start, its memory policy, and then what was
counted while walking it::

    5566e000 default heap anon=3201 dirty=3201 active=0 N0=1712 N2=1489

Start with :func:`parse`; :class:`AreaPlacement` is one line understood. The text itself is written
by ``Task.numa_maps`` and, for live processes, by the host; this module only reads it, so that a
report can put two of them side by side. Below: :mod:`pagemig.errors`. Above: :mod:`pagemig.report`.

Source: proc(5) and numa(7). Left out: totals in kilobytes, which newer kernels add as
``kernelpagesize_kB`` (kept as a plain count under that name).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import UsageError

_NODE = re.compile(r"N(\d{1,4})")
_START = re.compile(r"[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True)
class AreaPlacement:
    """One line of ``numa_maps``.

    Attributes
    ----------
    start
        Address of the area's first byte.
    policy
        The memory policy as the kernel spells it, such as ``default`` or ``bind:0-1``.
    name
        ``heap``, ``stack``, a file's path, or ``""`` for unnamed memory.
    nodes
        Pages on each node that holds any.
    counts
        Every other ``name=number`` of the line, such as ``anon``, ``dirty`` or ``mapmax``.

    Examples
    --------
    >>> area = parse_line("5566e000 default heap anon=5 dirty=5 N0=3 N2=2")
    >>> area.name, area.pages, area.nodes[2], area.counts["anon"]
    ('heap', 5, 2, 5)
    """

    start: int
    policy: str
    name: str = ""
    nodes: Mapping[int, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def pages(self) -> int:
        """Pages that are present, on whichever node."""
        return sum(self.nodes.values())


def parse(text: str) -> tuple[AreaPlacement, ...]:
    """Read a whole ``numa_maps``, in its order; empty lines are skipped.

    Raises
    ------
    UsageError
        With the number of the line that is not one of ``numa_maps``, and why.
    """
    areas = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                areas.append(parse_line(line))
            except UsageError as error:
                raise UsageError(f"numa_maps line {number}: {error}") from None
    return tuple(areas)


def parse_line(line: str) -> AreaPlacement:
    """Read one line of ``numa_maps``.

    Raises
    ------
    UsageError
        If the line does not start with a hexadecimal address and a policy, or a count is no number.
    """
    words = line.split()
    if len(words) < 2 or not _START.fullmatch(words[0]):
        raise UsageError(f"expected a hexadecimal address and a policy, found {line.strip()[:60]!r}")
    name = ""
    nodes: dict[int, int] = {}
    counts: dict[str, int] = {}
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if not equals:
            name = name or key
        elif key == "file":
            name = value
        elif not value.isdecimal():
            raise UsageError(f"expected a number after {key + '='!r}, found {value!r}")
        elif node := _NODE.fullmatch(key):
            nodes[int(node[1])] = int(value)
        else:
            counts[key] = int(value)
    return AreaPlacement(int(words[0], 16), words[1], name, nodes, counts)


def only(text: str, starts: frozenset[int]) -> str:
    """Keep the lines of the areas that start at one of ``starts``."""
    kept = [line for line in text.splitlines() if line.strip() and parse_line(line).start in starts]
    return "\n".join(kept)
