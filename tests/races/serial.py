"""What bytes are legal after a race: those that some order of the calls, one after another, leaves.

Every writer stores a byte of its own at an offset of its own (``situation.value_of``), so each slot
of a page answers one question: does this task see that store? :func:`visible` says whether it must,
may, or must not.

Neighbours: ``race``, which asks at the end.
"""

from __future__ import annotations

import errno

import pagemig as pm
from tests.races.situation import Line, Place, Situation, value_of


def judge(situation: Situation, place: Place) -> None:
    """Look at every page of every task that is left, and at what readers saw on the way."""
    for name, task in place.tasks.items():
        for page in range(situation.pages):
            seen = bytes_of(situation, place, name, task, page)
            if seen is not None:
                judge_page(situation, place, name, page, seen, len(situation.lines))
    for at, (line, call) in enumerate(zip(situation.calls, place.calls, strict=True)):
        if line.verb == "read" and call.error is None:
            judge_page(situation, place, line.task, line.pages.start, call.result, len(situation.setup) + at)


def bytes_of(situation: Situation, place: Place, name: str, task: pm.Task, page: int) -> bytes | None:
    """The page as the task sees it; None where it may not look any more."""
    address = task.same(place.heap)[page].start
    try:
        return task.read(address, 64)
    except OSError as error:
        assert error.errno == errno.EFAULT, f"{name} cannot read page {page}: {error!r}"
        own = family(situation, name)
        taken = [line for line in situation.lines if line.verb in ("munmap", "mprotect") and line.task in own]
        may_fail = any(page in line.pages for line in taken)
        assert may_fail, f"{name} cannot read page {page}, which nobody took away"
        return None


def judge_page(situation: Situation, place: Place, name: str, page: int, seen: bytes, reader: int) -> None:
    """Compare what was seen with what may be seen; ``reader`` is the number of the reading line."""
    for number, line in enumerate(situation.lines):
        expected = {0}
        if line.verb == "write" and line.pages.start == page:
            expected = visible(situation, place, name, number, reader)
        assert seen[number] in expected, (
            f"{name} sees {seen[number]} at byte {number} of page {page}; legal is {sorted(expected)}"
        )


def visible(situation: Situation, place: Place, name: str, writer: int, reader: int) -> set[int]:
    """The values that task ``name`` may find where line ``writer`` stores."""
    line, value = situation.lines[writer], value_of(writer)
    racing = len(situation.setup)
    if writer in place.refused:
        return {0}
    if line.task == name:
        is_over = reader == len(situation.lines)
        return {value} if writer < racing or is_over else {0, value}
    way = descent(situation, line.task, name)
    if way is None:
        return {0}
    forked = way[0]
    if forked < racing or writer < racing:
        return {value} if writer < forked else {0}
    return {0, value}


def descent(situation: Situation, ancestor: str, name: str) -> list[int] | None:
    """The numbers of the forks that lead from a task to a descendant, oldest first."""
    way: list[int] = []
    while name != ancestor:
        fork = fork_of(situation, name)
        if fork is None:
            return None
        way.insert(0, fork[0])
        name = fork[1].task
    return way


def family(situation: Situation, name: str) -> set[str]:
    """A task and all its ancestors."""
    names = {name}
    while (fork := fork_of(situation, name)) is not None:
        name = fork[1].task
        names.add(name)
    return names


def fork_of(situation: Situation, name: str) -> tuple[int, Line] | None:
    """The line that made a task."""
    for number, line in enumerate(situation.lines):
        if line.verb == "fork" and line.words == (name,):
            return number, line
    return None
