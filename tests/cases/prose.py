"""Effects that a case tells in words, where the words are mechanical.

Start with :func:`check`. Each function answers for the sentences that match its
pattern, whichever case they stand in; a sentence without a function is a reason
to skip.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pagemig as pm

from . import flagged, placed, segments
from .answers import unwritten
from .form import Failed, Skipped

if TYPE_CHECKING:
    from .effects import Outcome

Check = Callable[["Outcome", "re.Match[str]"], None]


def check(outcome: Outcome, text: str) -> None:
    """Check one sentence."""
    for pattern, function in [*CHECKS, *placed.CHECKS, *segments.CHECKS]:
        if match := re.fullmatch(pattern, text.strip().rstrip("."), re.IGNORECASE):
            function(outcome, match)
            return
    raise Skipped(f"effect in prose: {text!r}")


def _still_writable(outcome: Outcome, match: re.Match[str]) -> None:
    """Every page of the call can be stored to, and reads back what was stored."""
    task = outcome.world.task(outcome.call.owner)
    for number, address in enumerate(outcome.call.addresses):
        stored = bytes([number * 7 + 3 & 255])
        task.write(address, stored)
        if task.read(address, 1) != stored:
            raise Failed(f"page {number} does not read back what was stored")


def _mapping_works(outcome: Outcome, match: re.Match[str]) -> None:
    _as_last_written(outcome, match)
    _still_writable(outcome, match)


def _status_untouched(outcome: Outcome, match: re.Match[str]) -> None:
    statuses = outcome.answers[-1].statuses or []
    if any(status != unwritten(outcome) for status in statuses):
        raise Failed(f"statuses are {statuses}, expected them untouched")


def _as_last_written(outcome: Outcome, match: re.Match[str]) -> None:
    """Every byte that the case stored is still there."""
    for (name, address), value in outcome.world.stored.items():
        if name in outcome.world.tasks and outcome.world.task(name).read(address, 1)[0] != value:
            raise Failed(f"{address:#x} of task {name} no longer holds {value}")


def _split_call(outcome: Outcome, match: re.Match[str]) -> None:
    """The first pages moved and say so; the rest stayed and their statuses are untouched."""
    moved, node, status, rest, other, untouched = (int(group) for group in match.groups())
    task = outcome.world.task(outcome.call.owner)
    found = task.nodes_of(outcome.call.addresses).tolist()
    statuses = outcome.answers[-1].statuses or []
    if found != [node] * moved + [other] * rest:
        raise Failed(f"{found.count(node)} pages are on node {node}, expected the first {moved}")
    if statuses != [status] * moved + [untouched] * rest:
        raise Failed(f"{statuses.count(status)} statuses are {status}, expected the first {moved}")


def _pages_on_node(outcome: Outcome, match: re.Match[str]) -> None:
    count, node = int(match[1]), int(match[2])
    # A page that the call names twice is one page.
    pages = sorted({address & ~4095 for address in outcome.call.addresses})
    found = outcome.world.task(outcome.call.owner).nodes_of(pages).tolist()
    if found.count(node) != count:
        raise Failed(f"{found.count(node)} pages are on node {node}, expected {count}")


def _back_on_lru(outcome: Outcome, match: re.Match[str]) -> None:
    """After a drain: as many pages on the LRU lists in all, the moved ones on their new nodes."""
    counts = [COUNTS.index(word.lower()) if word.lower() in COUNTS else int(word) for word in match.groups()]
    if counts[0] != counts[1]:
        raise Skipped(f"effect in prose: {match[0]!r}")
    before, after = outcome.before.clone(), outcome.world.machine.clone()
    before.drain()
    after.drain()
    task = outcome.world.task(outcome.call.owner)
    old = before.task(task.pid).nodes_of(outcome.call.addresses).tolist()
    new = after.task(task.pid).nodes_of(outcome.call.addresses).tolist()
    for node in outcome.world.with_memory:
        change = _lru_pages(after, node) - _lru_pages(before, node)
        if change != new.count(node) - old.count(node) or abs(change) not in (0, counts[0]):
            raise Failed(f"the LRU lists of node {node} changed by {change}")
        isolated = {name: n for name, n in after.zone_counters(node).items() if "isolated" in name and n}
        if isolated:
            raise Failed(f"isolated counters of node {node} are {isolated}")
    if sum(then != now for then, now in zip(old, new, strict=True)) != counts[0]:
        raise Failed(f"the pages were on {old} and are on {new}")
    for address in outcome.call.addresses:
        frame = after.task(task.pid).page_at(address)
        if frame is None or frame.lru is None:
            raise Failed(f"the page at {address:#x} is on no LRU list")


def _lru_pages(machine: pm.Machine, node: int) -> int:
    counters = machine.zone_counters(node)
    return sum(n for name, n in counters.items() if "active" in name or name == "nr_unevictable")


def _one_new_frame(outcome: Outcome, match: re.Match[str]) -> None:
    """Every process of the tree maps the page, all in one frame, and it is not the old one."""
    world, page = outcome.world, match[1]
    names = world.tree or list(world.tasks)
    frames = {name: outcome.frames({"task": name, "page": page})[0] for name in names}
    numbers = {None if frame is None else frame.pfn for frame in frames.values()}
    old = outcome.frames({"task": outcome.call.owner, "page": page}, earlier=True)[0]
    if len(numbers) != 1 or None in numbers:
        raise Failed(f"{page} is in the frames {sorted(map(str, numbers))}, expected one frame for all")
    if old is not None and old.pfn in numbers:
        raise Failed(f"{page} is still in frame {old.pfn}")


def _checked_already(outcome: Outcome, match: re.Match[str]) -> None:
    """The race itself fails where this does not hold."""
    if not outcome.world.readers:
        raise Skipped(f"effect in prose without readers: {match[0]!r}")


def _contents_kept(outcome: Outcome, match: re.Match[str]) -> None:
    """Every page of the call that was there holds what it held, and all that the case stored is there."""
    place = {"task": outcome.call.owner, "pages": list(outcome.call.addresses)}
    pairs = zip(outcome.frames(place, earlier=True), outcome.frames(place), strict=True)
    there = [(then.pfn, now.pfn) for then, now in pairs if then is not None and now is not None]
    if not there:
        raise Skipped("no page of the call is there before and after it")
    for then, now in there:
        if outcome.before.frame_bytes(then) != outcome.world.machine.frame_bytes(now):
            raise Failed(f"what was in frame {then} is not what is in frame {now}")
    _as_last_written(outcome, match)


COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
COUNT = rf"({'|'.join(COUNTS)}|\d+)"

CHECKS: list[tuple[str, Check]] = [
    (
        r"(?:both|all) pages stay writable through the same virtual address(?:es)? after the move",
        _still_writable,
    ),
    (r"(?:the )?(?:page|pages) (?:is still|are still|stays?|remains?) writable", _still_writable),
    (r"the mapping works as before", _mapping_works),
    (
        r"(?:the )?status(?:es)?(?: array)? (?:is |are )?(?:left )?(?:untouched|unchanged|not written)"
        r"|no status is written",
        _status_untouched,
    ),
    (r"(?:the )?contents? (?:is |are )?(?:unchanged|preserved|intact|kept)", _contents_kept),
    (r"contents as last written", _as_last_written),
    (
        r"(\d+) pages on node (\d+) with status (-?\d+), the other (\d+) on node (\d+) with status (-?\d+)",
        _split_call,
    ),
    (r"(\d+) pages? (?:is |are )?on node (\d+)", _pages_on_node),
    (
        rf"old node {COUNT} pages? fewer, new node {COUNT} more, isolated counters back to zero",
        _back_on_lru,
    ),
    (
        r"pfn of (\w+\+\d+) is (?:equal in all processes and new|the same new pfn in every process)",
        _one_new_frame,
    ),
    (r"no reader sees another value; no hang", _checked_already),
    (r"the new page has them, the old page has none and is freed", flagged.travelled),
]
