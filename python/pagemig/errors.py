"""Every exception of the package.

Three kinds, three homes. What the *simulated* kernel refuses is an `OSError` with the right
errno: `SyscallError`. What the *person* got wrong is a `UsageError`. What the model itself
broke is an `InvariantError` or an `InternalError`.

The Rust core raises some of these by name, so this module imports nothing of the package.
Every exception passes all its arguments to ``super().__init__``: that is what makes it
picklable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class PagemigError(Exception):
    """The root of everything here but `SyscallError`, which is an `OSError`."""


class UsageError(PagemigError):
    """A request that makes no sense. Nothing has changed when it is raised."""


class MachineBusyError(PagemigError):
    """Another thread is running this machine right now."""


class InternalError(PagemigError):
    """A bug of this package. The machine it happened on is not read again.

    On a machine that was made to break a rule (``bugs``) it is the assertion by which that shows, and in
    profile EXACT where the kernel of that time halts, too: at an entry that ``mremap`` stranded (Q21).

    Attributes
    ----------
    assertion
        What does not hold.
    place
        Where in the core that is said, file and line; empty where it is no mistake of this package.
    """

    def __init__(self, assertion: str, place: str = "") -> None:
        super().__init__(assertion, place)
        self.assertion = assertion
        self.place = place

    def __str__(self) -> str:
        if not self.place:
            return self.assertion
        return (
            f"{self.assertion} ({self.place}). This is a mistake of pagemig, not yours. Please report it, "
            "with this line, what 'pagemig --version' says, and the script or scenario that led here."
        )


class OutOfMemoryError(PagemigError):
    """An access found no frame for its page. What happened until then stays.

    Parameters
    ----------
    message
        What to say.
    result
        What the accesses before it came to: a `pagemig.AccessResult`, or None.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message, result)
        self.message = message
        self.result = result

    def __str__(self) -> str:
        return self.message


class InvariantError(PagemigError):
    """The simulated kernel broke one of its own rules.

    Parameters
    ----------
    rule
        The name of the rule.
    detail
        What is wrong, and where.
    schedule
        The interleaving that led here, empty if there was none; see `pagemig.replay`.
    """

    def __init__(self, rule: str, detail: str, schedule: str = "") -> None:
        super().__init__(rule, detail, schedule)
        self.rule = rule
        self.detail = detail
        self.schedule = schedule

    def __str__(self) -> str:
        text = f"{self.rule}: {self.detail}"
        return f"{text}\nreplay with schedule {self.schedule!r}" if self.schedule else text


class DeadlockError(PagemigError):
    """No call in flight can ever go on.

    Parameters
    ----------
    message
        What to say.
    graph
        Who waits for whom: a tuple of (call, pid, what it waits for, call that holds it).
    """

    def __init__(self, message: str, graph: tuple[tuple[Any, ...], ...] = ()) -> None:
        super().__init__(message, graph)
        self.message = message
        self.graph = graph

    def __str__(self) -> str:
        return self.message


class ExplorationInterrupted(KeyboardInterrupt):
    """An exploration was interrupted with Ctrl-C.

    Parameters
    ----------
    verdict
        How far it got: a `pagemig.Verdict` that claims no more than that.
    """

    def __init__(self, verdict: Any) -> None:
        super().__init__(verdict)
        self.verdict = verdict

    def __str__(self) -> str:
        return f"interrupted: {self.verdict}"


class SyscallError(OSError):
    """A simulated system call failed.

    Python's own subclass for the errno applies as well: EPERM and EACCES are also a
    `PermissionError`, ESRCH is also a `ProcessLookupError`.

    Attributes
    ----------
    call
        The name of the system call; empty if nobody said it.
    statuses
        What it had written to its status array until then: a read-only int32 array, one entry a
        page, possibly empty; None for a call that has no such array.
    """

    call: str = ""
    statuses: npt.NDArray[np.int32] | None = None

    def __str__(self) -> str:
        return f"{self.call}: {super().__str__()}" if self.call else super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        if type(self) is SyscallError and not self.call:
            return SyscallError, self.args
        return syscall_error, (self.errno, self.call, self.statuses, self.strerror)


def syscall_error(
    code: int,
    call: str,
    statuses: npt.NDArray[np.int32] | None = None,
    text: str | None = None,
) -> SyscallError:
    """Make the exception for a system call that failed with ``code``.

    Parameters
    ----------
    code
        The errno, positive.
    call
        The name of the system call.
    statuses
        See `SyscallError.statuses`.
    text
        What to say; by default the system's words for ``code``.

    Returns
    -------
    SyscallError
        Also of Python's own subclass for the errno.

    Examples
    --------
    >>> error = syscall_error(1, "move_pages")
    >>> isinstance(error, PermissionError), error.errno
    (True, 1)
    """
    error = _class_for(type(OSError(code, "")))(code, os.strerror(code) if text is None else text)
    error.call = call
    error.statuses = statuses
    if statuses is not None:
        statuses.setflags(write=False)
    return error


def said_by(machine: Callable[[], object]) -> str:
    """Return what a machine is asked for the repr of a handle, which must never raise, or why it cannot say.

    Parameters
    ----------
    machine
        Asks it.

    Returns
    -------
    str
        What it said; ``busy`` or ``broken`` if it cannot.

    Examples
    --------
    >>> def asked():
    ...     raise MachineBusyError("another thread is running this machine")
    >>> said_by(asked)
    'busy'
    """
    try:
        return str(machine())
    except MachineBusyError:
        return "busy"
    except PagemigError:
        return "broken"


def _class_for(builtin: type[OSError]) -> type[SyscallError]:
    """Join `SyscallError` with the subclass that Python has for an errno."""
    if builtin not in _CLASSES:
        members = {"__module__": __name__, "__doc__": SyscallError.__doc__}
        made = type("SyscallError", (SyscallError, builtin), members)
        _CLASSES[builtin] = cast("type[SyscallError]", made)
    return _CLASSES[builtin]


_CLASSES: dict[type[OSError], type[SyscallError]] = {OSError: SyscallError}
