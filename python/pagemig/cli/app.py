"""The verbs, put together, and what becomes of their errors.

Start with :func:`run`: the one place where an exception turns into a line and an exit code. Each verb
is one function in its own module; below, :mod:`pagemig.errors`.

Shell completion is typer's: ``pagemig --install-completion``.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

import pagemig
from pagemig.errors import InternalError, PagemigError, UsageError

from . import bench, capture, demo, explore, numa_maps, replay, schedules, schema, step
from . import run as run_verbs
from .terminal import complain

app = typer.Typer(
    name="pagemig",
    help="""A deterministic model of Linux 2.6.34 page migration, on real input.

Start with **pagemig demo**: it captures a running program, moves its heap between the nodes of a
simulated machine, and explains page by page what the kernel would have answered.

Every verb takes --help, and shows examples there. Exit codes: 0 as expected, 1 an expectation failed
or something was found, 2 bad input.""",
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    add_completion=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("capture")(capture.capture)
app.command("replay")(replay.replay)
app.command("bench")(bench.bench)
app.command("numa-maps")(numa_maps.numa_maps)
app.command("run")(run_verbs.run)
app.command("scenarios")(run_verbs.scenarios)
app.command("explore")(explore.explore)
app.command("replay-schedule")(schedules.replay_schedule)
app.command("step")(step.step)
app.command("schema")(schema.schema)


_NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pagemig {pagemig.__version__} ({pagemig.build_profile} build)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; every failure of a person's making is one line on standard error."""
    if not _has_streams():
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A bullet of the help, or a name, that this terminal cannot write is a question mark.
        sys.stdout.reconfigure(errors="replace")
    try:
        code = app(
            args=None if arguments is None else list(arguments), prog_name="pagemig", standalone_mode=False
        )
        sys.stdout.flush()
    except typer.TyperException as error:
        words = error.format_message().rstrip(".").replace(_NO_INTEGER, "it must be a whole number")
        complain(f"{words} (see {_help_of(error, sys.argv[1:] if arguments is None else arguments)})")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader has gone, for instance `head`.
        _say_no_more()
        return 141
    except SystemExit as left:
        # typer leaves so, too, when the reader of its help has gone.
        if not isinstance(left.__context__, BrokenPipeError):
            raise
        _say_no_more()
        return 141
    except UsageError as error:
        complain(str(error))
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        if not where and error.errno in _UNWRITABLE:
            where = "standard output: "
            _say_no_more()
        complain(f"{where}{error.strerror or error}")
        return 2
    except MemoryError:
        complain("this host has not enough memory for that")
        return 2
    except InternalError as error:
        complain(str(error))
        return 70
    except PagemigError as error:
        complain(f"{type(error).__name__}: {error}")
        return 1
    except Exception:
        traceback.print_exc()
        complain("this is a mistake of pagemig, not yours; please report it with the lines above")
        return 70
    return code if isinstance(code, int) else 0


def _has_streams() -> bool:
    """Put something in the place of closed streams; return whether there is one to write results to."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stdout is None:
        complain("standard output is closed")
        return False
    return True


def _say_no_more() -> None:
    """Let standard output lead nowhere, so that what is left is not tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _help_of(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """Say whose help is meant: an option without its value knows no verb, so the first argument does."""
    context = getattr(error, "ctx", None)
    if context is not None:
        return f"'{context.command_path} --help'"
    verbs = {command.name for command in app.registered_commands}
    return f"'pagemig {arguments[0]} --help'" if arguments and arguments[0] in verbs else "'pagemig --help'"
