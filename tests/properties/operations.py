"""Every operation of the twin by name, and how often each theme of a walk asks for it.

Start with :data:`OPERATIONS`. An operation takes six integers and a list of
them, and uses as many as it needs: any integers make a valid operation.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence

from .twin import Twin


class Theme(enum.Enum):
    """What a walk is about; the other operations are rare in it."""

    ANONYMOUS = "anonymous memory"
    FILES = "files and writeback"
    SWAP = "swap and shared memory"
    GROUPS = "groups, cpusets, offlining"
    MERGING = "KSM, with all that can happen to merged pages"


@dataclasses.dataclass(frozen=True)
class Operation:
    """A verb with its weights in the order of the themes."""

    run: Callable[[Twin, Sequence[int], list[int]], None]
    weights: tuple[int, int, int, int, int]
    pages_max: int = 60


def _plain(name: str, arguments: int, weights: tuple[int, int, int, int, int]) -> Operation:
    """An operation that takes so many small integers."""

    def run(twin: Twin, numbers: Sequence[int], pages: list[int]) -> None:
        getattr(twin, name)(*(number % 256 for number in numbers[:arguments]))

    return Operation(run, weights)


OPERATIONS = {
    name: _plain(name, arguments, weights)
    for name, arguments, weights in (
        ("spawn", 3, (2, 2, 2, 2, 1)),
        ("fork", 1, (4, 4, 4, 4, 4)),
        ("run_on", 3, (2, 2, 2, 2, 1)),
        ("mmap", 5, (12, 12, 12, 12, 10)),
        ("munmap", 3, (3, 3, 3, 3, 3)),
        ("mprotect", 4, (5, 4, 3, 3, 2)),
        ("mlock", 4, (4, 3, 3, 3, 4)),
        ("mremap", 5, (3, 2, 2, 2, 3)),
        ("madvise", 4, (2, 2, 2, 2, 8)),
        ("set_policy", 4, (3, 2, 2, 4, 1)),
        ("touch", 4, (18, 18, 20, 18, 10)),
        ("stamp", 4, (0, 0, 0, 2, 16)),
        ("pin", 3, (5, 3, 2, 2, 1)),
        ("unpin", 1, (2, 2, 2, 2, 1)),
        ("drain", 1, (3, 5, 8, 5, 10)),
        ("move_all_of", 4, (5, 5, 5, 4, 2)),
        ("move_nobodys", 1, (1, 0, 0, 0, 0)),
        ("migrate_pages", 4, (5, 4, 3, 3, 3)),
        ("mbind", 5, (6, 4, 3, 3, 3)),
        ("migrate_frames", 4, (2, 5, 5, 3, 4)),
        ("create_file", 2, (0, 4, 2, 2, 1)),
        ("read_file", 4, (0, 6, 2, 3, 1)),
        ("write_file", 4, (0, 8, 3, 4, 0)),
        ("truncate", 3, (0, 4, 2, 1, 1)),
        ("look_up", 3, (0, 2, 1, 0, 0)),
        ("write_back", 2, (0, 8, 2, 2, 0)),
        ("invalidate", 3, (0, 3, 1, 1, 0)),
        ("hold_buffer", 3, (0, 2, 0, 0, 0)),
        ("release_buffer", 1, (0, 1, 0, 0, 0)),
        ("flag_page", 3, (1, 1, 1, 1, 0)),
        ("complete_io", 0, (0, 4, 4, 1, 1)),
        ("reclaim", 3, (0, 6, 10, 2, 3)),
        ("create_memcg", 2, (0, 0, 1, 2, 1)),
        ("attach_memcg", 2, (0, 0, 1, 4, 1)),
        ("set_memcg_limit", 2, (0, 0, 0, 2, 0)),
        ("create_cpuset", 2, (0, 0, 0, 2, 0)),
        ("attach_cpuset", 2, (0, 0, 0, 3, 0)),
        ("set_cpuset_mems", 3, (0, 0, 0, 3, 0)),
        ("offline", 3, (0, 1, 1, 4, 4)),
        ("soft_offline", 2, (0, 1, 1, 2, 1)),
        ("ksm_scan", 0, (0, 0, 0, 4, 16)),
    )
}
OPERATIONS |= {
    "exit": Operation(lambda twin, n, _: twin.exit(n[0] % 256, survivors=2), (2, 2, 2, 2, 2)),
    "advance": Operation(lambda twin, n, _: twin.advance(n[0] % 6), (0, 4, 6, 2, 2)),
    "scatter": Operation(lambda twin, n, pages: twin.scatter(n[0], pages, n[1]), (5, 4, 4, 4, 3), 40),
    "write": Operation(lambda twin, n, _: twin.write(n[0], n[1], n[2]), (6, 6, 6, 8, 2)),
    "swap_out": Operation(lambda twin, n, pages: twin.swap_out(n[0], pages, n[1]), (0, 3, 12, 3, 6), 12),
    "move_pages": Operation(
        lambda twin, n, pages: twin.move_pages(n[0], n[1], pages, _nodes(n), n[5]), (9, 8, 8, 5, 4)
    ),
    "move_many": Operation(
        lambda twin, n, pages: twin.move_pages(n[0], n[1], pages, _nodes(n), n[5]), (1, 0, 0, 0, 0), 420
    ),
    "query": Operation(lambda twin, n, pages: twin.move_pages(n[0], n[1], pages, [], n[5]), (3, 1, 1, 1, 1)),
}


def _nodes(numbers: Sequence[int]) -> list[int]:
    return list(numbers[2 : 3 + numbers[4] % 3])


def steps_of(theme: Theme) -> list[tuple[str, int]]:
    """The operations of a walk with their weights."""
    at = list(Theme).index(theme)
    return [(name, operation.weights[at]) for name, operation in OPERATIONS.items() if operation.weights[at]]
