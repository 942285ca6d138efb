"""Whether what a scenario expects holds, on a machine on which its calls have run.

Start with `judge`. It looks and changes nothing: bytes are read on a clone. `Came` is what a
call came to, `outcome_of` the short form of it that outcomes of an exploration are made of.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..call import Call
from ..errors import OutOfMemoryError, SyscallError, UsageError
from ..flags import PAGE_SIZE, EntryKind, PageFlags
from ..region import Region
from ..report import Expectation, Placement
from ..report.text import runs, status_name
from ..results import AccessResult, FrameInfo, MigrationResult
from ..task import Task
from . import naming
from .expectations import NO_RESULT, CallExpectation, CounterExpectation, FramePlace, PageExpectation
from .model import Page
from .world import World

_COUNTS = ("hits", "minor", "major", "cow", "spurious")
_SIGNALS = ("sigsegv", "sigbus")


@dataclass(frozen=True, slots=True)
class Came:
    """What a call came to."""

    done: bool
    result: Any = None
    error: Exception | None = None
    made: str | None = None
    """What the scenario calls what it made: a task may have ended, and has no name then."""

    @staticmethod
    def of(call: Call, made: str | None = None) -> Came:
        """Look at a call in flight, or one that has ended."""
        if not call.done:
            return Came(False)
        error = call.error
        return Came(True, None if error is not None else call.result, error, made)

    @property
    def errno(self) -> str | None:
        """The name of the errno with which it failed."""
        code = self.error.errno if isinstance(self.error, OSError) else None
        if isinstance(self.result, MigrationResult) and self.result.error is not None:
            code = self.result.error
        return None if code is None else errno.errorcode.get(code, str(code))

    @property
    def statuses(self) -> tuple[int, ...] | None:
        """One a page; what was written so far if it failed; None if it has none."""
        found = self.result
        if isinstance(self.error, SyscallError):
            found = self.error.statuses
        if isinstance(found, MigrationResult):
            found = found.statuses
        return tuple(found.tolist()) if isinstance(found, np.ndarray) else None

    @property
    def accesses(self) -> AccessResult | None:
        """What a touch counted, up to where it ran out of memory."""
        found = self.error.result if isinstance(self.error, OutOfMemoryError) else self.result
        return found if isinstance(found, AccessResult) else None


def plain_result(came: Came) -> Any:
    """Return what a call returned as plain data."""
    found = came.result
    if isinstance(found, (bool, np.bool_)):
        return bool(found)
    if isinstance(found, (int, np.integer)):
        return int(found)
    if isinstance(found, bytes):
        return found.rstrip(b"\0").decode("utf-8", "backslashreplace")
    if isinstance(found, MigrationResult):
        return found.not_migrated
    if isinstance(found, Region):
        return hex(found.start)
    if isinstance(found, np.ndarray):
        return None
    accesses = came.accesses
    if accesses is not None:
        counts = {name: int(getattr(accesses, name)) for name in _COUNTS}
        return counts | {name: int(getattr(accesses, name).size) for name in _SIGNALS}
    if isinstance(found, Task):
        return came.made or f"task {found.pid}"
    return None if found is None else str(getattr(found, "name", found))


def outcome_of(came: Came) -> Any:
    """Return what a call came to in the short form of ``expect.outcomes``."""
    if not came.done:
        return "not done"
    if came.errno is not None:
        return came.errno
    if isinstance(came.error, OutOfMemoryError):
        return "out of memory"
    if came.statuses is not None:
        return came.statuses
    result = plain_result(came)
    return NO_RESULT if result is None or isinstance(result, dict) else result


@dataclass(frozen=True, slots=True)
class Before:
    """What was, before the calls: to tell what has changed."""

    frames: Mapping[tuple[int, Region], npt.NDArray[np.int64]]
    """The frame under each page of each region, as each task sees it; -1 where none is present."""
    vmstat: Mapping[str, int]
    zones: Mapping[int, Mapping[str, int]]

    def frame(self, pid: int, address: int) -> int:
        """Return the frame that a task had at an address of a region, -1 for none."""
        for (task, region), frames in self.frames.items():
            if task == pid and address in region:
                return int(frames[(address - region.start) // PAGE_SIZE])
        return -1


def remember_before(world: World) -> Before:
    """Keep what expectations may compare with."""
    machine = world.machine
    frames = {
        (task.pid, region): machine._system.core.frames_of(task.pid, region.addresses)
        for task in machine.tasks
        if not task.is_kernel_thread
        for region in world.regions.values()
    }
    return Before(frames, machine.vmstat(), {node: machine.zone_counters(node) for node in machine.nodes})


def placement(world: World, pid: int, region: Region) -> Placement:
    """Return where the pages of a region are for a task; a task that is gone has none."""
    if pid not in {task.pid for task in world.machine.tasks}:
        return Placement((-1,) * len(region), (-1,) * len(region))
    core = world.machine._system.core
    return Placement(
        tuple(core.nodes_of(pid, region.addresses).tolist()),
        tuple(core.frames_of(pid, region.addresses).tolist()),
    )


# judging ---------------------------------------------------------------------------------


def judge(
    page: Page, world: World, came: Mapping[str, Came], before: Before, *, any_order: bool = False
) -> list[Expectation]:
    """Return every expectation of a scenario, and whether it holds.

    Parameters
    ----------
    page
        The scenario.
    world
        The machine after the calls.
    came
        What each call came to, by its id.
    before
        What was before the calls.
    any_order
        Whether the order is one of many: outcomes then stand instead of what the calls expect.
    """
    held: list[Expectation] = []
    if not (any_order and page.expect.outcomes):
        for position, call in enumerate(page.calls):
            held += _of_call(f"calls[{position}].expect", call.expect, came[call.id])
    for position, told in enumerate(page.expect.pages):
        held += _of_pages(f"expect.pages[{position}]", told, world, before)
    for position, place in enumerate(page.expect.frames):
        held += _of_frame(f"expect.frames[{position}]", place, world)
    for position, counter in enumerate(page.expect.counters):
        held += _of_counter(f"expect.counters[{position}]", counter, world, before)
    held += _of_rest(page, world)
    if page.expect.outcomes:
        held.append(_of_outcomes(page, world, came))
    return held


def _line(path: str, expected: Any, found: Any, holds: bool | None = None) -> Expectation:
    verdict = expected == found if holds is None else holds
    return Expectation(path, verdict, str(expected), str(found))


def _of_call(path: str, told: CallExpectation, came: Came) -> Iterator[Expectation]:
    if told.done is not None:
        yield _line(f"{path}.done", told.done, came.done)
    short = outcome_of(came)
    if told.errno is not None:
        yield _line(f"{path}.errno", told.errno, came.errno or short)
    if told.statuses is not None:
        yield _of_statuses(f"{path}.statuses", told.statuses, came)
    if told.result is not None:
        yield _of_result(f"{path}.result", told.result, came)
    if told.bytes is not None:
        found = plain_result(came) if isinstance(came.result, bytes) else short
        yield _line(f"{path}.bytes", repr(told.bytes), repr(found))
    if told.out_of_memory is not None:
        yield _line(f"{path}.out_of_memory", told.out_of_memory, isinstance(came.error, OutOfMemoryError))
    accesses = came.accesses
    for name in (*_COUNTS, *_SIGNALS):
        wanted = getattr(told, name)
        if wanted is not None:
            value = None if accesses is None else getattr(accesses, name)
            size = value.size if isinstance(value, np.ndarray) else value
            yield _line(f"{path}.{name}", wanted, short if size is None else size)


def _of_statuses(path: str, told: int | tuple[int, ...] | dict[int, int], came: Came) -> Expectation:
    found = came.statuses
    if found is None:
        return _line(path, "statuses", outcome_of(came), False)
    if isinstance(told, dict):
        counts = {status: found.count(status) for status in set(found)}
        wanted = {status: pages for status, pages in told.items() if pages}
        return _line(path, _counted(wanted), _counted(counts), wanted == counts)
    wanted_all = told if isinstance(told, tuple) else (told,) * len(found)
    expected = runs(told) if isinstance(told, tuple) else f"{status_name(told)} for every page"
    return _line(path, expected, runs(found), wanted_all == found and (bool(found) or told == ()))


def _counted(counts: Mapping[int, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (item[0] < 0, abs(item[0])))
    return ", ".join(f"{pages} x {status_name(status)}" for status, pages in ordered)


def _of_result(path: str, told: int | bool, came: Came) -> Expectation:
    if came.error is not None or not came.done:
        return _line(path, told, outcome_of(came), False)
    found = plain_result(came)
    if isinstance(told, bool) and not isinstance(found, bool):
        # A pin or a look-up answers with a frame, or with nothing.
        return _line(path, "a page" if told else "no page", "no page" if found is None else "a page")
    return _line(path, told, found, type(told) is type(found) and told == found)


def _of_pages(path: str, told: PageExpectation, world: World, before: Before) -> Iterator[Expectation]:
    try:
        region = world.region(told.page)
    except UsageError as error:
        yield _line(path, told.page, str(error), False)
        return
    wanted = told.model_dump(exclude_defaults=True, exclude={"page"})
    for field, value in wanted.items():
        found = [_page_fact(field, value, world, page, before) for page in region]
        shown = " and ".join(value) if isinstance(value, tuple) else str(value)
        wrong = [
            f"{told.page if len(region) == 1 else f'page {number} of {told.page}'}: {fact}"
            for number, (holds, fact) in enumerate(found)
            if not holds
        ]
        yield Expectation(
            f"{path}.{field}",
            not wrong,
            f"{told.page}: {shown}",
            wrong[0] + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "") if wrong else shown,
        )


def _page_fact(field: str, value: Any, world: World, page: Region, before: Before) -> tuple[bool, str]:
    """Whether one thing is true of one page, and what is."""
    if page.task not in {task.pid for task in world.machine.tasks}:
        return (field, value) == ("node", -1), "its task is gone"
    task = world.machine.task(page.task)
    entry = task.entry_at(page.start)
    if field == "entry":
        found = entry.kind.name.lower()
        return found == value, found
    if field in ("writable", "dirty", "accessed"):
        bit = bool(getattr(entry, field))
        is_there = entry.kind is not EntryKind.NONE
        return bit == value and is_there, str(bit) if is_there else "nothing is there"
    if field == "moved":
        was = before.frame(page.task, page.start)
        now = int(world.machine._system.core.frames_of(page.task, page.addresses)[0])
        return (was != now) == value, f"frame {was} before, {now} now"
    if field == "node":
        node = int(task.nodes_of(page)[0])
        return node == value, "not present" if node < 0 else f"node {node}"
    return _frame_fact(field, value, task.page_at(page.start))


def _frame_fact(field: str, value: Any, frame: FrameInfo | None) -> tuple[bool, str]:
    if field == "node":
        node = -1 if frame is None else frame.node
        return node == value, "not there" if node < 0 else f"node {node}"
    if frame is None:
        return False, "not present"
    if field == "flags":
        return _flags_fact(value, frame)
    if field == "lru":
        found = "none" if frame.lru is None else frame.lru.name.lower().replace("_", "-")
        return found == value, found
    number = int(getattr(frame, field))
    return number == value, str(number)


def _flags_fact(words: tuple[str, ...], frame: FrameInfo) -> tuple[bool, str]:
    wrong = [word for word in words if (PageFlags[word.lstrip("!")] in frame.flags) == word.startswith("!")]
    return not wrong, " ".join(flag.name or "" for flag in PageFlags if flag in frame.flags) or "no flags"


def _of_frame(path: str, told: FramePlace, world: World) -> Iterator[Expectation]:
    pfn = world.frame_or_none(told.frame)
    frame = None if pfn is None else world.machine.frame(pfn)
    for field, value in told.model_dump(exclude_defaults=True, exclude={"frame"}).items():
        holds, found = _frame_fact(field, value, frame)
        shown = " and ".join(value) if isinstance(value, tuple) else value
        yield _line(f"{path}.{field}", f"{told.frame}: {shown}", found, holds)


def _of_counter(path: str, told: CounterExpectation, world: World, before: Before) -> Iterator[Expectation]:
    now = world.machine.vmstat() if told.node is None else world.machine.zone_counters(told.node)
    was = before.vmstat if told.node is None else before.zones[told.node]
    where = told.name if told.node is None else f"{told.name} of node {told.node}"
    if told.value is not None:
        holds = now[told.name] == told.value
        yield _line(f"{path}.value", f"{where}: {told.value}", now[told.name], holds)
    if told.change is not None:
        change = now[told.name] - was[told.name]
        yield _line(f"{path}.change", f"{where}: {told.change:+}", f"{change:+}", change == told.change)


def _of_rest(page: Page, world: World) -> Iterator[Expectation]:
    machine = world.machine
    alive = {task.pid for task in machine.tasks}
    for position, told in enumerate(page.expect.tasks):
        path, pid = f"expect.tasks[{position}]", world.tasks.get(told.task)
        if told.alive is not None:
            yield _line(f"{path}.alive", told.alive, pid in alive)
        if told.rss is not None:
            found = machine.task(pid).rss if pid is not None and pid in alive else "no task"
            yield _line(f"{path}.rss", told.rss, found)
    for position, group in enumerate(page.expect.memcgs):
        usage = machine.memcg(group.memcg).usage // 4096
        yield _line(f"expect.memcgs[{position}].usage", group.usage, usage)
    for position, stored in enumerate(page.expect.bytes):
        yield _line(
            f"expect.bytes[{position}].text", repr(stored.text), _stored(world, stored.at, stored.text)
        )


def _stored(world: World, at: str, text: str) -> str:
    """Read what is stored at an address, on a clone."""
    twin = world.on(world.machine.clone())
    size = max(1, len(text.encode()))
    try:
        region = None if naming.number_in(at) is not None else twin.region(at)
        if region is None:
            return "say whose address it is: a page of a region"
        data = twin.machine.task(region.task).read(twin.address(at), size)
    except (UsageError, OSError, OutOfMemoryError) as error:
        return str(error)
    return repr(data.rstrip(b"\0").decode("utf-8", "backslashreplace"))


# outcomes --------------------------------------------------------------------------------


def observed(page: Page, world: World, came: Mapping[str, Came]) -> dict[str, Any]:
    """Return what an outcome of this scenario tells of, as it is now; all calls if it lists none."""
    keys = list(page.expect.outcomes[0]) if page.expect.outcomes else [call.id for call in page.calls]
    verbs = {call.id: str(getattr(call, "do", "")) for call in page.calls}
    found: dict[str, Any] = {}
    for key in keys:
        if key in came:
            found[key] = _short(verbs[key], came[key])
            continue
        try:
            region = world.region(key)
        except UsageError:
            found[key] = -1
            continue
        found[key] = placement(world, region.task, region).nodes[0]
    return found


def _short(verb: str, came: Came) -> Any:
    """Return what a call came to without the numbers of frames and tasks, which say nothing."""
    if came.error is None and came.done and verb in ("pin", "lookup"):
        return came.result is not None
    return NO_RESULT if came.error is None and came.done and verb == "fork" else outcome_of(came)


def told_outcome(outcome: Mapping[str, Any]) -> str:
    """Write an outcome in a line.

    >>> told_outcome({"mover": (1, -16), "writer": "ok"})
    'mover: node 1, -EBUSY; writer: ok'
    """
    words: list[str] = []
    for key, said in outcome.items():
        words.append(f"{key}: {runs(said) if isinstance(said, tuple) else said}")
    return "; ".join(words)


def is_same(told: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether an outcome is one that the scenario lists."""
    return all(type(said) is type(found[key]) and bool(said == found[key]) for key, said in told.items())


def _of_outcomes(page: Page, world: World, came: Mapping[str, Came]) -> Expectation:
    found = observed(page, world, came)
    holds = any(is_same(told, found) for told in page.expect.outcomes)
    listed = page.expect.outcomes
    expected = " or ".join(f"({told_outcome(told)})" for told in listed)
    if holds and len(listed) > 1:
        expected = f"{told_outcome(found)} (one of the {len(listed)} that may come about)"
    return Expectation("expect.outcomes", holds, expected, told_outcome(found))


Observer = Callable[[World, Mapping[str, Came]], dict[str, Any]]
