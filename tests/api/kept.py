"""The machine that is kept as a file, so that nobody changes what a snapshot is without saying so.

:func:`machine` builds it: something in every store, and calls stopped half way. The file
``tests/data/machine-OUTER-CORE.snapshot`` is its snapshot, named by the two versions in it.

``python -m tests.api.kept`` writes the file anew. Do that after raising a version, or when the
model itself changed so that the same calls lead elsewhere.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

import pagemig as pm
from pagemig import PAGE_SIZE

DATA = Path(__file__).parents[1] / "data"
CORE_MAGIC = b"pagemig\0"


def machine() -> pm.Machine:
    """Two nodes, three tasks, files, groups, swap, KSM, a transfer on its way, and calls in flight."""
    made = pm.Machine(
        nodes=[64 * PAGE_SIZE, pm.Node(zones=[pm.Zone(pm.ZoneKind.MOVABLE, 64 * PAGE_SIZE, low=2)])],
        contents=True,
        swap=16 * PAGE_SIZE,
        topology=pm.Topology([[10, 21], [21, 10]]),
        pageblock_frames=8,
    )
    made.record(200)
    group = made.create_memcg("batch", limit=40 * PAGE_SIZE)
    app = made.spawn("app", memcg=group)
    other = made.spawn("other", uid=7, stack=False, cpu=1)
    made.create_cpuset("set", mems=[0, 1], memory_migrate=True).attach(other)
    slow = pm.FileSystem("slow", io_ticks=500, write_script=[pm.WriteOutcome.WELL, 5])
    file = made.create_file("log", 3 * PAGE_SIZE, filesystem=slow)
    file.write(0, b"log")
    file.writeback(0)
    heap, equal = app.mmap(6 * PAGE_SIZE), app.mmap(4 * PAGE_SIZE, flags=[pm.VmFlags.MERGEABLE])
    for at, page in enumerate((*heap, *equal)):
        app.write(page.start, bytes([1 + at % 2]))
    made.drain()
    made.ksm.scan()
    made.ksm.scan()
    app.swap_out(heap[5].start)
    app.mbind(heap[4], pm.Policy(pm.PolicyMode.PREFERRED, [1]))
    app.fork("child")
    made.security_hook = pm.SecurityHook({(2, 1): 13})
    status = pm.UserMemory(np.full(4, -1, np.int32), valid_bytes=14)
    move = pm.calls.move_pages(heap[:4], 1, scope=pm.MoveScope.SHARED, status=status)
    made.start(move, by=app).run_until("UM-1")
    made.start(pm.calls.read_file(file, PAGE_SIZE, 10), by=other).run_until("SP2.3-3")
    made.start(pm.calls.write(heap.start, b"!"), by=app, granularity=pm.Granularity.COARSE).step()
    return made


def versions(snapshot: bytes) -> tuple[int, int]:
    """The two versions in a snapshot: of the package's part, and of the core's."""
    core = snapshot.rindex(CORE_MAGIC)
    return struct.unpack_from("<I", snapshot, 16)[0], struct.unpack_from("<I", snapshot, core + 8)[0]


def path_for(snapshot: bytes) -> Path:
    """Where the file of its versions is."""
    outer, core = versions(snapshot)
    return DATA / f"machine-{outer}-{core}.snapshot"


if __name__ == "__main__":
    made = machine().snapshot()
    DATA.mkdir(exist_ok=True)
    path_for(made).write_bytes(made)
    print(f"{path_for(made)}: {len(made)} bytes")
