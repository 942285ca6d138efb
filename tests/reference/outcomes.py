"""How a fault ends.

Start with :class:`Fault`.

Source: supporting paths 2.1.
Left out: poisoned pages.
"""

from __future__ import annotations

import enum


class Fault(enum.Flag):
    """The result of a fault: handled, or why not."""

    DONE = 0
    MAJOR = enum.auto()
    WRITE = enum.auto()
    SEGV = enum.auto()
    BUS = enum.auto()
    NO_MEMORY = enum.auto()


FAILED = (Fault.SEGV, Fault.BUS, Fault.NO_MEMORY)
