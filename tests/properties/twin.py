"""The package and the reference side by side, doing the same things.

Start with :class:`Twin`. Each method is one operation: plain integers choose
the task, the pages and the rest modulo what there is, so that any integers make
a valid operation. After each one both sides must agree on the result, on the
whole state and, with contents, on every byte.
"""

from __future__ import annotations

from tests.reference.memory import Flag

from .twin_files import Files
from .twin_groups import Groups
from .twin_moves import Moves
from .twin_tasks import Tasks


class Twin(Tasks, Moves, Files, Groups):
    """Two machines that should never differ, and all that can be done with them."""

    def end(self) -> None:
        """Let everybody go; no frame may be left over that anybody needs."""
        for pin in list(self.pins):
            self._drop(pin)
        while self.held:
            self.release_buffer(0)
        self.advance(200)
        while self.tasks:
            self.exit(0)
        for which in range(len(self.files)):
            self.truncate(which, 0, 0)
        self.drain(len(self.machine.cpus))
        for node in self.machine.nodes:
            self.reclaim(node, 255, 0)
            self.reclaim(node, 255, 1)
        state = self.reference.state
        left = [frame for frame in state.memory.frames if frame.count]
        # A page that was activated and then forgotten stays until somebody looks at the active list.
        for frame in left:
            forgotten = frame.has(Flag.SWAPCACHE) and not state.swap.users(frame.private)
            assert forgotten or frame.has(Flag.PRIVATE) or frame.pfn in self.leaked, frame
