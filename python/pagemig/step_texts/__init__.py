"""What every step does, in one sentence: for people who step through a call.

`STEP_TEXTS` has a sentence for each label that a call can stop at. `.engine` has the steps of
migration and of its callers, `.paths` those of everything else: faults, fork, unmapping, files, swap,
reclaim, KSM, cpusets. Each sentence is written in the present tense, with the call as its subject
left out, and says what the step does if nothing is in its way.

Source: migration (steps PB to MV), syscalls (SY), supporting-paths (SP with section and step).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .engine import ENGINE
from .paths import PATHS

STEP_TEXTS: Mapping[str, str] = MappingProxyType({**ENGINE, **PATHS})
"""The sentence for each step label."""


def text_of(label: str | None) -> str:
    """Return the sentence for a step; nothing for a call that is done.

    Examples
    --------
    >>> text_of("MM-6")
    'Freezes the old page: its count goes from what it should be to 0, if it still is that.'
    >>> text_of(None)
    ''
    """
    return STEP_TEXTS.get(label, "") if label is not None else ""
