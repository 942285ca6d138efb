"""What the verbs and queries answer with: frozen values that compare, pickle and print.

Arrays inside them are read-only copies: looking at one never looks at the machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import integers
from .errors import UsageError
from .flags import BlockState, EntryKind, LruList, OwnerKind, PageFlags, RecordFlags, ZoneKind
from .storage import SwapEntry


class ArrayValue:
    """A frozen value with arrays among its fields: compares and hashes by content."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for value in self._values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
            for a, b in zip(self._values(), other._values(), strict=True)
        )

    def __hash__(self) -> int:
        plain = (v.tobytes() if isinstance(v, np.ndarray) else v for v in self._values())
        return hash((type(self), *plain))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._values())

    def _values(self) -> list[Any]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Owner:
    """What the ``mapping`` of a page names."""

    kind: OwnerKind
    """What it is."""
    id: int
    """Of a file `pagemig.File.number` (0 is the swap cache), of KSM `pagemig.KsmNode.number`; of
    anonymous memory the reverse-map list, under a number of the model's own."""


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """One page frame, as the specification names its fields (data-model 2.1)."""

    pfn: int
    """Its number."""
    node: int
    """The id of its node."""
    zone: ZoneKind
    """The kind of its zone."""
    flags: PageFlags
    """The flags of its page."""
    count: int
    """References."""
    mapcount: int
    """Present entries that map it, counted from 0."""
    owner: Owner | None
    """What its page belongs to; None if to nothing."""
    index: int
    """Where in its owner: pages from the start of a file; of anonymous memory the address it was mapped
    at first, in pages."""
    private: int
    """What its owner keeps with it: of a page in the swap cache the slot."""

    @staticmethod
    def _from_core(row: tuple[int, ...]) -> FrameInfo:
        """Make one from the core's tuple.

        Parameters
        ----------
        row
            Its fields in their order, the owner as kind and number.

        Returns
        -------
        FrameInfo
            The same as a value.
        """
        pfn, node, zone, flags, count, mapcount, kind, owner, index, private = row
        named = Owner(OwnerKind(kind), owner) if kind else None
        return FrameInfo(pfn, node, ZoneKind(zone), PageFlags(flags), count, mapcount, named, index, private)

    @property
    def lru(self) -> LruList | None:
        """The LRU list it is on, None if on none (data-model 4.1)."""
        if not self.flags & PageFlags.LRU:
            return None
        if self.flags & PageFlags.UNEVICTABLE:
            return LruList.UNEVICTABLE
        family = LruList.INACTIVE_ANON if self.flags & PageFlags.SWAPBACKED else LruList.INACTIVE_FILE
        return LruList(family + (1 if self.flags & PageFlags.ACTIVE else 0))


def lists_of(flags: npt.NDArray[np.uint32]) -> npt.NDArray[np.int8]:
    """Return the LRU lists of frames with these flags, -1 for those on none, as `FrameInfo.lru` for one."""
    is_file, is_active = flags & int(PageFlags.SWAPBACKED) == 0, flags & int(PageFlags.ACTIVE) != 0
    lists: npt.NDArray[np.int8] = 2 * is_file.astype(np.int8) + is_active.astype(np.int8)
    lists[flags & int(PageFlags.UNEVICTABLE) != 0] = LruList.UNEVICTABLE
    lists[flags & int(PageFlags.LRU) == 0] = -1
    return lists


@dataclass(frozen=True, slots=True)
class Entry:
    """One page-table entry (data-model 6.3 and 6.4)."""

    kind: EntryKind
    """What it is."""
    writable: bool
    """The write bit; of a migration entry, whether it is the write flavour."""
    dirty: bool
    """Whether the page was stored to through it."""
    accessed: bool
    """Whether the page was accessed through it."""
    special: bool
    """Whether it maps the zero page or another page that is not counted."""
    pfn: int | None
    """The frame it names; for a migration entry the page that is being moved."""
    raw: int
    """The 64 bits of the entry."""

    @staticmethod
    def _from_core(row: tuple[int, bool, bool, bool, bool, int, int]) -> Entry:
        """Make one from the core's tuple.

        Parameters
        ----------
        row
            Its fields in their order.

        Returns
        -------
        Entry
            The same as a value.
        """
        kind, writable, dirty, accessed, special, pfn, raw = row
        is_frame = kind in (EntryKind.PRESENT, EntryKind.MIGRATION) and not special
        return Entry(EntryKind(kind), writable, dirty, accessed, special, pfn if is_frame else None, raw)

    @property
    def swap(self) -> SwapEntry | None:
        """The slot that it names, of a swap entry; None of all others."""
        return SwapEntry.from_leaf(self.raw) if self.kind is EntryKind.SWAP else None


