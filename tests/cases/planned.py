"""A call other than ``move_pages``, read and ready to be made.

Start with :class:`PlacementCall`. Neighbours: ``placement``, ``cpusets`` and
``samepage`` prepare such calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .invocation import Answer
from .world import World

Make = Callable[[], int]


@dataclasses.dataclass
class PlacementCall:
    """One call, or several in a row, ready to be made."""

    world: World
    caller: str
    owner: str
    """The id of the task whose memory is meant."""
    makes: list[Make]
    mode: npt.NDArray[np.int32] | None = None
    mask: npt.NDArray[np.uint64] | None = None
    addresses: list[int] = dataclasses.field(default_factory=list)
    wanted: list[int] | None = None
    ranges: list[tuple[int, int, int, list[int]]] = dataclasses.field(default_factory=list)
    """Of a call made for several ranges: start, length in bytes, mode and nodes of each."""

    def run(self) -> list[Answer]:
        """Make the calls in order."""
        answers = []
        for make in self.makes:
            result = make()
            answers.append(Answer(result, None, None, self.world.machine.clone()))
        return answers


def result_of(verb: Callable[[], object]) -> int:
    """Do what the simulated kernel may refuse; return 0, or the negative errno as it does."""
    try:
        verb()
    except OSError as error:
        if error.errno is None:
            raise
        return -error.errno
    return 0
