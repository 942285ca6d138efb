"""What it costs to come through the door at all: one page, and the import."""

from __future__ import annotations

import subprocess
import sys

from .machines import machine_with_heap


class OnePage:
    """Calls so small that the way in and out is most of them."""

    def setup(self) -> None:
        """A heap of a few pages; only the first is asked about."""
        self.machine, self.task, heap = machine_with_heap(16)
        self.page = heap[:1]
        self.node = 0

    def time_query(self) -> None:
        """Where is this page?"""
        self.task.move_pages(self.page)

    def time_stay(self) -> None:
        """Move it to where it is."""
        self.task.move_pages(self.page, 0)

    def time_move(self) -> None:
        """Move it to the other node, and next time back."""
        self.node ^= 1
        self.task.move_pages(self.page, self.node)

    def time_touch(self) -> None:
        """Write to a page that is there."""
        self.task.touch(self.page)

    def time_property(self) -> None:
        """Read one number of the machine."""
        _ = self.machine.now


class Import:
    """A new interpreter each time; numpy is the part that is not ours."""

    number = 1
    params = (("numpy", "pagemig"),)
    param_names = ("module",)

    def time_import(self, module: str) -> None:
        """Start, import, end."""
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
