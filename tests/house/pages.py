"""The commands that a page shows, typed as its reader would: in tests, and wherever the package is.

Start with `played`. As a program (``python -m tests.house.pages README.md FOLDER``) it is a newcomer:
for each ``pip install`` line of the page it makes an empty environment, types the line in the checkout,
and then all commands of the page in an empty folder. Needs nothing but Python, so that it runs anywhere.

What a block means is told in CONTRIBUTING.md. Above: `test_readme` and ``make smoke``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BLOCK = re.compile(r"^```(console|toml|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# ([\w-]+\.toml)\n")


def commands(block: str) -> list[tuple[str, str]]:
    """Every command of a console block, with what it is to print."""
    parts = re.split(r"^\$ (.*\n(?:> .*\n)*)", block, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block begins with $: {block}"
    typed = [command.replace("\n> ", "\n").rstrip("\n") for command in parts[1::2]]
    return list(zip(typed, parts[2::2], strict=True))


def shown(text: str) -> str:
    """What a page shows of some output: tables are padded, a page is not."""
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())


def agrees(printed: str, expected: str) -> bool:
    """Whether output is what a page shows, three dots being any lines."""
    pattern = re.escape(shown(expected)).replace(re.escape("...\n"), r"(?:.*\n)*?")
    return re.fullmatch(pattern, shown(printed)) is not None


def typed(command: str, folder: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Let a shell run a command in a folder, with some programs before all others."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def played(text: str, folder: Path, programs: Path) -> int:
    """Type all commands of a page in a folder; return how many there were.

    Raises
    ------
    AssertionError
        One failed, complained, or printed something else than the page says.
    """
    (folder / "tests").symlink_to(ROOT / "tests")
    count = 0
    for kind, block in BLOCK.findall(text):
        if kind == "toml":
            name = _NAME.match(block)
            if name:
                (folder / name.group(1)).write_text(block, encoding="utf-8")
        for command, expected in commands(block) if kind == "console" else ():
            done = typed(command, folder, programs)
            assert (done.returncode, done.stderr) == (0, ""), f"{command}\n{done.stdout}{done.stderr}"
            assert agrees(done.stdout, expected), f"{command}\n{done.stdout}"
            count += 1
    return count


def newcomer(page: Path, folder: Path) -> None:
    """Install as a page says, in each of its ways, and type what it shows."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(block for kind, block in BLOCK.findall(text) if kind == "sh")
    ways = [line.partition("#")[0].strip() for line in blocks.splitlines() if line.startswith("pip install ")]
    assert ways, f"{page} does not say how to install it"
    for number, way in enumerate(ways):
        room = folder / f"way-{number}"
        shutil.rmtree(room, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", room / "venv"], check=True)
        done = typed(way, ROOT, room / "venv" / "bin")
        assert done.returncode == 0, f"{way}\n{done.stdout}{done.stderr}"
        (room / "work").mkdir()
        print(
            f"{way}: {played(text, room / 'work', room / 'venv' / 'bin')} commands do what {page.name} says"
        )


if __name__ == "__main__":
    newcomer(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
