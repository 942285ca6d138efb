"""Is everything here that a build needs? One sentence and exit code 1 if not.

The Makefile runs this before it creates or builds anything, with a Python that it knows to be new
enough. Left out: the C linker, which cargo itself names when it is missing.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def numbers(version: str) -> tuple[int, ...]:
    """The leading dotted numbers of a version: ``1.95.0 (f2d3 ...)`` is (1, 95, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def complaint() -> str | None:
    """What is missing, in one sentence, or None."""
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            return (
                f"pagemig needs Python's {module} module, and {sys.executable} comes without it: "
                f"install your system's python3-venv package"
            )
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    wanted = manifest["workspace"]["package"]["rust-version"]
    for tool in ("cargo", "rustc"):
        if shutil.which(tool) is None:
            return f"pagemig needs {tool} {wanted} or newer, and there is none here: install Rust"
        answer = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
        words = answer.stdout.split()
        if answer.returncode != 0 or len(words) < 2:
            return f"pagemig needs {tool} {wanted} or newer, and `{tool} --version` fails: repair Rust"
        if numbers(words[1]) < numbers(wanted):
            return f"pagemig needs {tool} {wanted} or newer, and this one is {words[1]}: update Rust"
    return None


if __name__ == "__main__":
    sentence = complaint()
    if sentence:
        print(sentence, file=sys.stderr)
        sys.exit(1)
