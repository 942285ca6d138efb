"""Run a file of cases: ``run.py FILE``.

Prints the reason for every skip and the difference for every failure, and ends
with ``N passed, N failed, N skipped``. Exit code 1 if a case failed, 2 if the
file is not of this form.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.cases.runner import main

    raise SystemExit(main(sys.argv[1:]))
