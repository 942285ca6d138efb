"""Run a file of cases: ``run.py FILE``.

Prints a line for every case that has not passed, with the reason or the difference, and
ends with ``N passed, N failed, N skipped, N not about 2.6.34, N excepted``. Exit code 1 if a
case failed, 2 if the file is not of this form.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.cases.runner import main

    raise SystemExit(main(sys.argv[1:]))
