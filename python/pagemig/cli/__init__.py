"""The command line: ``pagemig demo``, ``capture``, ``replay``, ``numa-maps``, and scenarios.

Start with :func:`main`; the console script is :func:`command`. :mod:`.app` puts the verbs together and turns
errors into exit codes, :mod:`.terminal` writes to people and machines, and each verb has a module that
asks, runs and prints; what they run lives below, in :mod:`pagemig.demo`, :mod:`pagemig.playback`,
:mod:`pagemig.inputs` and :mod:`pagemig.scenario`.

Exit codes: 0 as expected, 1 an expectation failed, 2 bad input (one line says what and where), 70 a bug
of ours, 130 interrupted, 141 the reader of the output has gone.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

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


def command() -> int:
    """Run the command line of this process, as the console script; return its exit code.

    While the verbs are being imported, and after the last of them is done, nothing is half written: Ctrl-C
    ends the process at once there, as it ends a program that knows nothing of signals. While Python itself
    and numpy start, before this is called, it is answered by Python.
    """
    try:
        return _command()
    except KeyboardInterrupt:
        return 130


def _command() -> int:
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if listens:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        with suppress(ImportError, UsageError):  # what cannot be imported, main tells
            from . import app as _verbs  # noqa: F401
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return main()
    finally:
        if listens:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
