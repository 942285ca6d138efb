"""A host with no memory left at all: a small call still works once, or is refused; the process never ends.

Method: an interpreter of its own limits its address space to what it has, takes everything that its allocator
still holds, and makes one small call after another until one is refused. A twin machine that has made the
same calls on a host with room must be equal then: what was done is done whole, and what was refused has
changed nothing. A process that ended instead, as Rust's collections would end it, fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# What is freed goes back to the host at once, so that the limit is where the call begins.
NO_HOARD = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}

TRYING = """
import json, resource, sys
import pagemig as pm

PAGE, MOST = pm.PAGE_SIZE, 4000
READ, RW = pm.Protection.READ, pm.RW

made = pm.Machine(nodes=[64 * pm.MiB] * 2, contents=True, swap=pm.MiB)
app = made.spawn("app")
heap = app.mmap(4096 * PAGE)
app.touch(heap[:2])
made.create_file("f", 0)
made.drain()

class Side:
    "One of two machines that are equal, as its calls see it."

    def __init__(self, machine):
        self.machine, self.app = machine, machine.task(app.pid)
        self.heap, self.file = self.app.same(heap), machine.file("f")

SMALL = {
    "touch": lambda it, n: it.app.touch(it.heap[n : n + 1]),
    "write": lambda it, n: it.app.write(it.heap.start + n * PAGE, b"%d" % n),
    "move": lambda it, n: it.app.move_pages([it.heap.start], n % 2),
    "query": lambda it, n: it.app.move_pages([it.heap.start]),
    "pin": lambda it, n: it.app.pin(it.heap.start),
    "write file": lambda it, n: it.file.write(n * PAGE, b"%d" % n),
    "read file": lambda it, n: it.file.read(0, 100),
    "mprotect": lambda it, n: it.app.mprotect(it.heap[n : n + 1], READ if n % 2 else RW),
    "mlock": lambda it, n: it.app.mlock(it.heap[2 * n : 2 * n + 1]),
    "mbind": lambda it, n: it.app.mbind(it.heap[n : n + 1], pm.Policy(pm.PolicyMode.BIND, [n % 2])),
    "mmap": lambda it, n: it.app.mmap(PAGE, at=0x500000000000 + 4 * n * PAGE),
    "munmap": lambda it, n: it.app.munmap(it.heap[2 * n : 2 * n + 1]),
    "swap out": lambda it, n: (it.app.touch(it.heap[n : n + 1]), it.app.swap_out(it.heap[n])),
    "soft offline": lambda it, n: it.machine.soft_offline(n + 2),
    "spawn": lambda it, n: it.machine.spawn("more"),
    "fork": lambda it, n: it.app.fork(),
    "start": lambda it, n: it.machine.start(pm.calls.touch(it.heap[n : n + 1]), by=it.app),
}
call = SMALL[sys.argv[1]]

def space():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

def take_all():
    "Everything that the allocator still has, in sizes that Python keeps no pools of."
    pieces = []
    for size in (1 << 22, 1 << 18, 1 << 14, 1 << 11, 600):
        try:
            while True:
                pieces.append(bytes(size))
        except MemoryError:
            pass
    return pieces

# The interpreter itself needs small things: pools with room for them.
pools = [[bytes(size) for _ in range(3000)] for size in range(1, 480, 16)]
for pool in pools:
    del pool[::2]

side, twin = Side(made), Side(made.clone())
call(side, 0)
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
done, refused, pieces = 1, "", []
resource.setrlimit(resource.RLIMIT_AS, (space(), hard))
try:
    pieces = take_all()
    while done < MOST // 2:
        call(side, done)
        done += 1
except (MemoryError, pm.UsageError) as error:
    refused = f"{type(error).__name__}: {error}"
finally:
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    pieces.clear()
for number in range(done):
    call(twin, number)
side.machine.check()
is_equal = side.machine.snapshot() == twin.machine.snapshot()
call(side, done)
side.machine.check()
print(json.dumps([done, refused, is_equal]))
"""

GROWING = ["write", "write file", "mprotect", "mlock", "mmap", "munmap", "spawn", "fork", "start"]
"""Calls that leave something behind every time: sooner or later there is no room for it."""
SETTLED = ["touch", "move", "query", "pin", "read file", "mbind", "swap out", "soft offline"]


def tried(call: str) -> tuple[int, str, bool]:
    """How many calls were done, what the next one was refused with, and whether the machines are equal."""
    command = [sys.executable, "-c", TRYING, call]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | NO_HOARD)
    assert answer.returncode == 0, (answer.returncode, answer.stderr)
    done, refused, is_equal = json.loads(answer.stdout)
    return done, refused, is_equal


@pytest.mark.parametrize("call", GROWING)
def test_small_calls_on_a_host_with_nothing_left_are_done_whole_or_refused(call: str) -> None:
    """What is kept for them is used up by one of them; the next says so, and nothing has changed."""
    _, refused, is_equal = tried(call)
    assert "this host has no memory left for a call" in refused or refused.startswith("MemoryError")
    assert is_equal, refused


@pytest.mark.parametrize("call", SETTLED)
def test_small_calls_that_leave_little_behind_never_end_the_process(call: str) -> None:
    """They may go on for ever, or be refused like the others."""
    done, refused, is_equal = tried(call)
    assert done > 1 or refused
    assert is_equal, refused
