"""Everything a task can be in the middle of, as values for `pagemig.Machine.start`.

Each function here has the name and the arguments of a verb of `pagemig.Task`, `pagemig.Machine`
or one of its handles, and returns a frozen value that does nothing by itself. `run_now` drives
one to its end at once: that is what the verbs are. So a verb and a call in flight are the same
code.

What a value is made of is checked when it is made; whether it makes sense on a machine, for a
task, is checked when it is started, with the errors of the verb. What it comes to is
`pagemig.Call.result`, which raises what the verb would have raised.

Each room has some of them: `accesses` and `memory` those of a task's memory, `life` how a task comes and
goes, `moving` and `placement` the system calls that move pages, `files`, `cpusets` and `kernel` what
their names say, `engine` the engine itself.

Source: architecture "Steps"; errors and order of checks as in each verb.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..rooms import found_in

if TYPE_CHECKING:
    from .accesses import access, pin, read, touch, unpin, write
    from .cpusets import attach_cpuset, set_cpuset_mems
    from .engine import migrate_frames
    from .files import complete_io, invalidate, lookup, read_file, truncate, write_file, writeback
    from .kernel import drain, ksm_scan, offline, reclaim, soft_offline
    from .life import exit, fork
    from .memory import madvise, mlock, mprotect, mremap, munlock, munmap, swap_out
    from .moving import move_pages
    from .placement import mbind, migrate_pages

__all__ = [
    "access",
    "attach_cpuset",
    "complete_io",
    "drain",
    "exit",
    "fork",
    "invalidate",
    "ksm_scan",
    "lookup",
    "madvise",
    "mbind",
    "migrate_frames",
    "migrate_pages",
    "mlock",
    "move_pages",
    "mprotect",
    "mremap",
    "munlock",
    "munmap",
    "offline",
    "pin",
    "read",
    "read_file",
    "reclaim",
    "set_cpuset_mems",
    "soft_offline",
    "swap_out",
    "touch",
    "truncate",
    "unpin",
    "write",
    "write_file",
    "writeback",
]

_ROOMS = {
    "accesses": ("access", "pin", "read", "touch", "unpin", "write"),
    "cpusets": ("attach_cpuset", "set_cpuset_mems"),
    "engine": ("migrate_frames",),
    "files": ("complete_io", "invalidate", "lookup", "read_file", "truncate", "write_file", "writeback"),
    "kernel": ("drain", "ksm_scan", "offline", "reclaim", "soft_offline"),
    "life": ("exit", "fork"),
    "memory": ("madvise", "mlock", "mprotect", "mremap", "munlock", "munmap", "swap_out"),
    "moving": ("move_pages",),
    "placement": ("mbind", "migrate_pages"),
}


def __getattr__(name: str) -> Any:
    """Open the room of a call when it is first asked for."""
    found = globals()[name] = found_in(__name__, _ROOMS, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
