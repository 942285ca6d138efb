"""Flags of a page that a case gives it, and where they are after a move.

Start with :data:`STEPS` and :func:`travelled`. A flag comes about as it does on
Linux where something brings it about: a store makes a page dirty, uses make it
active, ``mlock`` unevictable. The others are a filesystem's, and set by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pagemig as pm

from . import addressing
from .form import Failed, Skipped
from .world import World

if TYPE_CHECKING:
    from .effects import Outcome

Flags = pm.PageFlags
BY_HAND = (Flags.REFERENCED, Flags.CHECKED, Flags.MAPPEDTODISK, Flags.ERROR)
"""In this order after all others: a use can clear PG_referenced."""
TAKEN = Flags.DIRTY | Flags.ACTIVE | Flags.UNEVICTABLE
"""What the copy takes from the old page at once; the rest it has until it is freed (migration 7)."""


def _set_flags(world: World, step: dict[str, Any]) -> None:
    name = step.get("task") or world.owner_of(step["page"])
    address = addressing.address(step["page"], world.regions_of(name))
    task, wanted = world.task(name), Flags(0)
    names = re.split(r"[|,]", step["flags"]) if isinstance(step["flags"], str) else step["flags"]
    if not names:
        raise Skipped("a page that is given no flags is not understood")
    for word in names:
        wanted |= flag(word)
    world.machine.drain()
    if wanted & Flags.DIRTY:
        task.touch([address])
    if wanted & Flags.ACTIVE:
        _use(task, address)
    if wanted & Flags.UNEVICTABLE:
        task.mlock(pm.Region(task, address & ~4095, 4096))
    frame = task.page_at(address)
    if frame is None:
        raise Failed(f"setup: nothing is present at {step['page']}")
    for one in BY_HAND:
        if one & wanted:
            world.machine.set_page_flag(frame.pfn, one)
    missing = wanted & ~world.machine.frame(frame.pfn).flags
    if missing:
        raise Skipped(f"the page {step['page']} cannot be given {missing!r}")
    world.flagged[step["page"]] = wanted


def flag(word: object) -> pm.PageFlags:
    """Read a flag, such as ``Referenced`` or ``mapped-to-disk``."""
    name = re.sub(r"^PG_|[-_ ]", "", str(word)).upper()
    if name not in Flags.__members__:
        raise Skipped(f"page flag {word!r} is not understood")
    return pm.PageFlags[name]


def _use(task: pm.Task, address: int) -> None:
    """Use a page until it is active, as programs that pin it for a moment do (supporting-paths 17)."""
    for _ in range(2):
        frame = task.page_at(address)
        if frame is not None and not frame.flags & Flags.ACTIVE:
            pinned = task.pin(address)
            if pinned is not None:
                task.unpin(pinned)


def travelled(outcome: Outcome, match: re.Match[str]) -> None:
    """Once the pagevecs are drained, the new page has all flags, and the old one none, and is free.

    Until then PG_active is not set, it is which pagevec the page is in (data-model 4.2).
    """
    world = outcome.world
    if not world.flagged:
        raise Skipped(f"effect in prose without flags: {match[0]!r}")
    after = world.machine.clone()
    after.drain()
    for page, flags in world.flagged.items():
        place = {"task": world.owner_of(page), "page": page}
        (now,), (then,) = outcome.frames(place), outcome.frames(place, earlier=True)
        if now is None or then is None or now.pfn == then.pfn:
            raise Failed(f"{page} has not moved")
        if missing := flags & ~after.frame(now.pfn).flags:
            raise Failed(f"the new page of {page} lacks {missing!r}")
        if kept := world.machine.frame(then.pfn).flags & TAKEN:
            raise Failed(f"the old page of {page} still has {kept!r}")
        old = after.frame(then.pfn)
        if old.count or old.flags:
            raise Failed(f"the old page of {page} has {old.count} references and the flags {old.flags!r}")


STEPS: dict[str, tuple[tuple[str, ...], Callable[[World, dict[str, Any]], None]]] = {
    "set_flags": (("task", "page", "flags"), _set_flags),
}
