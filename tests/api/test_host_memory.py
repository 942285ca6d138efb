"""A host with little memory: a call is refused before it begins, and nothing has changed.

Method: an interpreter of its own gives itself a little more address space than it has, tries a call, takes
the limit back and compares. A process that ended instead, as Rust's collections would end it, fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PAGES = 150_000

# What is freed goes back to the host at once, so that the limit is where the call begins.
NO_HOARD = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}

TRYING = """
import json, resource, sys
import numpy as np
import pagemig as pm

PAGES, VERB = int(sys.argv[1]), sys.argv[2]
# Less than there is, so that not even the piece helps that is kept for small calls.
MORE = [-(1 << 24), 0, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 32]
SIZE = PAGES * pm.PAGE_SIZE

def machine(**more):
    made = pm.Machine(nodes=[SIZE + pm.GiB // 4] * 2, **more)
    return made, made.spawn("app")

def heap():
    made, task = machine()
    region = task.mmap(SIZE)
    task.touch(region)
    return made, task, region

def touch():
    made, task = machine()
    region = task.mmap(SIZE)
    return made, lambda: task.touch(region)

def scattered():
    made, task = machine()
    region = task.mmap(2**38)
    where = np.arange(region.start, region.end, 2**22, dtype=np.uint64)
    return made, lambda: task.access(where, True)

def on_heap(verb):
    made, task, region = heap()
    return made, lambda: verb(made, task, region)

def write_file():
    made, task = machine()
    file = made.create_file("f", SIZE)
    return made, lambda: file.write(0, size=SIZE, by=task)

def read_file():
    made, task = machine()
    file = made.create_file("f", SIZE)
    return made, lambda: file.read(0, SIZE, by=task)

def restore():
    made, task, region = heap()
    kept = made.snapshot()
    return made, lambda: pm.Machine.restore(kept)

def beside():
    made, task, region = heap()
    other = made.spawn()
    page = other.mmap(pm.PAGE_SIZE)
    made.start(pm.calls.touch(page), by=other)
    return made, lambda: task.mprotect(region, pm.Protection.READ)

# Machines with contents are smaller: each of their pages takes 4 KiB of the host.
FEWER = PAGES // 8

def written(pages=FEWER, value=7, **more):
    made = pm.Machine(nodes=[PAGES * pm.PAGE_SIZE // 4] * 2, contents=True, **more)
    task = made.spawn("app")
    region = task.mmap(pages * pm.PAGE_SIZE)
    task.write(region.start, bytes([value]) * region.length)
    made.drain()
    return made, task, region

def mlock():
    made, task = machine()
    region = task.mmap(SIZE)
    return made, lambda: task.mlock(region)

def cached(file_size=SIZE, **more):
    made, task = machine(**more)
    file = made.create_file("f", file_size)
    file.read(0, file_size, by=task)
    made.drain()
    return made, task, file

def reclaim():
    made, task, file = cached()
    return made, lambda: made.reclaim(0, PAGES, family=pm.PageFamily.FILE)

def written_back():
    made, task, region = written(swap=FEWER * pm.PAGE_SIZE * 2)
    file = made.create_file("f", FEWER * pm.PAGE_SIZE)
    file.write(0, b"x" * (FEWER * pm.PAGE_SIZE), by=task)
    made.drain()
    return made, lambda: made.reclaim(0, FEWER, family=pm.PageFamily.FILE)

def ksm_scan():
    made, task, region = written()
    task.madvise(region, pm.Advice.MERGEABLE)
    return made, lambda: made.ksm.scan()

def unmerge():
    made, task, region = written()
    task.madvise(region, pm.Advice.MERGEABLE)
    made.ksm.scan()
    return made, lambda: task.madvise(region, pm.Advice.UNMERGEABLE)

def offline():
    made, task, region = heap()
    # Not from the start: frame 0 cannot be told from none (Q25).
    return made, lambda: made.offline(512, (PAGES // 512 - 1) * 512)

def set_mems():
    made, task, region = heap()
    group = made.create_cpuset("moving", mems=[0], memory_migrate=True)
    group.attach(task)
    return made, lambda: group.set_mems([1])

def attach():
    made, task, region = heap()
    group = made.create_cpuset("moving", mems=[1], memory_migrate=True)
    return made, lambda: group.attach(task)

def write_bytes():
    made, task, region = written(1)
    wide = task.mmap(FEWER * pm.PAGE_SIZE)
    data = b"x" * wide.length
    return made, lambda: task.write(wide.start, data)

def read_bytes():
    made, task, region = written()
    return made, lambda: task.read(region.start, region.length)

def restore_bytes():
    made, task, region = written()
    kept = made.snapshot()
    return made, lambda: pm.Machine.restore(kept)

def copy_on_write():
    made, task, region = written()
    child = task.fork()
    return made, lambda: child.touch(child.same(region))

def with_bytes(verb):
    made, task, region = written()
    return made, lambda: verb(made, task, region)

def columns():
    made, task, file = cached()
    return made, lambda: file.pages

BIND = pm.Policy(pm.PolicyMode.BIND, [1])
MAKE = {
    "mlock": mlock,
    "reclaim": reclaim,
    "reclaim what must be written": written_back,
    "ksm scan": ksm_scan,
    "unmerge": unmerge,
    "offline": offline,
    "set_mems": set_mems,
    "attach": attach,
    "write bytes": write_bytes,
    "read bytes": read_bytes,
    "restore bytes": restore_bytes,
    "snapshot bytes": lambda: with_bytes(lambda made, task, region: made.snapshot()),
    "clone bytes": lambda: with_bytes(lambda made, task, region: made.clone()),
    "move bytes": lambda: with_bytes(lambda made, task, region: task.move_pages(region, 1)),
    "copy on write": copy_on_write,
    "audit": lambda: on_heap(lambda made, task, region: made.check()),
    "frames": lambda: on_heap(lambda made, task, region: made.frames(0)),
    "lru": lambda: on_heap(lambda made, task, region: made.lru(0, pm.LruList.ACTIVE_ANON)),
    "file.pages": columns,
    "nodes_of": lambda: on_heap(lambda made, task, region: task.nodes_of(region)),
    "create_memcg": lambda: on_heap(lambda made, task, region: made.create_memcg("first")),
    "touch": touch,
    "access": scattered,
    "move_pages": lambda: on_heap(lambda made, task, region: task.move_pages(region, 1)),
    "query": lambda: on_heap(lambda made, task, region: task.move_pages(region)),
    "migrate_pages": lambda: on_heap(lambda made, task, region: task.migrate_pages(None, [0], [1])),
    "mbind": lambda: on_heap(lambda made, task, region: task.mbind(region, BIND, flags=pm.MbindFlags.MOVE)),
    "fork": lambda: on_heap(lambda made, task, region: task.fork()),
    "mremap": lambda: on_heap(lambda made, task, region: task.mremap(region, to=0x600000000000)),
    "write_file": write_file,
    "read_file": read_file,
    "clone": lambda: on_heap(lambda made, task, region: made.clone()),
    "snapshot": lambda: on_heap(lambda made, task, region: made.snapshot()),
    "restore": restore,
    "beside another call": beside,
}

def space():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

made, verb = MAKE[VERB]()
answers = []
for more in MORE:
    before = made.snapshot()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = space() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        verb()
        answer = "done"
    except (MemoryError, pm.UsageError) as refused:
        answer = f"{type(refused).__name__}: {refused}"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    answers.append(answer)
    if answer == "done":
        break
    assert made.snapshot() == before, (VERB, more, answer)
    made.check()
made.check()
print(json.dumps(answers))
"""

VERBS = [
    "mlock",
    "reclaim",
    "reclaim what must be written",
    "ksm scan",
    "unmerge",
    "offline",
    "set_mems",
    "attach",
    "write bytes",
    "read bytes",
    "restore bytes",
    "snapshot bytes",
    "clone bytes",
    "move bytes",
    "copy on write",
    "audit",
    "frames",
    "lru",
    "file.pages",
    "nodes_of",
    "create_memcg",
    "touch",
    "access",
    "move_pages",
    "query",
    "migrate_pages",
    "mbind",
    "fork",
    "mremap",
    "write_file",
    "read_file",
    "clone",
    "snapshot",
    "restore",
    "beside another call",
]


@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_the_host_has_no_room_for_is_refused_and_leaves_no_trace(verb: str) -> None:
    """An exception with the arithmetic, an unchanged machine that passes the audit; with room, it works."""
    command = [sys.executable, "-c", TRYING, str(PAGES), verb]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | NO_HOARD)
    assert answer.returncode == 0, (answer.returncode, answer.stderr)
    answers = json.loads(answer.stdout)
    assert answers[-1] == "done", answers
    assert len(answers) > 1, "no limit was low enough to refuse it"
    first = answers[0]
    assert "new pages" in first or "host has no room" in first or first.startswith("MemoryError"), answers
