"""What was refused before anything could be tried: frames that are on no LRU list, and spans of frames.

Start with `Refusals`, for one call right after it has ended. A call on frames (``migrate_frames``,
``offline``, ``soft_offline``) takes each page off its list first; what it could not take is told here with
who has it. An offlining can be refused as a whole, without a look at any page.

Source: syscalls 7 and 8, migration 2. Neighbours: `pagemig.scenario.reasons`, which asks, and
`pagemig.scenario.culprits`, which knows who has a page.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..flags import BlockState, PageFlags
from ..report import Reason
from .acting import node_frames
from .call_steps import MigrateFrames, Offline, SoftOffline
from .culprits import Blame, Culprit, Place, told
from .listening import Tried
from .part import Step

if TYPE_CHECKING:
    from .world import World

_NAMED_MAX = 8
_STEPS = {"migrate_frames": "MF-isolate", "offline": "SY7-5d", "soft_offline": "SY8-isolate"}


class Refusals:
    """What one call could not take.

    Parameters
    ----------
    world
        The machine, right after the call.
    part
        The call, as the scenario says it.
    tried
        What it did.
    blame
        Who keeps pages.
    """

    def __init__(self, world: World, part: Step, tried: Tried, blame: Blame) -> None:
        self._world, self._part, self._tried, self._blame = world, part, tried, blame
        self.frames = self._standing() if isinstance(part, (MigrateFrames, Offline, SoftOffline)) else {}
        """By frame: with what errno, negative, it was refused, and still stands in the way."""

    def _standing(self) -> dict[int, int]:
        """Of an offlining, only what is still in use: a frame that was freed meanwhile is in nobody's way."""
        refused = self._tried.refused
        if not isinstance(self._part, Offline):
            return dict(refused)
        return {pfn: code for pfn, code in refused.items() if self._world.machine.frame(pfn).count}

    def of(self, pfn: int) -> tuple[tuple[Reason, ...], tuple[Culprit, ...]]:
        """Return why one frame was refused, and who has it."""
        code, label = self.frames[pfn], _STEPS[str(getattr(self._part, "do", ""))]
        reason = Reason(None, label, code, self._why(pfn))
        return (reason,), self._blame.of(pfn, 0, -errno.EBUSY, (), {})

    def _why(self, pfn: int) -> str:
        machine = self._world.machine
        if pfn >= machine.frame_count:
            return "it is the zero page, which is on no LRU list"
        frame = machine.frame(pfn)
        if not frame.count:
            return "no page is in it: the frame is free"
        if PageFlags.RESERVED in frame.flags:
            return "it is reserved, and on no LRU list"
        return "it was on no LRU list when it was looked up"

    def named(self, places: list[Place]) -> tuple[Culprit, ...]:
        """Return the culprit of the pages beside them: nothing moves as long as one cannot be taken."""
        shown = [told(("", ((owner, number),))) if number >= 0 else owner for owner, number in places]
        more = f" and {len(shown) - _NAMED_MAX} more" if len(shown) > _NAMED_MAX else ""
        return ((f"{', '.join(shown[:_NAMED_MAX])}{more} could not be taken off a list", ()),)

    # a call that was refused as a whole ----------------------------------------------------

    def whole(self, part: Step, failure: int) -> Iterator[tuple[str, Reason, tuple[Culprit, ...]]]:
        """Yield what was refused, why, and who is to blame, of a call that came to no page."""
        if isinstance(part, SoftOffline):
            pfn = self._world.frame_or_none(part.pfn)
            if pfn is not None:
                yield (
                    f"frame {pfn}",
                    Reason(None, "SY8-get", failure, "nobody holds it, and it is not free"),
                    (),
                )
        if not isinstance(part, Offline):
            return
        first, count = self._span(part)
        label = self._tried.stage or "SY7-1"
        text, culprits = self._refused_span(label, failure, range(first, first + count), part)
        name = f"frames {first} to {first + count - 1}"
        yield name, Reason(None, label, failure, text), tuple((words, ()) for words in culprits)

    def _span(self, part: Offline) -> tuple[int, int]:
        if part.node is None:
            return part.first_pfn or 0, part.count or 1
        first, frames = node_frames(self._world, part.node)
        return first, frames if part.count is None else part.count

    def _refused_span(self, label: str, failure: int, span: range, part: Offline) -> tuple[str, list[str]]:
        if failure == -errno.EINTR:
            return "a signal was pending", [f"{part.by or 'the kernel'} has one to handle"]
        if failure == -errno.EAGAIN:
            return "its time was over", [f"it had {part.timeout} ticks"]
        if label == "SY7-1":
            return "only whole pageblocks of one zone can go offline", self._blocks_of(span)
        if label == "SY7-2":
            return "not all of its pageblocks are free to be marked", self._taken_blocks(span)
        if span[0] == 0 and self._world.machine.frame(0).lru is not None:
            return "frame 0 is on an LRU list, and the scan takes its number for none (Q25)", self._users(
                span
            )
        return "a frame of it is still in use, and on no LRU list", self._users(span)

    def _blocks_of(self, span: range) -> list[str]:
        at = 0
        for node, _, frames, *_ in self._world.machine._system.plan.zones:
            if at <= span[0] < at + frames:
                starts = [block.first_pfn for block in self._world.machine.pageblocks(node)]
                shown = ", ".join(map(str, starts[:_NAMED_MAX]))
                more = ", ..." if len(starts) > _NAMED_MAX else ""
                return [
                    f"the zone has frames {at} to {at + frames - 1}",
                    f"pageblocks of node {node} begin at frame {shown}{more}",
                ]
            at += frames
        return []

    def _taken_blocks(self, span: range) -> list[str]:
        machine = self._world.machine
        found = [
            (block.first_pfn, block.state)
            for node in machine.nodes
            for block in machine.pageblocks(node)
            if block.first_pfn in span and block.state is not BlockState.MOVABLE
        ]
        words = {
            BlockState.OFFLINE: "is offline",
            BlockState.ISOLATED: "is being taken offline by another call",
        }
        return [f"the block at frame {first} {words[state]}" for first, state in found[:_NAMED_MAX]]

    def _users(self, span: range) -> list[str]:
        machine = self._world.machine
        used = [pfn for pfn in span if machine.frame(pfn).count]
        more = [f"and {len(used) - _NAMED_MAX} more"] if len(used) > _NAMED_MAX else []
        return [*map(self._user, used[:_NAMED_MAX]), *more]

    def _user(self, pfn: int) -> str:
        places = self._blame.mappers.of(pfn)
        name = told(("", tuple(places[:1]))) if places else f"frame {pfn}"
        who = "; ".join(map(told, self._blame.of(pfn, 0, -errno.EBUSY, (), {})))
        return f"{name}: {who}" if who else name
