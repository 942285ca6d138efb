"""Does the installed wheel work, with numpy and nothing else beside it?

Run with ``python -I`` in an environment that holds the wheel alone. It moves pages through the public
face, and asks the console script for what only the ``cli`` extra can do.
"""

import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import pagemig as pm


def moves_pages() -> None:
    """A heap of 32 pages goes to node 1, all of it, with its bytes."""
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB], contents=True)
    task = machine.spawn("smoke")
    heap = task.mmap(32 * 4096)
    task.write(heap.start, b"still here")
    task.touch(heap)
    statuses = task.move_pages(heap, 1)
    assert statuses.tolist() == [1] * 32, statuses
    assert np.array_equal(task.nodes_of(heap), statuses)
    assert task.read(heap.start, 10) == b"still here"
    machine.check()


def is_the_installed_one() -> None:
    """The package comes from this environment, optimised, and brought no further packages along."""
    assert Path(sys.prefix) in Path(pm.__file__).parents, pm.__file__
    assert pm.build_profile == "release", pm.build_profile
    assert "typer" not in sys.modules


def console_script_names_its_extra() -> None:
    """Without the extra, one sentence says how to get it."""
    script = Path(sys.prefix) / "bin" / "pagemig"
    answer = subprocess.run([script, "demo"], capture_output=True, text=True, check=False)
    assert answer.returncode != 0, answer
    assert "pip install 'pagemig[cli]'" in answer.stderr, answer
    assert len(answer.stderr.strip().splitlines()) == 1, answer


HEARD_WITHIN = 0.1
"""Seconds from Ctrl-C to KeyboardInterrupt, the median of some (decision 0011)."""
HEARD_AT_ALL = 60.0
"""Seconds after which nobody waits for it any more."""
SAMPLES = 7
PAGES = 1 << 20


class Interrupter:
    """A process that sends SIGINT to this one a while after it was told, and says when it did."""

    def __init__(self) -> None:
        told, self.tell = os.pipe()
        self.hear, says = os.pipe()
        if os.fork():
            return
        os.close(self.tell)
        while wanted := os.read(told, 8):
            time.sleep(struct.unpack("d", wanted)[0])
            now = time.monotonic()
            os.kill(os.getppid(), signal.SIGINT)
            os.write(says, struct.pack("d", now))
        os._exit(0)

    def seconds_to(self, long: Callable[[], object], delay: float) -> float:
        """How long Ctrl-C took to end one of many long calls."""
        os.write(self.tell, struct.pack("d", delay))
        until = time.monotonic() + HEARD_AT_ALL
        try:
            while time.monotonic() < until:
                long()
            raise AssertionError(f"no Ctrl-C was heard within {HEARD_AT_ALL} s")
        except KeyboardInterrupt:
            heard = time.monotonic()
        sent: float = struct.unpack("d", os.read(self.hear, 8))[0]
        return heard - sent


def long_calls_hear_ctrl_c(interrupter: Interrupter) -> None:
    """Calls over a million pages end, or are in flight and can be finished, soon after it came."""
    machine = pm.Machine(nodes=[PAGES * 6144] * 2)
    task = machine.spawn("long")
    heap = task.mmap(PAGES * pm.PAGE_SIZE)
    task.touch(heap)
    file = machine.create_file("file", pm.GiB)
    bind = [pm.Policy(pm.PolicyMode.BIND, [node]) for node in (0, 1)]
    move = pm.MbindFlags.MOVE
    verbs: dict[str, Callable[[], object]] = {
        "move_pages": lambda: [task.move_pages(heap, node) for node in (1, 0)],
        "query": lambda: task.move_pages(heap),
        "access": lambda: task.access(heap.addresses, True),
        "migrate_pages": lambda: [task.migrate_pages(None, [node], [1 - node]) for node in (0, 1)],
        "mbind": lambda: [task.mbind(heap, policy, flags=move) for policy in bind],
        "fork and exit": lambda: task.fork().exit(),
        "mprotect": lambda: [task.mprotect(heap, allowed) for allowed in (pm.Protection.READ, pm.RW)],
        "madvise": lambda: [task.touch(heap), task.madvise(heap, pm.Advice.DONTNEED)],
        "mlock": lambda: [task.mlock(heap), task.munlock(heap)],
        "write and truncate": lambda: [file.write(0, size=pm.GiB), file.truncate(0)],
        "step": lambda: [machine.start(pm.calls.move_pages(heap[:50_000], 1), by=task), machine.run()],
        "reclaim": lambda: [read_all(file), machine.reclaim(0, PAGES, family=pm.PageFamily.FILE)],
    }

    def clear_up() -> None:
        machine.run()
        if any(child.pid != task.pid for child in machine.tasks):
            machine.tasks[-1].exit()

    for name, verb in verbs.items():
        hears(interrupter, name, verb, clear_up)
        machine.check()


def read_all(file: pm.File) -> None:
    """Bring a file into memory without keeping, and having to free, all of its bytes at once."""
    for offset in range(0, file.size, 64 * pm.MiB):
        file.read(offset, 64 * pm.MiB)


def long_looks_hear_ctrl_c(interrupter: Interrupter) -> None:
    """What only looks at four million pages is thrown away soon after it came, and changes nothing."""
    machine = pm.Machine(nodes=[4 * PAGES * 6144] * 2)
    task = machine.spawn("long")
    heap = task.mmap(4 * PAGES * pm.PAGE_SIZE)
    task.touch(heap)
    kept = machine.snapshot()
    looks: dict[str, Callable[[], object]] = {
        "snapshot": machine.snapshot,
        "restore": lambda: pm.Machine.restore(kept),
        "clone": machine.clone,
        "frames": lambda: machine.frames(0),
        "list of pages": lambda: machine.lru(0, pm.LruList.ACTIVE_ANON),
        "nodes of pages": lambda: task.nodes_of(heap),
        "numa_maps": task.numa_maps,
        "audit": machine.check,
    }
    for name, look in looks.items():
        hears(interrupter, name, look, lambda: None)
    assert machine.snapshot() == kept, "a look has changed something"


def hears(
    interrupter: Interrupter, name: str, long: Callable[[], object], clear_up: Callable[[], None]
) -> None:
    """Send Ctrl-C in the middle of some long calls; the median must be heard in time."""
    taken = []
    for sample in range(SAMPLES):
        taken.append(interrupter.seconds_to(long, 0.02 + 0.013 * sample))
        clear_up()
    median, worst = statistics.median(taken), max(taken)
    print(f"{name:20} hears Ctrl-C after {1e3 * median:6.1f} ms, at worst {1e3 * worst:6.1f}")
    assert median < HEARD_WITHIN, f"{name}: Ctrl-C was heard after {taken} s"


if __name__ == "__main__":
    # Whoever started this in the background may have left it deaf.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupter = Interrupter()
    moves_pages()
    is_the_installed_one()
    console_script_names_its_extra()
    long_calls_hear_ctrl_c(interrupter)
    long_looks_hear_ctrl_c(interrupter)
    print(f"pagemig {pm.__version__} works with numpy {np.__version__} alone")
