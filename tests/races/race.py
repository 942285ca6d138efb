"""Running a race: one step of one call after another, audited after each, judged at the end.

Start with :func:`run`. What can break is a :class:`Broken`: an audit finding, a deadlock, an error
that no call may raise, a status that no page may have, a byte that no order of the calls explains,
a frame that nobody gives back.

Neighbours: ``situation`` (what races), ``dice`` (in which order), ``serial`` (what bytes are legal).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pagemig as pm
from tests.races import serial
from tests.races.dice import Dice
from tests.races.situation import Line, Place, Situation, build, note, schedule_of, steps_of

STEPS_MAX = 20_000

Chooser = Callable[[list[int]], int | None]
"""Which of the calls that can go on makes the next step; None: none of them now."""


class Broken(AssertionError):
    """What went wrong in a race, with the schedule so far."""

    def __init__(self, what: str, schedule: str) -> None:
        super().__init__(what, schedule)
        self.what = what
        self.schedule = schedule

    def __str__(self) -> str:
        return f"{self.what}\nschedule {self.schedule}"


class Race:
    """One run of a situation."""

    def __init__(self, situation: Situation, *, record: bool = False) -> None:
        self.situation = situation
        self.place: Place = build(situation, record)
        self.steps: list[int] = []
        self._noted: set[int] = set()

    def run(self, choose: Chooser) -> None:
        """Step the calls in the order of ``choose`` until all are done; then judge."""
        try:
            self._check()
            while open_calls := [at for at, call in enumerate(self.place.calls) if not call.done]:
                ready = [at for at in open_calls if self.place.calls[at].waiting_for is None]
                if not ready:
                    waits = [f"{at}: {self.place.calls[at].waiting_for}" for at in open_calls]
                    raise AssertionError(f"deadlock: {waits}")
                at = choose(ready)
                if at is not None:
                    self.step(at)
            judge(self.situation, self.place)
        except Broken:
            raise
        except (AssertionError, pm.PagemigError, OSError) as error:
            raise Broken(f"{type(error).__name__}: {error}", schedule_of(self.steps)) from error

    def step(self, at: int) -> None:
        """One step of one call, and the audit."""
        self.steps.append(at)
        assert len(self.steps) < STEPS_MAX, "the calls never end"
        call = self.place.calls[at]
        call.step()
        if call.done and at not in self._noted:
            self._noted.add(at)
            note(self.place, self.situation.calls[at], call, len(self.situation.setup) + at)
        self._check()

    def _check(self) -> None:
        findings = self.place.machine.audit()
        assert not findings, "; ".join(map(str, findings))


def at_random(dice: Dice) -> Chooser:
    """Long and short runs of the same call, so that one can get far while another stands still."""
    last, stay = [0], [50]

    def choose(ready: list[int]) -> int:
        if last[0] not in ready or not dice.chance(stay[0]):
            last[0], stay[0] = dice.one_of(ready), dice.one_of((30, 70, 90, 97))
        return last[0]

    return choose


def in_order(schedule: str) -> Chooser:
    """As a schedule says, then in turn. A step that cannot be made is passed over."""
    steps: Iterator[int] = iter(steps_of(schedule))
    turn = [-1]

    def choose(ready: list[int]) -> int | None:
        at = next(steps, None)
        if at is not None:
            return at if at in ready else None
        later = [call for call in ready if call > turn[0]]
        turn[0] = (later or ready)[0]
        return turn[0]

    return choose


def judge(situation: Situation, place: Place) -> None:
    """What must be true once all calls are done, whatever their order was."""
    for line, call in zip(situation.calls, place.calls, strict=True):
        judge_result(line, call)
    serial.judge(situation, place)
    leave_nothing(place)


def judge_result(line: Line, call: pm.Call) -> None:
    """A call ends as its verb may end: no other error, no other status."""
    error = call.error
    if error is not None:
        code = error.errno if isinstance(error, OSError) else None
        assert code in LEGAL_ERRORS.get(line.verb, ()), f"{line} ended with {error!r}"
    elif line.verb == "move":
        legal = {0, 1, *(-code for code in MOVE_STATUSES)}
        assert set(call.result.tolist()) <= legal, f"{line} has statuses {call.result}"
        assert line.words[3] == "exclusive" or -errno.EACCES not in call.result
    elif line.verb == "query":
        legal = {0, 1, -errno.ENOENT, -errno.EFAULT}
        assert set(call.result.tolist()) <= legal, f"{line} has statuses {call.result}"


MOVE_STATUSES = (errno.ENOENT, errno.EBUSY, errno.EACCES, errno.EAGAIN, errno.EFAULT)
LEGAL_ERRORS = {
    "write": (errno.EFAULT,),
    "read": (errno.EFAULT,),
    "mprotect": (errno.ENOMEM,),
    "mlock": (errno.ENOMEM,),
    "munlock": (errno.ENOMEM,),
}


def leave_nothing(place: Place) -> None:
    """Everybody goes; every frame comes back."""
    machine = place.machine
    task = next(iter(place.tasks.values()), None) or machine.spawn("sweeper", stack=False)
    for _, _, pfn in place.pins:
        task.unpin(pfn)
    for task in place.tasks.values():
        task.exit()
        machine.check()
    machine.drain()
    machine.check()
    for left in machine.tasks:
        left.exit()
    machine.drain()
    machine.check()
    counters = machine.vmstat()
    assert counters["nr_free_pages"] == place.free_frames, "frames were lost"
    for name in ("nr_isolated_anon", "nr_isolated_file", "nr_anon_pages", "nr_mlock", "nr_unevictable"):
        assert counters[name] == 0, f"{name} is {counters[name]} on an empty machine"
