"""Why a page that was asked to move stayed: the chain of reasons, and who is to blame.

Start with `why_not`. The reasons are read off the trace, attempt by attempt; the culprits off the
machine as it is afterwards: who pins the page, who else maps it, who holds what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report import WhyNot
from ..trace import Event

if TYPE_CHECKING:
    from .running import Flight
    from .world import World


def why_not(world: World, flights: list[Flight], events: tuple[Event, ...]) -> tuple[WhyNot, ...]:
    """Return why each page that a call was asked to move, and did not, stayed."""
    return ()
