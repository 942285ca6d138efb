"""Does the installed wheel work, with numpy and nothing else beside it?

Run with ``python -I`` in an environment that holds the wheel alone. It moves pages through the public
face, and asks the console script for what only the ``cli`` extra can do.
"""

import subprocess
import sys
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


if __name__ == "__main__":
    moves_pages()
    is_the_installed_one()
    console_script_names_its_extra()
    print(f"pagemig {pm.__version__} works with numpy {np.__version__} alone")
