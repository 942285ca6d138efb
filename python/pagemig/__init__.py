"""A deterministic model of Linux page migration, in user space.

>>> import pagemig as pm
>>> machine = pm.Machine(nodes=[64 * pm.MiB, 64 * pm.MiB])
>>> app = machine.spawn("app")
>>> heap = app.mmap(4 * pm.PAGE_SIZE)
>>> app.touch(heap).minor
4
>>> app.move_pages(heap, 1)
array([1, 1, 1, 1], dtype=int32)

Start with `Machine` and `Task`. `calls` and `Machine.start` stop operations half way;
`syscalls` has the system calls with the kernel's own arguments; `inputs` brings real
programs in. The behaviour is that of Linux 2.6.34 on x86-64: ``docs/spec/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import calls, syscalls
from ._core import build_profile
from .call import Call, WaitFor
from .errors import (
    DeadlockError,
    InternalError,
    InvariantError,
    MachineBusyError,
    OutOfMemoryError,
    PagemigError,
    SyscallError,
    UsageError,
)
from .explore import Replay, replay
from .flags import (
    PAGE_SIZE,
    Capability,
    EntryKind,
    GiB,
    Granularity,
    KiB,
    LruList,
    MbindFlags,
    MiB,
    MoveScope,
    OwnerKind,
    PageFlags,
    PolicyMode,
    Profile,
    Protection,
    VmFlags,
    ZoneKind,
)
from .machine import Machine
from .permissions import SecurityHook
from .policy import Policy
from .region import Region
from .results import (
    AccessResult,
    Anywhere,
    ByPage,
    Entry,
    Finding,
    FrameInfo,
    MemoryCounters,
    MigrationResult,
    Owner,
    ToNode,
)
from .task import Task
from .task_view import Vma
from .topology import Node, Topology, Zone
from .trace import Event, Trace
from .user_memory import UserMemory

if TYPE_CHECKING:
    from . import inputs

NONE = Protection.NONE
R = Protection.READ
W = Protection.WRITE
X = Protection.EXEC
RW = Protection.READ | Protection.WRITE
RX = Protection.READ | Protection.EXEC
RWX = Protection.READ | Protection.WRITE | Protection.EXEC

__all__ = [
    "NONE",
    "PAGE_SIZE",
    "RW",
    "RWX",
    "RX",
    "AccessResult",
    "Anywhere",
    "ByPage",
    "Call",
    "Capability",
    "DeadlockError",
    "Entry",
    "EntryKind",
    "Event",
    "Finding",
    "FrameInfo",
    "GiB",
    "Granularity",
    "InternalError",
    "InvariantError",
    "KiB",
    "LruList",
    "Machine",
    "MachineBusyError",
    "MbindFlags",
    "MemoryCounters",
    "MiB",
    "MigrationResult",
    "MoveScope",
    "Node",
    "OutOfMemoryError",
    "Owner",
    "OwnerKind",
    "PageFlags",
    "PagemigError",
    "Policy",
    "PolicyMode",
    "Profile",
    "Protection",
    "R",
    "Region",
    "Replay",
    "SecurityHook",
    "SyscallError",
    "Task",
    "ToNode",
    "Topology",
    "Trace",
    "UsageError",
    "UserMemory",
    "VmFlags",
    "Vma",
    "W",
    "WaitFor",
    "X",
    "Zone",
    "ZoneKind",
    "build_profile",
    "calls",
    "inputs",
    "replay",
    "syscalls",
]


def __getattr__(name: str) -> Any:
    """Load what most programs do not need when it is first asked for."""
    if name == "inputs":
        import importlib

        return importlib.import_module(".inputs", __name__)
    if name == "__version__":
        from importlib.metadata import version

        return version("pagemig")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
