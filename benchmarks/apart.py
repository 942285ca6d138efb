"""What is measured in a process of its own: memory, building, importing.

A process that has done nothing else has no freed memory lying about to be used again. Start with
:func:`resident`. Where there is no ``/proc`` memory is not known, and the figure is None.
"""

from __future__ import annotations

import compileall
import importlib.util
import subprocess
import sys
from collections.abc import Iterator

from .machines import bytes_for

_BEGIN = """
import resource, time
import pagemig as pm

def resident():
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * resource.getpagesize()
    except OSError:
        return None

before = resident()
start = time.perf_counter()
"""

_END = """
elapsed = time.perf_counter() - start
print(elapsed, "unknown" if before is None else resident() - before)
"""

_BUILD = """
machine = pm.Machine(nodes=[{gib} * pm.GiB] * 4)
"""

_TOUCH = """
machine = pm.Machine(nodes=[{size}] * 2)
task = machine.spawn()
heap = task.mmap({pages} * pm.PAGE_SIZE)
task.touch(heap)
"""


def apart(program: str) -> tuple[float, float | None, str]:
    """Seconds and resident bytes that a program took beyond the import, and what it printed itself."""
    command = [sys.executable, "-c", _BEGIN + program + _END]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    *printed, last = answer.stdout.splitlines()
    elapsed, grown = last.split()
    return float(elapsed), None if grown == "unknown" else float(grown), "\n".join(printed)


def build(gib: int) -> Iterator[tuple[str, float | None]]:
    """A large machine: milliseconds, resident MiB, and bits for each frame that nobody touched."""
    elapsed, grown, _ = apart(_BUILD.format(gib=gib))
    frames = 4 * gib << 18
    yield "build", elapsed * 1e3
    yield "resident", None if grown is None else grown / (1 << 20)
    yield "untouched", None if grown is None else grown * 8 / frames


def resident(pages: int) -> float | None:
    """Resident bytes for each page of a heap: descriptor, tables, and all the rest."""
    grown = apart(_TOUCH.format(size=bytes_for(pages), pages=pages))[1]
    return None if grown is None else grown / pages


def import_seconds(module: str) -> float:
    """How long a new interpreter takes to import a package, without its own start.

    Its bytecode is there, as ``pip`` leaves it when it installs a package: one that is worked on has bytecode
    only where interpreters may write it, and numpy has always been installed.
    """
    spec = importlib.util.find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        compileall.compile_dir(folder, quiet=2)
    program = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(answer.stdout)
