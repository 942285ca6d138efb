"""What a mapping is, whether it is made before the setup or in it.

Neighbours: ``model``, whose regions are mappings, and ``setup_steps``, whose mmap makes one.
"""

from __future__ import annotations

from pydantic import model_validator

from .part import Part
from .ranges import MapOffset, Pages, RegionSize
from .values import AreaFlags, Bool, FileName, Protection, Start


class Mapped(Part):
    """A stretch of memory: how long, where, of what, for which accesses."""

    size: RegionSize | None = None
    """How long it is, or..."""
    pages: Pages | None = None
    """... how many pages it has."""
    at: Start | None = None
    """Where; the kernel chooses if left out."""
    protection: Protection = "rw"
    """What accesses are permitted."""
    file: FileName | None = None
    """What it maps; anonymous memory if left out."""
    offset: MapOffset = 0
    """From which byte of the file on."""
    shared: Bool = False
    """Whether stores reach the file, or children."""
    flags: AreaFlags = ()
    """Further flags of the area."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Mapped:
        if (self.size is None) == (self.pages is None):
            raise ValueError("a region wants either size or pages")
        return self
