"""All verbs of a scenario: `CALLS` can be calls in flight, `STEPS` is what a setup can do.

``do`` chooses the verb and so the keys that go with it. The classes are in
`pagemig.scenario.call_steps`, `pagemig.scenario.raw_steps` and `pagemig.scenario.setup_steps`.
"""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field

from .call_steps import (
    AttachCpuset,
    CompleteIo,
    Drain,
    Exit,
    Fork,
    Invalidate,
    KsmScan,
    Lookup,
    Madvise,
    Mbind,
    MigrateFrames,
    MigratePages,
    Mlock,
    MovePages,
    Mprotect,
    Mremap,
    Munlock,
    Munmap,
    Offline,
    Pin,
    Read,
    ReadFile,
    Reclaim,
    SetCpusetMems,
    SoftOffline,
    SwapOut,
    Touch,
    Truncate,
    Unpin,
    Write,
    Writeback,
    WriteFile,
)
from .part import Step
from .raw_steps import RawMbind, RawMigratePages, RawMovePages
from .setup_steps import (
    Advance,
    HoldBuffer,
    Isolate,
    Mmap,
    Putback,
    ReleaseBuffer,
    SetMempolicy,
    SetPageFlag,
    SetSwapDevice,
    SetTask,
    Veto,
)

CALLS: tuple[type[Step], ...] = (
    MovePages,
    MigratePages,
    Mbind,
    Touch,
    Read,
    Write,
    Fork,
    Exit,
    Munmap,
    Mprotect,
    Mremap,
    Madvise,
    Mlock,
    Munlock,
    SwapOut,
    Pin,
    Unpin,
    ReadFile,
    WriteFile,
    Truncate,
    Lookup,
    Writeback,
    Invalidate,
    CompleteIo,
    Drain,
    Reclaim,
    KsmScan,
    Offline,
    SoftOffline,
    MigrateFrames,
    SetCpusetMems,
    AttachCpuset,
    RawMovePages,
    RawMigratePages,
    RawMbind,
)
"""What can be a call in flight."""

STEPS: tuple[type[Step], ...] = (
    *CALLS,
    SetMempolicy,
    Mmap,
    Advance,
    HoldBuffer,
    ReleaseBuffer,
    SetPageFlag,
    Isolate,
    Putback,
    SetSwapDevice,
    Veto,
    SetTask,
)
"""What a setup can do."""


def verb_of(kind: type[Step]) -> str:
    """Return the word that chooses a model.

    >>> verb_of(MovePages)
    'move_pages'
    """
    word: Any = kind.model_fields["do"].annotation
    return str(word.__args__[0])


def discriminated(kinds: tuple[type[Step], ...]) -> Any:
    """Return the type of a step that is one of some models, told apart by ``do``."""
    return Annotated[Union[kinds], Field(discriminator="do")]  # noqa: UP007
