"""Where the instructions of a page go, room by room: callgrind's account of a fixed workload.

Instructions are attributed to the file that a line stands in, inlined or not, and files are summed by
their room of the core. Cache misses are valgrind's simulation of a first-level and a last-level cache,
because counters of the processor are seldom there in a virtual machine. Start with :func:`breakdown`; run
``python -m benchmarks.breakdown move_address_order``. The workloads are those of ``make costs``.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent
EVENTS = ("Ir", "D1mr", "D1mw", "DLmr", "DLmw")


@dataclass(frozen=True, slots=True)
class Share:
    """One room's part, for each page: instructions, and misses of the first and the last level."""

    room: str
    per_page: float
    first_level_misses: float
    last_level_misses: float


def _costs() -> ModuleType:
    """The script of ``make costs``, which knows how to build the workloads."""
    spec = importlib.util.spec_from_file_location("costs", ROOT / ".ci" / "costs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def room_of(path: str) -> str:
    """The room of a source file: the folder or file below the core's ``src``; "library" for others.

    >>> room_of("rust/core/src/state/lru/list.rs"), room_of("core/src/slice/mod.rs")
    ('state/lru', 'library')
    """
    found = re.search(r"rust/core/src/(state/\w+|\w+)", path)
    if found is None:
        return "library"
    return found.group(1)


def account(profile: str) -> dict[str, dict[str, int]]:
    """Costs by source file, from a file that callgrind wrote."""
    names: dict[str, str] = {}
    costs: dict[str, dict[str, int]] = {}
    events: list[str] = []
    current, skip = "", False
    for line in profile.splitlines():
        if line.startswith("events:"):
            events = line.split()[1:]
        elif found := re.match(r"(fl|fi|fe)=\((\d+)\)(?: (.*))?", line):
            if found.group(3):
                names[found.group(2)] = found.group(3)
            current = names[found.group(2)]
        elif found := re.match(r"cfi=\((\d+)\) (.*)|cfl=\((\d+)\) (.*)", line):
            number, name = (found.group(1), found.group(2)) if found.group(1) else found.group(3, 4)
            names[number] = name
        elif line.startswith("calls="):
            skip = True
        elif re.match(r"[+*\-\d]", line):
            # The line after a call is what the callee cost: it is counted where it was spent.
            if not skip:
                numbers = [int(word) for word in line.split()[1:]]
                row = costs.setdefault(current, dict.fromkeys(events, 0))
                for event, number in zip(events, numbers, strict=False):
                    row[event] += number
            skip = False
    return costs


def breakdown(workload: str) -> list[Share]:
    """Where one workload's instructions go, the largest part first."""
    costs = _costs()
    program = costs.built()
    pages = max(1, costs.counted(program, workload).get("good", 1))
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        options = ["--tool=callgrind", "--cache-sim=yes", "--toggle-collect=*measured*"]
        command = ["valgrind", "--quiet", *options, f"--callgrind-out-file={profile}", str(program), workload]
        subprocess.run(command, check=True, capture_output=True)
        by_file = account(profile.read_text())
    by_room: dict[str, dict[str, int]] = {}
    for path, row in by_file.items():
        total = by_room.setdefault(room_of(path), dict.fromkeys(EVENTS, 0))
        for event in EVENTS:
            total[event] += row.get(event, 0)
    shares = [
        Share(
            room,
            row["Ir"] / pages,
            (row["D1mr"] + row["D1mw"]) / pages,
            (row["DLmr"] + row["DLmw"]) / pages,
        )
        for room, row in by_room.items()
    ]
    return sorted(shares, key=lambda share: -share.per_page)


def main(workloads: list[str]) -> int:
    """Print one table a workload."""
    for workload in workloads or ["move_address_order"]:
        shares = breakdown(workload)
        print(f"{workload}, for each page: instructions, misses of the first and of the last level")
        for share in shares:
            print(
                f"  {share.room:18} {share.per_page:10,.1f} {share.first_level_misses:8.2f} "
                f"{share.last_level_misses:8.2f}"
            )
        print(f"  {'all':18} {sum(share.per_page for share in shares):10,.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
