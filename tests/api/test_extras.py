"""With numpy alone everything works but what an extra is for, and that says how to install it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Refuses every package that is neither Python's, nor numpy, nor ours.
ALONE = """
import sys

class Alone:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        known = {"numpy", "pagemig"} | set(sys.stdlib_module_names) | set(sys.builtin_module_names)
        if top not in known and not top.startswith("__"):
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)

sys.meta_path.insert(0, Alone())
import pagemig as pm
"""


def alone(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has numpy and this package."""
    program = ALONE + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_numpy_alone_is_enough_for_everything_else(tmp_path: Path) -> None:
    """Machines, races, searches, pages of timelines, traces and captures of other formats, sweeps, tables."""
    done = alone(
        tmp_path,
        """
        import os
        import numpy as np
        from pagemig.inputs import Accesses, capture, read_trace, shipped_capture, write_trace

        machine = pm.Machine(nodes=[pm.MiB, pm.MiB])
        app = machine.spawn("app")
        heap = app.mmap(2 * pm.PAGE_SIZE)
        app.touch(heap)
        calls = [(pm.calls.move_pages(heap, 1), app), (pm.calls.touch(heap), app)]
        verdict = pm.explore(machine, calls, strategy=pm.Exhaustive(preemptions=1))
        assert verdict.complete and not verdict.findings
        assert pm.gallery.explore("child-first").findings
        shown = pm.Timeline.of_finding(pm.gallery.explore("child-first").findings[0])
        assert "<html" in shown.to_html() and shown.to_perfetto()
        seen = Accesses(np.array([4096], "u8"), np.array([8], "u1"), np.array([1], "u1"))
        for name in ("t.csv", "t.csv.gz", "t.lackey.xz", "t.npz"):
            write_trace(name, seen)
            assert read_trace(name).columns() == seen
        assert capture(os.getpid()).areas
        assert pm.Machine(nodes=[64 * pm.MiB] * 2).load(shipped_capture()).rss
        assert [row["result"] for row in pm.sweep(lambda a: a + 1, {"a": [1, 2]})] == [2, 3]
        assert seen.table.__arrow_c_stream__() is not None
        assert pm.Machine.restore(machine.snapshot()).audit() == []
        print("all of it")
        """,
    )
    assert (done.stdout, done.returncode) == ("all of it\n", 0), done.stderr


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("pm.Scenario", "scenarios"),
        ("import pagemig.scenario", "scenarios"),
        ("from pagemig.scenario import library", "scenarios"),
        ("from pagemig.cli import main; sys.exit(main(['demo']))", "cli"),
        ("import pagemig.webpage", "cli"),
        ("from pagemig.cli import main; sys.exit(main(['run', 'two-movers']))", "cli"),
        ("import pagemig.inputs; pagemig.inputs.read_trace('t.csv.zst')", "zstd"),
        ("pm.inputs.AddressSpace.load('t.json.zst')", "zstd"),
        ("pm.inputs.shipped_capture().save('t.json.zst')", "zstd"),
    ],
)
def test_what_an_extra_is_for_says_how_to_install_it(tmp_path: Path, code: str, extra: str) -> None:
    """The last line names the command that mends it."""
    for name in ("t.csv.zst", "t.json.zst"):
        (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
    done = alone(tmp_path, code)
    assert done.returncode != 0
    assert f"pip install 'pagemig[{extra}]'" in done.stderr.splitlines()[-1], done.stderr
