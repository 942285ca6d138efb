"""Kernel samepage merging: equal pages that become one, read-only and shared.

`Ksm` is a handle on what a machine merges; it runs only when asked (`Ksm.scan`). A task says
with ``madvise`` (`pagemig.Advice.MERGEABLE`) what may be merged.

Source: data-model 7.3, supporting-paths 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import calls
from .calls.value import run_now
from .errors import said_by
from .region import HasPid
from .system import System


@dataclass(frozen=True, slots=True)
class KsmPlace:
    """An address at which KSM put a merged page."""

    mm: int
    """Whose memory, under a number of the model's own."""
    address: int
    """Of the page there."""


@dataclass(frozen=True, slots=True)
class KsmNode:
    """One merged page (a stable node)."""

    number: int
    """What the owner of the page is called by."""
    pfn: int
    """The frame (``kpfn``); of a stale node the one that it was, which is free or something else."""
    places: tuple[KsmPlace, ...]
    """Where it is mapped, newest first."""


class Ksm:
    """What a machine merges. Made by `pagemig.Machine.ksm`.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB], contents=True)
    >>> app = machine.spawn()
    >>> heap = app.mmap(2 * pm.PAGE_SIZE)
    >>> app.madvise(heap, pm.Advice.MERGEABLE)
    >>> app.touch(heap).minor
    2
    >>> machine.drain()
    >>> machine.ksm.scan()
    1
    >>> app.page_at(heap.start) == app.page_at(heap[1].start)
    True
    """

    __slots__ = ("_system",)

    def __init__(self, system: System) -> None:
        self._system = system

    def scan(self, *, by: HasPid | None = None, cpu: int = 0) -> int:
        """Look at all memory that may be merged, once.

        A page that somebody else holds a reference to is left alone: drain the pagevecs first
        (`pagemig.Machine.drain`).

        Parameters
        ----------
        by
            Who; by default the kernel.
        cpu
            Where the kernel does it; a task runs on its own CPU.

        Returns
        -------
        int
            How many pages were merged.

        Raises
        ------
        UsageError
            The machine has no contents.
        """
        with self._system.kernel_on(cpu, by):
            return int(run_now(self._system, self._system.acting(by), calls.ksm_scan()))

    @property
    def pages_shared(self) -> int:
        """Merged pages."""
        return self._system.core.ksm()[0]

    @property
    def pages_sharing(self) -> int:
        """Places of merged pages beyond the first of each: pages saved."""
        return self._system.core.ksm()[1]

    @property
    def pages_unshared(self) -> int:
        """Pages that were looked at and are like no other."""
        return self._system.core.ksm()[2]

    @property
    def nodes(self) -> tuple[KsmNode, ...]:
        """The merged pages, stale ones included."""
        return tuple(
            KsmNode(number, pfn, tuple(KsmPlace(*place) for place in places))
            for number, pfn, places in self._system.core.ksm_nodes()
        )

    def __eq__(self, other: object) -> bool:
        return self._system is other._system if isinstance(other, Ksm) else NotImplemented

    def __hash__(self) -> int:
        return hash(id(self._system))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with its machine."""
        return Ksm, (self._system,)

    def __repr__(self) -> str:
        return f"<Ksm: {said_by(self._counts)}>"

    def _counts(self) -> str:
        shared, sharing, unshared = self._system.core.ksm()
        return f"{shared} pages shared, {sharing} sharing, {unshared} unshared"
