"""A call in flight: started, checked, and run one step at a time.

Start with `Call`; `pagemig.Machine.start` makes them. What a call does is described by a
value of `pagemig.calls`, which this room knows only as a `CallValue`: something that can make
a request for the core and can read the outcome.

Source: concurrency 1 and 2.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from . import _core
from .errors import OutOfMemoryError, PagemigError, SyscallError, UsageError, said_by

if TYPE_CHECKING:
    from .system import System


@runtime_checkable
class CallValue(Protocol):
    """What a call shall do: a value of `pagemig.calls`."""

    def _request(self, system: System, pid: int) -> _core.Request:
        """Check everything that is checked before the first step; raise what the verb raises."""

    def _result(self, system: System, pid: int, outcome: Any) -> Any:
        """Turn the core's outcome into what the verb returns; raise what the verb raises."""

    def _deliver(self, core: _core.Machine, number: int, done: int) -> int:
        """Write to user memory what a call in flight has written since ``done``, in bytes."""

    def _for_clone(self) -> CallValue:
        """The same, with user memory of its own."""


class HandleNumber(int):
    """The number of a handle that a person gave to a call, which remembers the handle until it is started.

    It is equal to its number, and it is pickled and copied as that.
    """

    handle: Any

    @staticmethod
    def of(handle: object, number: int) -> int:
        """Return the number of a handle; of a plain number itself."""
        if not hasattr(handle, "_system"):
            return number
        made = HandleNumber(number)
        made.handle = handle
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


def for_machine(system: System, what: CallValue) -> CallValue:
    """Return what a call shall do with plain numbers for the handles in it.

    Raises
    ------
    UsageError
        One of them is of another machine.
    """
    value: Any = what
    plain = {}
    for field in fields(value) if is_dataclass(value) else ():
        number = getattr(value, field.name)
        if isinstance(number, HandleNumber):
            if number.handle._system is not system:
                raise UsageError(f"{number.handle!r} belongs to another machine; look it up on this one")
            plain[field.name] = int(number)
    return replace(value, **plain) if plain else what


class Holder(enum.IntEnum):
    """Who holds a lock besides calls."""

    HAND = (1 << 32) - 2
    """Somebody who took it by hand: `pagemig.File.hold_buffer`."""
    DISK = (1 << 32) - 1
    """The disk, until a transfer ends."""


_OF_FRAMES = ("page_lock", "writeback")


