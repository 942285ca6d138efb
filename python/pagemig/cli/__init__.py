"""The command line: ``pagemig demo``, ``capture``, ``replay``, ``numa-maps``, and scenarios.

Start with :func:`main`, which the console script calls. :mod:`.app` puts the verbs together and turns
errors into exit codes, :mod:`.terminal` writes to people and machines, and each verb has a module that
asks, runs and prints; what they run lives below, in :mod:`pagemig.demo`, :mod:`pagemig.playback`,
:mod:`pagemig.inputs` and :mod:`pagemig.scenario`.

Exit codes: 0 as expected, 1 an expectation failed, 2 bad input (one line says what and where), 70 a bug
of ours, 130 interrupted, 141 the reader of the output has gone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pagemig.errors import UsageError

_EXTRA = {"typer", "rich", "jinja2", "pydantic"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Parameters
    ----------
    arguments
        The words after ``pagemig``; those of this process if not given.
    """
    try:
        from .app import run
    except KeyboardInterrupt:
        return 130
    except UsageError as error:
        print(f"pagemig: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        print(
            f"pagemig: the command line needs {package}, install it with: pip install 'pagemig[cli]'",
            file=sys.stderr,
        )
        return 2
    return run(arguments)
