"""Choose the versions of one requirements file: ``python .ci/lock.py dev``.

Each file pins what the extras of ``pyproject.toml`` ask for, on every Python and platform at once.
`make lock` runs this for all of them; it needs uv in the environment.
"""

import shutil
import subprocess
import sys
from pathlib import Path

EXTRAS = {
    "demo": ("cli", "build"),
    "dev": ("dev",),
    "docs": ("docs", "cli", "build"),
    "bench": ("bench", "build"),
}


def main(name: str) -> int:
    """Write ``requirements/NAME.txt`` anew and return uv's exit code."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    command = [uv, "pip", "compile", "--quiet", "--universal", "--upgrade", "--no-header", "--no-annotate"]
    command += ["--python-version", "3.11", "pyproject.toml", "--output-file", f"requirements/{name}.txt"]
    for extra in EXTRAS[name]:
        command += ["--extra", extra]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
