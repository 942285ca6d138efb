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
MORE = [0, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 32]
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

BIND = pm.Policy(pm.PolicyMode.BIND, [1])
MAKE = {
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
    assert "new pages" in answers[0] or answers[0].startswith("MemoryError"), answers
