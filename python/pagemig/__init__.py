"""A deterministic model of Linux page migration, in user space.

>>> import pagemig as pm
>>> machine = pm.Machine(nodes=[64 * pm.MiB, 64 * pm.MiB])
>>> app = machine.spawn("app")
>>> heap = app.mmap(4 * pm.PAGE_SIZE)
>>> app.touch(heap).minor
4
>>> app.move_pages(heap, 1)
array([1, 1, 1, 1], dtype=int32)

Start with `Machine` and `Task`; `File`, `Memcg`, `Cpuset` and `Ksm` are what else a machine has.
`filesystems` are the kinds of files. `calls` and `Machine.start` stop operations half way;
`syscalls` has the system calls with the kernel's own arguments; `Scenario` tells a situation on
one page; `inputs` brings real programs in. The behaviour is that of Linux 2.6.34 on x86-64: ``docs/spec/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import calls, filesystems, syscalls
from ._core import build_profile
from .bugs import Bug
from .call import Call, Holder, Lock, WaitFor
from .cpuset import Cpuset
from .errors import (
    DeadlockError,
    ExplorationInterrupted,
    InternalError,
    InvariantError,
    MachineBusyError,
    OutOfMemoryError,
    PagemigError,
    SyscallError,
    UsageError,
)
from .file import File
from .filesystems import (
    DirtyMethod,
    FileSystem,
    MigrateMethod,
    ReleaseMethod,
    WriteMethod,
    WriteOutcome,
)
from .flags import (
    PAGE_SIZE,
    Advice,
    BlockState,
    BufferState,
    Capability,
    EntryKind,
    GiB,
    Granularity,
    IoDirection,
    KiB,
    LruList,
    MappingFlags,
    MbindFlags,
    MiB,
    MoveScope,
    OwnerKind,
    PageFamily,
    PageFlags,
    PolicyMode,
    Profile,
    Protection,
    RecordFlags,
    VmFlags,
    Written,
    ZoneKind,
)
from .ksm import Ksm, KsmNode, KsmPlace
from .machine import Machine
from .memcg import Memcg, MemcgStatistics
from .permissions import SecurityHook
from .policy import Policy
from .region import Region
from .results import (
    AccessResult,
    Anywhere,
    ByPage,
    Drift,
    Entry,
    Finding,
    FrameInfo,
    MemcgRecord,
    MemoryCounters,
    MigrationResult,
    Owner,
    Pageblock,
    ToNode,
)
from .rooms import found_in
from .storage import Buffer, SwapEntry, SwapInfo, SwapSlot, Transfer
from .tables import Table
from .task import Task
from .task_view import Vma
from .topology import Node, Topology, Zone
from .trace import Event, Trace
from .user_memory import UserMemory

if TYPE_CHECKING:
    from . import inputs
    from .cost_model import CostModel, ModelledTime, cost_curve, measured, modelled_time, presets
    from .exhibits import Exhibit, Gallery, gallery
    from .exploring import explore
    from .replaying import Replay, Symptom, ViolationKind, replay
    from .report import Report
    from .scenario import Scenario
    from .strategies import Exhaustive, Pct, Random
    from .sweeping import sweep
    from .timeline import Timeline
    from .verdict import ExplorationStatistics, Outcome, Raised, Stop, Verdict, Violation

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
    "Advice",
    "Anywhere",
    "BlockState",
    "Buffer",
    "BufferState",
    "Bug",
    "ByPage",
    "Call",
    "Capability",
    "CostModel",
    "Cpuset",
    "DeadlockError",
    "DirtyMethod",
    "Drift",
    "Entry",
    "EntryKind",
    "Event",
    "Exhaustive",
    "Exhibit",
    "ExplorationInterrupted",
    "ExplorationStatistics",
    "File",
    "FileSystem",
    "Finding",
    "FrameInfo",
    "Gallery",
    "GiB",
    "Granularity",
    "Holder",
    "InternalError",
    "InvariantError",
    "IoDirection",
    "KiB",
    "Ksm",
    "KsmNode",
    "KsmPlace",
    "Lock",
    "LruList",
    "Machine",
    "MachineBusyError",
    "MappingFlags",
    "MbindFlags",
    "Memcg",
    "MemcgRecord",
    "MemcgStatistics",
    "MemoryCounters",
    "MiB",
    "MigrateMethod",
    "MigrationResult",
    "ModelledTime",
    "MoveScope",
    "Node",
    "OutOfMemoryError",
    "Outcome",
    "Owner",
    "OwnerKind",
    "PageFamily",
    "PageFlags",
    "Pageblock",
    "PagemigError",
    "Pct",
    "Policy",
    "PolicyMode",
    "Profile",
    "Protection",
    "R",
    "Raised",
    "Random",
    "RecordFlags",
    "Region",
    "ReleaseMethod",
    "Replay",
    "Report",
    "Scenario",
    "SecurityHook",
    "Stop",
    "SwapEntry",
    "SwapInfo",
    "SwapSlot",
    "Symptom",
    "SyscallError",
    "Table",
    "Task",
    "Timeline",
    "ToNode",
    "Topology",
    "Trace",
    "Transfer",
    "UsageError",
    "UserMemory",
    "Verdict",
    "Violation",
    "ViolationKind",
    "VmFlags",
    "Vma",
    "W",
    "WaitFor",
    "WriteMethod",
    "WriteOutcome",
    "Written",
    "X",
    "Zone",
    "ZoneKind",
    "build_profile",
    "calls",
    "cost_curve",
    "explore",
    "filesystems",
    "gallery",
    "inputs",
    "measured",
    "modelled_time",
    "presets",
    "replay",
    "sweep",
    "syscalls",
]


# Rooms that most scripts do not enter are opened when somebody first asks for one or for what it holds.
_LATER = {
    "cost_model": ("CostModel", "ModelledTime", "cost_curve", "measured", "modelled_time", "presets"),
    "exhibits": ("Exhibit", "Gallery", "gallery"),
    "exploring": ("explore",),
    "inputs": (),
    "replaying": ("Replay", "Symptom", "ViolationKind", "replay"),
    "report": ("Report",),
    "scenario": ("Scenario",),
    "strategies": ("Exhaustive", "Pct", "Random"),
    "sweeping": ("sweep",),
    "timeline": ("Timeline",),
    "verdict": ("ExplorationStatistics", "Outcome", "Raised", "Stop", "Verdict", "Violation"),
}


def __getattr__(name: str) -> Any:
    """Open a room, or find what it holds, when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pagemig")
    found = globals()[name] = found_in(__name__, _LATER, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
