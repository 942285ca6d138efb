"""asv as CONTRIBUTING.md tells to use it: its lines typed in a clean clone, and what they publish read.

As a program (``python -m tests.house.trends FOLDER``) it clones the checkout's last commit, sets up what the
page says a clean clone needs, and types the lines, made quick by options that `quickened` adds: one
repetition, a few benchmarks, two commits of a range. What asv publishes is then asked of its own
preview: a graph of each benchmark that was run, with a point for each commit.

It builds several wheels and takes minutes, so it is ``make trends`` and no part of ``make ci``; `test_trends`
looks at its parts. Above: the Makefile. Beside it: `pages`, which types everything else.

Left out: the pictures, which asv's JavaScript draws in a browser with libraries from the network.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "CONTRIBUTING.md"

SUITE = "MoveSteps|OnePage.time_move"
"""What is run where a line does not say: a number that is the same on every machine, and a time."""

QUICK = f"--quick --bench '{SUITE}'"
SETUP = ("make build/stamps/venv-bench", ".venv/bin/asv machine --yes")

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PATIENCE = 30.0

Fetch = Callable[[str], bytes]
"""Returns what is published under a path."""


def asv_lines(text: str) -> list[str]:
    """What a page tells to type of asv, without what it says about it."""
    lines = [line.partition("#")[0].strip() for block in _BLOCK.findall(text) for line in block.splitlines()]
    return [line for line in lines if line == "make asv" or ".venv/bin/asv " in line]


def quickened(line: str) -> list[str]:
    """The commands of a line, with options that make them quick. Whatever the line says stays.

    >>> quickened(".venv/bin/asv run -b MoveHeap HEAD~5..HEAD && .venv/bin/asv publish")
    ['.venv/bin/asv run --quick --steps 2 -b MoveHeap HEAD~5..HEAD', '.venv/bin/asv publish']
    """
    made = []
    for command in line.split(" && "):
        verb = re.search(r"\.venv/bin/asv (\w+)", command)
        if command == "make asv":
            command = f'make asv ASV_FLAGS="{QUICK}"'
        elif verb and verb.group(1) in ("run", "continuous"):
            options = "--quick" if re.search(r" (?:-b|--bench) ", command) else QUICK
            options += " --steps 2" if ".." in command else ""
            command = command.replace(" --quick", "").replace(verb.group(), f"{verb.group()} {options}", 1)
        made.append(command)
    return made


def typed(command: str, folder: Path) -> str:
    """Let a shell run a command, shown as it goes; return what it printed.

    Raises
    ------
    AssertionError
        It failed. `asv continuous` may: that is how it says that something has changed.
    """
    print(f"$ {command}", flush=True)
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, flush=True)
    has_compared = " continuous " in command and "BENCHMARKS" in done.stdout
    assert done.returncode == 0 or has_compared, f"{command} ended with {done.returncode}"
    return done.stdout


@contextmanager
def previewed(command: str, folder: Path) -> Iterator[Fetch]:
    """Let asv serve what it has published, while somebody reads it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(f"$ {command} --port {port}", flush=True)
    server = subprocess.Popen(f"exec {command} --port {port}", shell=True, cwd=folder)

    def fetch(path: str) -> bytes:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{quote(path)}") as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as missing:
                raise AssertionError(f"{path} is not published: {missing}") from None
            except urllib.error.URLError:
                assert server.poll() is None and time.monotonic() < until, f"{command} does not answer"
                time.sleep(0.1)

    try:
        yield fetch
    finally:
        server.terminate()
        server.wait()


def measured(results: Path) -> dict[str, set[str]]:
    """The commits for which each benchmark has a number, by its name: what asv keeps, read."""
    commits: dict[str, set[str]] = {}
    for path in results.glob("*/*.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        for name, row in kept.get("results", {}).items():
            values = row[0] if row else None
            if values is not None and any(value is not None for value in values):
                commits.setdefault(name, set()).add(kept["commit_hash"])
    return commits


def check(fetch: Fetch, commits: dict[str, set[str]]) -> int:
    """See that every benchmark has its graph, with a point for each commit; return how many points.

    Raises
    ------
    AssertionError
        A page, a graph or a point is missing.
    """
    assert b"<title>" in fetch("index.html")
    index = json.loads(fetch("index.json"))
    numbers = {commit: int(number) for number, commit in index["revision_to_hash"].items()}
    assert commits, "nothing was measured"
    points = 0
    for name, of_name in commits.items():
        assert name in index["benchmarks"], f"{name} is not among the benchmarks"
        wanted = {numbers[commit] for commit in of_name}
        graphs = [graph_of(row, name) for row in index["graph_param_list"]]
        for graph in (f"graphs/summary/{name}.json", *graphs):
            drawn = {number for number, value in json.loads(fetch(graph)) if value is not None}
            assert wanted <= drawn, f"{graph} has {sorted(drawn)}, not {sorted(wanted)}"
            points += len(wanted)
    return points


def graph_of(row: dict[str, str | None], name: str) -> str:
    """The path under which asv publishes a benchmark's graph for some parameters of a machine."""
    folders = (f"{key}-{value}" if value else key for key, value in sorted(row.items()))
    return "/".join(["graphs", *folders, f"{name}.json"])


def main(folder: Path) -> None:
    """Clone, type, read."""
    clone = folder / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "checkout", "--quiet", "-B", "main"], check=True)
    for command in SETUP:
        typed(command, clone)
    for line in asv_lines(PAGE.read_text(encoding="utf-8")):
        for command in quickened(line):
            if " preview" not in command:
                typed(command, clone)
                continue
            with previewed(command, clone) as fetch:
                commits = measured(clone / ".asv" / "results")
                points = check(fetch, commits)
            print(f"{len(commits)} benchmarks published, {points} points: {', '.join(sorted(commits))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
