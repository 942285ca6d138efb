"""What all call values have in common, and how one is run to its end at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from .. import _core
from ..call import CallValue, HandleNumber
from ..errors import UsageError, syscall_error
from ..region import HasPid
from ..syscalls.move_pages import signed_pid

if TYPE_CHECKING:
    from ..system import System

Progress: TypeAlias = Callable[[int, int], object]
"""Told, between two slices of a long call, how many pages are done, and of how many."""

_Value = TypeVar("_Value", bound="Plain")


def run_now(system: System, pid: int, what: CallValue, progress: Progress | None = None) -> Any:
    """Run a call to its end and return what its verb returns."""
    outcome = system.do(pid, what._request(system, pid), lambda: what, progress)
    return what._result(system, pid, outcome)


class HasNumber(Protocol):
    """A handle of a file or a cpuset, as far as a call needs one."""

    @property
    def number(self) -> int: ...


class Plain:
    """A call that writes nothing to user memory."""

    __slots__ = ()

    def _deliver(self, core: _core.Machine, number: int, done: int) -> int:
        return done

    def _for_clone(self: _Value) -> _Value:
        return self


def refuse(code: int, call: str) -> None:
    """Raise for a result that is a negative errno."""
    if code < 0:
        raise syscall_error(-code, call)


def checked(made: _core.Request | int, call: str) -> _core.Request:
    """Return the request that the checks made, or raise what they say.

    Raises
    ------
    OSError
        They refuse the call.
    UsageError
        They say that it is over before it has begun.
    """
    if isinstance(made, int):
        refuse(made, call)
        raise UsageError(f"{call} of an empty region is over at once: give it a page, or use the verb")
    return made


def target_pid(target: HasPid | int | None) -> int:
    """Return the pid that a system call is given: 0 for the caller."""
    return 0 if target is None else HandleNumber.of(target, signed_pid(getattr(target, "pid", target)))
