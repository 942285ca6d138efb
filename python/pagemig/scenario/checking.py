"""What only the whole of a scenario shows: who sees which memory, when a name comes to be, and more.

Every check looks at a `Page` whose single fields are right already and answers with places and
words. Above: `pagemig.scenario.reading`.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import naming
from .call_steps import MigrateFrames, MovePages
from .fitting import Mistake, Place, fits
from .model import CallPart, Page
from .part import Step
from .raw_steps import RawMovePages
from .reaching import counted, listed, page_counts, reach

CALLS_MAX = 26
"""Calls at once: a schedule names them a to z."""

_MEMORY = ("pages", "where", "region", "address", "start", "pfn", "pfns")


def check(page: Page, doubtful: frozenset[str] = frozenset()) -> list[Mistake]:
    """Return every mistake of a page, part by part.

    Parameters
    ----------
    page
        The page.
    doubtful
        Regions whose size is not what the person wrote, as what he wrote was out of range.
    """
    found = [*fits(page), *_tasks(page), *_groups(page), *_files(page)]
    found += _steps(page)
    found += _calls(page, doubtful)
    found += reach(page)
    found += _expected(page)
    return found


def _tasks(page: Page) -> Iterator[Mistake]:
    for name, task in page.tasks.items():
        if task.cpuset is not None and task.mems_allowed is not None:
            yield (
                ("tasks", name, "mems_allowed"),
                "its nodes are those of its cpuset; leave one of the two out",
            )
        if task.kernel_thread and any(region.task == name for region in page.regions.values()):
            yield ("tasks", name, "kernel_thread"), "a kernel thread has no memory, but a region lies in it"
    for name, region in page.regions.items():
        if region.task not in page.tasks:
            yield (
                ("regions", name, "task"),
                f"{region.task!r} does not live yet when regions are mapped; use mmap in the setup",
            )


def _groups(page: Page) -> Iterator[Mistake]:
    for kind in ("memcgs", "cpusets"):
        seen: set[str] = set()
        for name, group in getattr(page, kind).items():
            if group.parent is not None and group.parent not in seen:
                yield (kind, name, "parent"), f"{group.parent!r} has to be written before {name!r}"
            seen.add(name)


def _files(page: Page) -> Iterator[Mistake]:
    for kind, steps in (("setup", page.setup), ("calls", page.calls)):
        for position, step in enumerate(steps):
            if getattr(step, "do", "") in ("read", "write") and not page.machine.contents:
                yield (kind, position, "do"), "the machine has no contents; set machine.contents = true"
    for position, _ in enumerate(page.expect.bytes):
        if not page.machine.contents:
            yield ("expect", "bytes", position), "the machine has no contents; set machine.contents = true"


def _steps(page: Page) -> Iterator[Mistake]:
    """Follow the names through the setup and the calls: each must be there before it is used."""
    made = set(page.tasks) | set(page.regions)
    pins = {
        str(name)
        for step in (*page.setup, *page.calls)
        if getattr(step, "do", "") in ("pin", "lookup")
        for name in (getattr(step, "name", None), getattr(step, "id", None))
        if name
    }
    parents = {
        str(getattr(step, "name", "")): step.by
        for step in (*page.setup, *page.calls)
        if getattr(step, "do", "") == "fork"
    }
    homes = {name: region.task for name, region in page.regions.items()}
    for step in (*page.setup, *page.calls):
        if getattr(step, "do", "") in ("mmap", "mremap") and getattr(step, "name", None):
            homes[str(getattr(step, "name", ""))] = step.by or ""
    at_once = page.order == "together"
    gone: set[str] = set()
    for kind, steps in (("setup", page.setup), ("calls", page.calls)):
        late: list[set[str]] = []
        for position, step in enumerate(steps):
            yield from _used(step, (kind, position), made, homes, parents, pins)
            yield from _living(step, (kind, position), gone)
            if getattr(step, "do", "") == "exit" and step.by and (kind == "setup" or not at_once):
                gone.add(step.by)
            new = {str(name) for name in (getattr(step, "name", None), getattr(step, "id", None)) if name}
            if kind == "setup" or not at_once:
                made |= new
            else:
                late.append(new)
        for new in late:
            made |= new


def _living(step: Step, where: Place, gone: set[str]) -> Iterator[Mistake]:
    """Who acts must still be there; a system call may well be about a task that is not."""
    fields = {"attach_cpuset": ("task",), "veto": ("caller", "target")}.get(str(getattr(step, "do", "")), ())
    for field in ("by", *fields):
        name = getattr(step, field, None)
        if name in gone:
            yield (*where, field), f"task {name!r} has ended before this begins"


def _used(
    step: Step,
    where: Place,
    made: set[str],
    homes: dict[str, str],
    parents: dict[str, str | None],
    pins: set[str],
) -> Iterator[Mistake]:
    actor = _actor(step)
    for field in ("by", "target", "caller", "task"):
        name = getattr(step, field, None)
        if isinstance(name, str) and name not in made:
            yield (*where, field), f"there is no task {name!r} yet when this begins"
    for field in _MEMORY:
        for text in listed(getattr(step, field, None)):
            if naming.number_in(text) is not None:
                continue
            found = naming.parse(text)
            place = (*where, field)
            if found.name not in made and (found.name in homes or found.name in pins):
                yield place, f"there is no {found.name!r} yet when this begins"
            elif found.task is not None and field in ("pages", "where", "region", "address", "start"):
                if actor is not None and found.task != actor:
                    yield place, f"{text!r} lies in {found.task}; {actor} cannot use it by that name"
                elif found.name in homes and not _is_child(found.task, homes[found.name], parents):
                    yield place, _not_its_own(found.task, found.name, homes[found.name])
            elif (
                actor is not None
                and field not in ("pfn", "pfns")
                and found.name in homes
                and not _is_child(actor, homes[found.name], parents)
            ):
                yield place, _not_its_own(actor, found.name, homes[found.name])


def _not_its_own(task: str, region: str, home: str) -> str:
    return f"{region!r} lies in {home}; {task} is neither {home} nor forked from it"


def _actor(step: Step) -> str | None:
    """The task whose memory a step is about; None if that cannot be said."""
    if isinstance(step, (MovePages, RawMovePages)) and step.target is not None:
        return step.target if isinstance(step.target, str) else None
    return step.by


def _is_child(task: str, ancestor: str, parents: dict[str, str | None]) -> bool:
    seen: set[str] = set()
    at: str | None = task
    while at is not None and at not in seen:
        if at == ancestor:
            return True
        seen.add(at)
        at = parents.get(at)
    return False


def _calls(page: Page, doubtful: frozenset[str]) -> Iterator[Mistake]:
    if page.order == "together" and len(page.calls) > CALLS_MAX:
        yield ("calls",), f"{len(page.calls)} calls at once; a schedule names at most {CALLS_MAX}, a to z"
    if page.schedule is not None and page.order != "together":
        yield ("schedule",), "the calls run one after the other; set order = 'together'"
    elif page.schedule is not None:
        letters = "abcdefghijklmnopqrstuvwxyz"[: len(page.calls)]
        for letter in sorted({letter for letter in page.schedule if letter.isalpha()} - set(letters)):
            yield ("schedule",), f"there is no call {letter!r}; there is: {', '.join(letters) or 'none'}"
    pages = {name: count for name, count in page_counts(page).items() if name not in doubtful}
    for position, step in enumerate(page.setup):
        yield from _counts(step, ("setup", position), pages)
    for position, call in enumerate(page.calls):
        where = ("calls", position)
        yield from _counts(call, where, pages)
        yield from _suits(call, where)
        if page.order == "together" and str(getattr(call, "do", "")).startswith("raw_"):
            yield (*where, "do"), "a raw system call runs at once; it is for calls one after the other"


def _counts(step: Step, where: Place, pages: dict[str, int]) -> Iterator[Mistake]:
    """A list of nodes or of statuses has one for each page, where that can be counted."""
    if not isinstance(step, (MovePages, RawMovePages, MigrateFrames)):
        return
    asked = listed(step.pfns if isinstance(step, MigrateFrames) else step.pages)
    count = counted(asked, pages)
    if count is None:
        return
    if isinstance(step, MovePages) and isinstance(step.nodes, tuple) and len(step.nodes) != count:
        yield (*where, "nodes"), f"{len(step.nodes)} nodes for {count} pages; give one, or one for each page"
    if not isinstance(step, CallPart) or not _tells_all(step, asked):
        return
    said = step.expect.statuses
    if isinstance(said, tuple) and len(said) != count:
        yield (*where, "expect", "statuses"), f"{len(said)} statuses for {count} pages"
    if isinstance(said, dict) and sum(said.values()) != count:
        yield (
            (*where, "expect", "statuses"),
            f"these are {sum(said.values())} pages, but {count} are asked for",
        )


def _tells_all(call: CallPart, asked: tuple[str, ...]) -> bool:
    """Whether a call that goes well has a status for every page that it is asked for."""
    if call.expect.errno is not None or call.expect.done is False:
        return False
    if isinstance(call, RawMovePages):
        return call.status and call.count is None
    return not isinstance(call, MigrateFrames) or len(set(asked)) == len(asked)


_WITH_STATUSES = ("move_pages", "migrate_frames", "raw_move_pages")
_WITH_BYTES = ("read", "read_file")
_WITH_COUNTS = ("touch",)
_COUNTS = ("hits", "minor", "major", "cow", "spurious", "sigsegv", "sigbus")


def _suits(call: CallPart, where: Place) -> Iterator[Mistake]:
    """What is expected of a call must be something that such a call can come to."""
    verb = str(getattr(call, "do", ""))
    told = call.expect
    if told.statuses is not None and verb not in _WITH_STATUSES:
        yield (*where, "expect", "statuses"), f"{verb} has no statuses; {', '.join(_WITH_STATUSES)} have"
    if told.bytes is not None and verb not in _WITH_BYTES:
        yield (*where, "expect", "bytes"), f"{verb} reads nothing; {' and '.join(_WITH_BYTES)} do"
    for field in _COUNTS:
        if getattr(told, field) is not None and verb not in _WITH_COUNTS:
            yield (*where, "expect", field), f"{verb} counts no accesses; {' and '.join(_WITH_COUNTS)} does"
    if verb == "swap_out" and isinstance(getattr(call, "address", ""), tuple):
        yield (*where, "address"), "a call reclaims one page; several are for the setup"
    elif verb == "swap_out":
        text = str(getattr(call, "address", ""))
        found = None if naming.number_in(text) is not None else naming.parse(text)
        if found is not None and found.first is not None and found.stop != found.first + 1:
            yield (*where, "address"), "a call reclaims one page; several are for the setup"


def _expected(page: Page) -> Iterator[Mistake]:
    for position, outcome in enumerate(page.expect.outcomes):
        if page.order != "together":
            yield (
                ("expect", "outcomes", position),
                "the calls run one after the other: expect it of the calls",
            )
        elif set(outcome) != set(page.expect.outcomes[0]):
            missing = sorted(set(page.expect.outcomes[0]) ^ set(outcome))
            yield (
                ("expect", "outcomes", position),
                f"every outcome tells of the same; {', '.join(missing)} differ",
            )
