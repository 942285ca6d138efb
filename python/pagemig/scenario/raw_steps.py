"""The three system calls raw: exactly the kernel's arguments, for what no verb would ask.

A verb such as `pagemig.scenario.call_steps.MovePages` cannot say an unknown flag, a mask that is too
long or a count that does not fit. These can. They run at once when their turn comes, so they are for
calls in sequence. What they do is `pagemig.syscalls`.
"""

from __future__ import annotations

from typing import Literal

from .part import ByTask
from .ranges import Register
from .values import Address, Bool, RawTarget, WantedNodes, Where


class RawMovePages(ByTask):
    """The system call move_pages, as it is."""

    do: Literal["raw_move_pages"]
    target: RawTarget | None = None
    """Whose pages: a task, or a pid; 0, its own, if left out."""
    pages: Where | None = None
    """The array of addresses; null if left out."""
    nodes: WantedNodes | None = None
    """The array of nodes; null if left out, which asks where the pages are."""
    status: Bool = True
    """Whether there is an array for the statuses; null if not."""
    count: Register | None = None
    """How many entries; as many as there are addresses if left out."""
    flags: Register = 2
    """MPOL_MF_MOVE 2, MPOL_MF_MOVE_ALL 4, or what is neither."""


class RawMigratePages(ByTask):
    """The system call migrate_pages, as it is."""

    do: Literal["raw_migrate_pages"]
    target: RawTarget | None = None
    """Whose pages: a task, or a pid; 0, its own, if left out."""
    maxnode: Register = 65
    """One more than the bits of the masks that count."""
    old_nodes: tuple[Register, ...] | None = None
    """The words of the mask of nodes from where; null if left out."""
    new_nodes: tuple[Register, ...] | None = None
    """The words of the mask of nodes to where; null if left out."""


class RawMbind(ByTask):
    """The system call mbind, as it is."""

    do: Literal["raw_mbind"]
    start: Address
    """Where the range begins."""
    length: Register
    """How long it is, bytes."""
    mode: Register
    """0 default, 1 preferred, 2 bind, 3 interleave; with 0x8000 static, 0x4000 relative; or none of these."""
    nodes: tuple[Register, ...] | None = None
    """The words of the mask of nodes; null if left out."""
    maxnode: Register = 65
    """One more than the bits of the mask that count."""
    flags: Register = 0
    """MPOL_MF_STRICT 1, MPOL_MF_MOVE 2, MPOL_MF_MOVE_ALL 4, or what is none of these."""