@dataclass(frozen=True, slots=True)
class MemoryCounters:
    """The resident counters of a task, pages, as stored: they may be negative (Q16)."""

    file: int
    """Pages of files, shared memory included."""
    anon: int
    """Pages of its own."""
    swap: int
    """Entries that name a slot of swap."""


@dataclass(frozen=True, slots=True, eq=False)
class AccessResult(ArrayValue):
    """What a batch of accesses came to."""

    hits: int
    """Accesses that found their page."""
    minor: int
    """Faults served without I/O."""
    major: int
    """Faults that had to read."""
    cow: int
    """Those of ``minor`` that broke copy-on-write, by copying or by taking the page over."""
    spurious: int
    """Faults after which the access was tried again."""
    sigsegv: npt.NDArray[np.uint64]
    """Addresses that may not be accessed."""
    sigbus: npt.NDArray[np.uint64]
    """Addresses beyond the end of the file that is mapped there, or that its disk failed to read."""


@dataclass(frozen=True, slots=True, eq=False)
class MigrationResult(ArrayValue):
    """What the engine did with a list of frames."""

    not_migrated: int | None
    """How many were isolated but stayed; None if an error ended the batch (the count is lost)."""
    error: int | None
    """The errno that ended the batch, positive, or None."""
    statuses: npt.NDArray[np.int32]
    """For each frame given: the node it is on now, or a negative errno."""
    attempts: npt.NDArray[np.uint32]
    """For each frame given: how often it was tried, 0 if it could not be isolated."""
    passes: int
    """How often the list was walked, at most ten times."""
    frames_discarded: int
    """Target frames that were taken in vain."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken invariant."""

    rule: str
    """The name of the rule."""
    invariants: str
    """Ids of the specification, such as ``I-10, I-12``."""
    pfn: int | None
    """The frame that it is about, None if about none."""
    detail: str
    """What is wrong, in words and numbers."""

    def __str__(self) -> str:
        return f"{self.rule} ({self.invariants}): {self.detail}"


@dataclass(frozen=True, slots=True)
class Drift:
    """What documented quirks carried off one ledger since the machine was built (invariants)."""

    ledger: str
    """A zone counter (Q15, Q19), ``anon`` or ``file`` (Q16), ``mapped_file`` (Q17), ``charge`` (Q18)."""
    where: int
    """The node of the zone, the number of the address space, or that of the memory cgroup."""
    by: int
    """How much more it shows than there is; pages."""


@dataclass(frozen=True, slots=True)
class Pageblock:
    """A run of frames that goes offline as one."""

    first_pfn: int
    """Its first frame."""
    state: BlockState
    """What it is for."""


@dataclass(frozen=True, slots=True)
class MemcgRecord:
    """Which memory cgroup pays for a frame (data-model 9)."""

    flags: RecordFlags
    """What the record says."""
    owner: int
    """`pagemig.Memcg.number`; what it was last, if the frame is not charged."""


@dataclass(frozen=True, slots=True)
class ToNode:
    """Move pages to one node, or to the nearest with room if it has none.

    Parameters
    ----------
    node
        Its id; it must have memory.
    """

    node: int


@dataclass(frozen=True, slots=True)
class Anywhere:
    """Move pages to any frame, the local node first."""


@dataclass(frozen=True, slots=True)
class ByPage:
    """Move each page to a node of its own, without fallback.

    Parameters
    ----------
    nodes
        The node of each frame, by its number: ``{pfn: node}``.

    Raises
    ------
    UsageError
        ``nodes`` is no mapping.

    Examples
    --------
    >>> ByPage({7: 1}).node_of(7)
    1
    """

    nodes: Mapping[int, int]

    def __post_init__(self) -> None:
        if not isinstance(self.nodes, Mapping):
            raise UsageError(f"nodes is {self.nodes!r}; it must be {{pfn: node}}")
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))

    def __reduce__(self) -> tuple[Any, ...]:
        return ByPage, (dict(self.nodes),)

    def __repr__(self) -> str:
        return f"ByPage(nodes={dict(self.nodes)})"

    def node_of(self, pfn: int) -> int:
        """Tell the node for one page.

        Parameters
        ----------
        pfn
            Its frame.

        Returns
        -------
        int
            The id of the node.

        Raises
        ------
        UsageError
            None was named.
        """
        if pfn not in self.nodes:
            raise UsageError(f"ByPage names no node for frame {pfn}")
        return self.nodes[pfn]

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.nodes.items())))


def frame_list(pfns: object, frames: int) -> npt.NDArray[np.uint32]:
    """Return frame numbers as an array; each must be below ``frames``."""
    array = integers(pfns, "pfns")
    if array.size and not (array.min() >= 0 and array.max() < frames):
        raise UsageError(f"pfns holds {array.min()} to {array.max()}; frames are 0 to {frames - 1}")
    return array.astype(np.uint32)