@dataclass(frozen=True, slots=True)
class WaitFor:
    """What a call cannot go on without.

    Examples
    --------
    >>> WaitFor("page_lock", 12, 1)
    WaitFor(page_lock, pfn=12, holder=1)
    >>> WaitFor("page_lock", 12, Holder.DISK)
    WaitFor(page_lock, pfn=12, holder=DISK)
    """

    lock: str
    """``ksm_thread_mutex``, ``mmap_sem``, ``page_lock``, ``writeback``, ``buffer_lock``,
    ``anon_vma_lock``, ``i_mmap_lock``, ``leaf_lock`` or ``tree_lock``."""
    number: int
    """Which one: for a page lock and writeback the frame number, otherwise the core's own number."""
    holder: int | None
    """The number of the call that holds it, or a `Holder`; None if nobody does."""

    @property
    def pfn(self) -> int | None:
        """The frame, of a page lock or of writeback."""
        return self.number if self.lock in _OF_FRAMES else None

    @staticmethod
    def _from_core(row: tuple[str, int, int | None]) -> WaitFor:
        """Make one from the core's tuple.

        Parameters
        ----------
        row
            The lock, its number, and who holds it.

        Returns
        -------
        WaitFor
            The same as a value.
        """
        lock, number, holder = row
        return WaitFor(lock, number, None if holder is None else holder_of(holder))

    def __repr__(self) -> str:
        name = "pfn" if self.lock in _OF_FRAMES else "number"
        holder = self.holder.name if isinstance(self.holder, Holder) else self.holder
        return f"WaitFor({self.lock}, {name}={self.number}, holder={holder})"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that somebody holds or waits for: see `pagemig.Machine.locks`.

    Examples
    --------
    >>> Lock("page_lock", 12, (1,), (2, 3)).pfn
    12
    """

    lock: str
    """Its kind, as in `WaitFor.lock`."""
    number: int
    """Which one, as in `WaitFor.number`."""
    holders: tuple[int, ...]
    """The numbers of the calls that hold it, or a `Holder`; nobody holds writeback."""
    waiters: tuple[int, ...]
    """The numbers of the calls that wait for it, in the order of their coming."""

    @property
    def pfn(self) -> int | None:
        """The frame, of a page lock or of writeback."""
        return self.number if self.lock in _OF_FRAMES else None


def holder_of(number: int) -> int:
    """Return the number of a call, or the `Holder` that the core's number stands for."""
    return Holder(number) if number in list(Holder) else number


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What Python keeps of a call in flight, as a value: what a clone and a snapshot take along."""

    number: int
    pid: int
    what: CallValue
    asked: str
    """The label that `Call.run_until` was told and has reached, or nothing."""
    delivered: int
    """Bytes of user memory that have been written."""


@dataclass(slots=True)
class _Ended:
    """What remains of a call once the core has forgotten it."""

    history: tuple[str, ...]
    result: Any
    error: Exception | None


@dataclass(frozen=True, slots=True)
class SystemCall:
    """What is left of a system call of `pagemig.syscalls` that Ctrl-C found under way."""

    name: str

    def _request(self, system: System, pid: int) -> _core.Request:
        raise UsageError(f"{self.name} is under way already; make the system call again")

    def _result(self, system: System, pid: int, outcome: Any) -> int:
        return int(outcome if isinstance(outcome, int) else outcome[0])

    def _deliver(self, core: _core.Machine, number: int, done: int) -> int:
        return done

    def _for_clone(self) -> SystemCall:
        return self


def drive(system: System, how: Callable[[_core.Machine], Any], only: Call | None = None) -> Any:
    """Let calls in flight go on as ``how`` says, or ``only`` one, and take the outcome of what ended."""
    settle = system.settle_calls if only is None else only._settle
    with system.alone():
        try:
            answer = how(system.core)
        except BaseException:
            # Also of what a signal's handler raises. A machine that is busy does not say what ended.
            with suppress(PagemigError):
                settle()
            raise
        settle()
        return answer


class Call:
    """A call in flight, or one that has ended. Made by `pagemig.Machine.start`.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB] * 2)
    >>> app = machine.spawn()
    >>> heap = app.mmap(pm.PAGE_SIZE)
    >>> fault = machine.start(pm.calls.touch(heap), by=app)
    >>> fault.run()
    >>> fault.result.minor
    1
    """

    __slots__ = ("_asked", "_delivered", "_ended", "_number", "_pid", "_system", "_what")

    def __init__(self, system: System, number: int, pid: int, what: CallValue) -> None:
        self._system = system
        self._number = number
        self._pid = pid
        self._what = for_machine(system, what)
        self._asked = ""
        self._delivered = 0
        self._ended: _Ended | None = None
        system.calls[number] = self

    @property
    def number(self) -> int:
        """The number under which `WaitFor` and the trace name it."""
        return self._number

    @property
    def pid(self) -> int:
        """The task that made it."""
        return self._pid

    @property
    def what(self) -> CallValue:
        """What it does, a value of `pagemig.calls`."""
        return self._what

    @property
    def done(self) -> bool:
        """Whether it has made its last step."""
        return self._ended is not None

    @property
    def at(self) -> str | None:
        """The label of the step it makes next, such as ``UM-9``; None when it is done.

        One advance may make several steps of the specification (`labels`): then this is the
        one that `run_until` was told, or the first.
        """
        if self._ended is not None:
            return None
        _, _, _, first, _, labels = self._look()
        return self._asked if self._asked in labels else first

    @property
    def labels(self) -> tuple[str, ...]:
        """Every step of the specification that its next advance makes; empty when it is done."""
        return () if self._ended is not None else self._look()[5]

    @property
    def waiting_for(self) -> WaitFor | None:
        """What it waits for; None if it can go on, or is done."""
        found = None if self._ended is not None else self._look()[4]
        return None if found is None else WaitFor._from_core(found)

    @property
    def history(self) -> tuple[str, ...]:
        """Where it has been: the first label of each advance so far."""
        if self._ended is not None:
            return self._ended.history
        return self._system.core.history(self._number)

    @property
    def result(self) -> Any:
        """What the verb of the same name would have returned.

        Raises
        ------
        UsageError
            The call is not done.
        OSError, OutOfMemoryError
            What the verb would have raised.
        """
        ended = self._require_ended()
        if ended.error is not None:
            raise ended.error
        return ended.result

    @property
    def error(self) -> Exception | None:
        """What `result` raises, None if it returns."""
        return self._require_ended().error

    def step(self) -> bool:
        """Make one step.

        Returns
        -------
        bool
            Whether it could; if not, it waits, and still does.

        Raises
        ------
        UsageError
            It is done already.
        """
        self._require_flight()
        return self._drive(lambda core: core.step(self._number))

    def run_until(self, label: str) -> bool:
        """Step until just before a step of the specification.

        Parameters
        ----------
        label
            Which one, such as ``UM-9``.

        Returns
        -------
        bool
            Whether it is there; if not, it has ended, or must wait first.

        Raises
        ------
        UsageError
            There is no such step, or the call is done already.
        """
        self._require_flight()
        if not isinstance(label, str):
            raise UsageError(f"label is {label!r}; it must be the name of a step, such as 'UM-9'")
        is_there = self._drive(lambda core: core.run_until(self._number, label))
        self._asked = label if is_there else ""
        return is_there

    def run(self) -> None:
        """Step until it is done, without letting others run.

        Raises
        ------
        DeadlockError
            It must wait for another call; that one, or `Machine.run`, has to go first.
        """
        if self._ended is None:
            self._drive(lambda core: core.finish(self._number))

    def __repr__(self) -> str:
        place = "done" if self._ended is not None else said_by(lambda: f"at {self.at}")
        return f"<Call {self._number} by task {self._pid}: {type(self._what).__name__}, {place}>"

    def _drive(self, how: Callable[[_core.Machine], Any]) -> bool:
        return bool(drive(self._system, how, self))

    def _look(self) -> tuple[Any, ...]:
        return self._system.core.call(self._number)

    def _require_flight(self) -> None:
        if self._ended is not None:
            raise UsageError(f"call {self._number} is done; it has no further step")

    def _require_ended(self) -> _Ended:
        if self._ended is None:
            raise UsageError(f"call {self._number} is not done; step or run it first")
        return self._ended

    def _settle(self) -> None:
        """Deliver what it has written; if it is done, take the outcome and let the core forget it."""
        core, number = self._system.core, self._number
        self._delivered = self._what._deliver(core, number, self._delivered)
        if not self._look()[2]:
            return
        outcome = core.outcome(number)
        ended = _Ended(core.history(number), None, None)
        try:
            ended.result = self._what._result(self._system, self._pid, outcome)
        except (SyscallError, OutOfMemoryError) as error:
            ended.error = error
        self._ended = ended
        core.forget(number)
        del self._system.calls[number]

    def _kept(self) -> KeptCall:
        """Return what is kept of it, with user memory of its own."""
        return KeptCall(self._number, self._pid, self._what._for_clone(), self._asked, self._delivered)

    @staticmethod
    def _from_kept(system: System, kept: KeptCall) -> Call:
        """Return the handle of the same call on a machine that is a copy."""
        call = Call(system, kept.number, kept.pid, kept.what)
        call._asked, call._delivered = kept.asked, kept.delivered
        return call

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with its machine; in flight it is that machine's own handle."""
        if self._ended is None:
            return _in_flight, (self._system, self._number)
        return _at_its_end, (self._system, self._number, self._pid, self._what, self._ended)


def _in_flight(system: System, number: int) -> Call:
    return system.calls[number]


def _at_its_end(system: System, number: int, pid: int, what: CallValue, ended: _Ended) -> Call:
    call = object.__new__(Call)
    call._system, call._number, call._pid, call._what = system, number, pid, what
    call._asked, call._delivered, call._ended = "", 0, ended
    return call
