"""What fixed workloads cost, held against what was accepted: `make costs`, `make accept-costs`.

Two gates, neither with a clock. Counters (walks, allocations, passes, steps...) are compared exactly.
Instructions are counted by valgrind's callgrind and may drift by 2 %; they are compared only under
the compiler, valgrind and processor architecture that they were accepted with, because another one of these
counts differently: then this says so, and the counters alone decide. What was accepted is in
`.ci/costs.json`. Start with `main`; the workloads are in `rust/core/examples/costs`.

Left out: time, which `make bench` measures and nothing compares.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = ROOT / ".ci" / "costs.json"
DRIFT_MAX = 0.02
Counts = dict[str, dict[str, int]]


def built() -> Path:
    """Build the workloads for any processor of this architecture, whatever the environment wishes."""
    wishes = {"RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in wishes}
    command = ["cargo", "build", "--release", "--locked", "-p", "pagemig-core", "--example", "costs"]
    subprocess.run([*command, "--quiet"], cwd=ROOT, env=environment, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / target / "release" / "examples" / "costs"


def output_of(*command: str) -> str:
    """What a command prints; its complaints, and the end of this program, if it fails."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"{' '.join(command)} fails:\n{answer.stderr}")
    return answer.stdout


def counted(program: Path, name: str) -> dict[str, int]:
    """The counters of one workload that are not 0."""
    lines = (line.split() for line in output_of(str(program), name).splitlines())
    return {counter: int(count) for counter, count in lines if int(count)}


def instructions(program: Path, name: str, keep: Path | None = None) -> int:
    """Instructions executed for one workload, its preparation left out."""
    with tempfile.TemporaryDirectory() as folder:
        profile = (keep or Path(folder)) / f"{name}.callgrind"
        options = ["--tool=callgrind", "--toggle-collect=*measured*", f"--callgrind-out-file={profile}"]
        output_of("valgrind", "--quiet", *options, str(program), name)
        found = re.search(r"^(?:totals|summary): (\d+)", profile.read_text(), re.MULTILINE)
    if found is None or int(found.group(1)) == 0:
        sys.exit(f"callgrind saw no instruction of {name}: is `measured` still a function of its own?")
    return int(found.group(1))


def tools() -> dict[str, str]:
    """What the number of instructions depends on besides the code."""
    valgrind = output_of("valgrind", "--version").strip() if shutil.which("valgrind") else "none"
    compiler = output_of("rustc", "--version").strip()
    return {"compiler": compiler, "valgrind": valgrind, "architecture": platform.machine()}


def drifts(now: dict[str, int], accepted: dict[str, int]) -> list[str]:
    """Workloads whose instructions left the corridor, or that only one side knows."""
    found = []
    for name in sorted(now.keys() | accepted.keys()):
        if name not in now or name not in accepted:
            found.append(f"{name}: {'new' if name in now else 'gone'}")
            continue
        change = now[name] - accepted[name]
        if abs(change) > DRIFT_MAX * accepted[name]:
            share = change / accepted[name]
            found.append(f"{name}: {accepted[name]:,} -> {now[name]:,} instructions ({share:+.1%})")
    return found


def differences(now: Counts, accepted: Counts) -> list[str]:
    """Counters that are not exactly what was accepted."""
    found = []
    for name in sorted(now.keys() | accepted.keys()):
        ours, theirs = now.get(name, {}), accepted.get(name, {})
        for counter in sorted(ours.keys() | theirs.keys()):
            was, is_ = theirs.get(counter, 0), ours.get(counter, 0)
            if was != is_:
                found.append(f"{name}: {counter} {was} -> {is_}")
    return found


def main() -> int:
    """Count, compare or accept, and return how many gates are shut."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--accept", action="store_true", help="write what is counted now to the file")
    chosen = parser.parse_args()
    program = built()
    names = output_of(str(program)).split()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counters = dict(zip(names, pool.map(lambda name: counted(program, name), names), strict=True))
        used = tools()
        has_valgrind = used["valgrind"] != "none"
        totals = pool.map(lambda name: instructions(program, name), names if has_valgrind else [])
        executed = dict(zip(names, totals, strict=False))
    if chosen.accept:
        if not has_valgrind:
            sys.exit("instructions can be accepted only where valgrind is installed")
        accepted = {"tools": used, "counters": counters, "instructions": executed}
        ACCEPTED.write_text(json.dumps(accepted, indent=1, sort_keys=True) + "\n")
        print(f"accepted: {len(names)} workloads")
        return 0
    accepted = json.loads(ACCEPTED.read_text())
    wrong = differences(counters, accepted["counters"])
    if used == accepted["tools"]:
        wrong += drifts(executed, accepted["instructions"])
        print(f"{len(names)} workloads: counters, and instructions within {DRIFT_MAX:.0%}")
    else:
        print(f"{len(names)} workloads: counters only; instructions were accepted with", end=" ")
        print(", ".join(accepted["tools"].values()), "and here are", ", ".join(used.values()))
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        print("if that is meant: `make accept-costs`, and say why in the commit", file=sys.stderr)
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
