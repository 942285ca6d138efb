"""Sentences about where the pages of whole tasks are.

Start with :data:`CHECKS`, which ``prose`` looks through after its own. The pages
meant are those that the case touched last, or else all that its call was about.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

import pagemig as pm

from . import addressing
from .form import Failed, Skipped
from .policies import policy_of

if TYPE_CHECKING:
    from .effects import Outcome
    from .world import World

Check = Callable[["Outcome", "re.Match[str]"], None]


def query(task: pm.Task, region: pm.Region) -> list[int]:
    """The statuses that ``move_pages`` gives when it is only asked."""
    return [int(status) for status in task.move_pages(region)]


def require_query(task: pm.Task, region: pm.Region, node: int, left_out: int) -> None:
    """Fail unless all pages are on one node but one, which is not there."""
    wanted = [-errno.ENOENT if page == left_out else node for page in range(len(region))]
    found = query(task, region)
    if found != wanted:
        raise Failed(f"the query says {found}, expected {wanted}")


def _region(outcome: Outcome) -> pm.Region:
    regions = outcome.world.regions[outcome.call.owner]
    if len(regions) != 1:
        raise Failed(f"there are {len(regions)} regions, the sentence is about one")
    return next(iter(regions.values()))


def _query(outcome: Outcome, match: re.Match[str]) -> None:
    task = outcome.world.task(outcome.call.owner)
    require_query(task, _region(outcome), int(match[1]), int(match[2]))


def _first_bytes(outcome: Outcome, match: re.Match[str]) -> None:
    task = outcome.world.task(outcome.call.owner)
    for number, page in enumerate(_region(outcome)):
        if task.page_at(page.start) is not None and task.read(page.start, 1) != bytes([number]):
            raise Failed(f"page {number} begins with {task.read(page.start, 1)!r}")


def nodes_said(text: str) -> dict[str, int] | None:
    """Read ``r+0 is on node 1, r+1 on node 0`` or ``r+0 and r+1 are on node 1``; None if it is none.

    >>> nodes_said("page r+0 is on node 1 and r+1 on node 0"), nodes_said("r+0 moves")
    ({'r+0': 1, 'r+1': 0}, None)
    """
    said: dict[str, int] = {}
    rest = text.strip().rstrip(".")
    while match := re.match(rf"({NAMED}(?:{AND}{NAMED})*) (?:(?:is|are) )?(?:now )?on node (\d+)", rest):
        for page in re.findall(r"\w+\+\d+", match[1]):
            if said.setdefault(page, int(match[2])) != int(match[2]):
                return None
        rest = rest[match.end() :]
        if not rest:
            return said
        if (joint := re.match(AND, rest)) is None:
            return None
        rest = rest[joint.end() :]
    return None


NAMED = r"(?:page )?\w+\+\d+"
AND = r"(?:, and |, | and )"


def require_on_nodes(world: World, name: str, said: dict[str, int]) -> None:
    """Fail unless each page is on the node that a sentence says."""
    for page, node in said.items():
        address = addressing.address(page, world.regions_of(name))
        found = int(world.task(name).nodes_of([address])[0])
        if found != node:
            raise Failed(f"{page} is on node {found}, expected {node}")


def _said_on_nodes(outcome: Outcome, match: re.Match[str]) -> None:
    said = nodes_said(match[0])
    if said is None:
        raise Skipped(f"effect in prose: {match[0]!r}")
    require_on_nodes(outcome.world, outcome.default_task, said)


def _pages_of_call(outcome: Outcome) -> list[int]:
    """The pages that the call was about, each once."""
    pages = sorted({address & ~4095 for address in outcome.call.addresses})
    if not pages:
        raise Skipped("the call is about no page")
    return pages


def _the_page_is_on(outcome: Outcome, match: re.Match[str]) -> None:
    """The one page of the call; ``stays`` says that it was there before."""
    pages, node = _pages_of_call(outcome), int(match[2])
    if len(pages) != 1:
        raise Skipped(f"the sentence is about one page, the call about {len(pages)}")
    task = outcome.world.task(outcome.call.owner)
    found = [int(task.nodes_of(pages)[0])]
    if match[1] in ("stays", "remains", "is still"):
        found.append(int(outcome.before.task(task.pid).nodes_of(pages)[0]))
    if set(found) != {node}:
        raise Failed(f"the page is on node {found[0]}, expected {node}")


def _pages_are_on(outcome: Outcome, match: re.Match[str]) -> None:
    pages, node = _pages_of_call(outcome), int(match[2])
    if match[1].lower() == "both" and len(pages) != 2:
        raise Skipped(f"the sentence is about two pages, the call about {len(pages)}")
    found = outcome.world.task(outcome.call.owner).nodes_of(pages).tolist()
    if set(found) != {node}:
        raise Failed(f"the pages are on {found}, expected all on node {node}")


def _query_says(outcome: Outcome, match: re.Match[str]) -> None:
    found = [
        int(status) for status in outcome.world.task(outcome.call.owner).move_pages(_pages_of_call(outcome))
    ]
    if set(found) != {int(match[1])}:
        raise Failed(f"the query says {found}, expected {match[1]}")


def _the_page_stays(outcome: Outcome, match: re.Match[str]) -> None:
    if len(_pages_of_call(outcome)) != 1:
        raise Skipped("the sentence is about one page, the call about more")
    _no_frame_changes(outcome, match)


def _no_frame_changes(outcome: Outcome, match: re.Match[str]) -> None:
    places = {"task": outcome.call.owner, "pages": list(outcome.call.addresses)}
    pairs = zip(outcome.frames(places, earlier=True), outcome.frames(places), strict=True)
    frames = [[None if frame is None else frame.pfn for frame in pair] for pair in pairs]
    if any(then != now for then, now in frames):
        raise Failed(f"frames before and after the call are {frames}")


def _one_page(outcome: Outcome, match: re.Match[str]) -> None:
    """All of the task's memory is one page, on one node."""
    task, node = outcome.world.task(outcome.call.owner), int(match[1])
    found = [place for region in task.regions for place in task.nodes_of(region).tolist() if place >= 0]
    if found != [node]:
        raise Failed(f"the task has pages on {found}, expected one on node {node}")


def _after_each_call(outcome: Outcome, match: re.Match[str]) -> None:
    place = {"task": outcome.call.owner, "page": match[1]}
    ((task, address),) = outcome.places(place)
    for answer, node in zip(outcome.answers, match.groups()[1:], strict=True):
        assert answer.after is not None
        found = int(answer.after.task(task.pid).nodes_of([address])[0])
        if found != int(node):
            raise Failed(f"{match[1]} was on node {found}, expected {node}")


def _somewhere(outcome: Outcome, match: re.Match[str]) -> None:
    """Nothing got lost: every page that was there is there."""
    task = outcome.world.task(outcome.call.owner)
    before = outcome.before.task(task.pid).nodes_of(outcome.call.addresses)
    now = task.nodes_of(outcome.call.addresses)
    if ((now < 0) != (before < 0)).any():
        raise Failed(f"pages were on {before.tolist()} and are on {now.tolist()}")


def _counts(outcome: Outcome) -> dict[str, dict[int, int]]:
    """For each task that touched new pages, how many are on each node with memory."""
    counts = {}
    for name, regions in outcome.world.touched.items():
        task = outcome.world.task(name)
        nodes = np.concatenate([task.nodes_of(region) for region in regions])
        counts[name] = {node: int((nodes == node).sum()) for node in outcome.world.with_memory}
    return counts


def _require(outcome: Outcome, wanted: Callable[[dict[int, int]], bool], text: str) -> None:
    counts = _counts(outcome)
    if not counts or not all(wanted(found) for found in counts.values()):
        raise Failed(f"pages by task and node are {counts}, expected {text}")


def _all_on_node(outcome: Outcome, match: re.Match[str]) -> None:
    pages, node = int(match[1]), int(match[2])
    _require(outcome, lambda found: found[node] == pages == sum(found.values()), match[0])


def _same_on_each(outcome: Outcome, match: re.Match[str]) -> None:
    _require(outcome, lambda found: set(found.values()) == {int(match[1])}, match[0])


def _on_two_nodes(outcome: Outcome, match: re.Match[str]) -> None:
    pages = {int(match[2]): int(match[1]), int(match[4]): int(match[3])}
    wanted = {node: count for node, count in pages.items() if count}
    _require(outcome, lambda found: {n: c for n, c in found.items() if c} == wanted, match[0])


def _at_least_on_node(outcome: Outcome, match: re.Match[str]) -> None:
    _require(outcome, lambda found: found[int(match[2])] >= int(match[1]) * 256, match[0])


def _at_least_on_each(outcome: Outcome, match: re.Match[str]) -> None:
    share = int(match[1]) * 256 // len(outcome.world.with_memory)
    _require(outcome, lambda found: min(found.values()) >= share, match[0])


def _all_pages(outcome: Outcome, match: re.Match[str]) -> None:
    """All pages of the task's regions, and there are as many as the sentence says."""
    found = outcome.world.task(outcome.call.owner).nodes_of(outcome.call.addresses).tolist()
    if found != [int(match[2])] * int(match[1]):
        raise Failed(f"the pages are on {found}, expected {match[1]} on node {match[2]}")


def _evenly(outcome: Outcome, match: re.Match[str]) -> None:
    """Each node has its share, give or take a part of all pages; none is anywhere else."""
    regions = [region for touched in outcome.world.touched.values() for region in touched]
    total = sum(len(region) for region in regions)
    counts = [count for found in _counts(outcome).values() for count in found.values()]
    share, slack = total / len(outcome.world.with_memory), total / int(match[1])
    if not total or sum(counts) != total or any(abs(count - share) > slack for count in counts):
        raise Failed(f"{counts} pages by node of {total}, expected {share} each, give or take {slack}")


def _was_on(outcome: Outcome, match: re.Match[str]) -> None:
    """Where the pages of a region were when they were touched first."""
    found = outcome.world.was_on.get(match[1])
    if found is None:
        raise Skipped(f"nobody noted where {match[1]!r} was")
    if set(found) != {int(match[2])}:
        raise Failed(f"{match[1]} was on {found}, expected {match[2]}")


def _inherited(outcome: Outcome, match: re.Match[str]) -> None:
    policies = [policy_of(outcome.world.task(name), None) for name in outcome.world.touched]
    if len(policies) < 2 or policies[0][0] == 0 or any(policy != policies[0] for policy in policies):
        raise Failed(f"the policies of the family are {policies}")


CHECKS: list[tuple[str, Check]] = [
    (r"query: all (\d+) except index (\d+)", _query),
    (r"first byte of page i is still i", _first_bytes),
    (r"no page changes frame|no page (?:moves|is moved)|nothing (?:moves|is moved)", _no_frame_changes),
    (r"(?:the )?page (?:does not move|is not moved)", _the_page_stays),
    (r"(?:the )?page (is|is now|stays|remains|is still) on node (\d+)", _the_page_is_on),
    (r"(both|all)(?: the)? pages (?:are )?(?:now )?on node (\d+)", _pages_are_on),
    (r"(?:a )?query (?:says|gives|returns) (-?\d+)", _query_says),
    (r"query: all (\d+)", _query_says),
    (rf"{NAMED} .*on node \d+", _said_on_nodes),
    (r"exactly one page on node (\d+), none elsewhere", _one_page),
    (r"after the first call (\w+\+\d+) is on node (\d+), after the second on node (\d+)", _after_each_call),
    (
        r"success is reported although pages need not be on node \d+: .*",
        _somewhere,
    ),
    (r"no error; placement not determined", _somewhere),
    (r"all (\d+) pages of each task on node (\d+)", _all_on_node),
    (r"exactly (\d+) pages on each node, in the child and in the parent", _same_on_each),
    (r"(\d+) pages on node (\d+), (\d+) on node (\d+), 0 elsewhere", _on_two_nodes),
    (r"at least (\d+) MiB (?:of the process )?on node (\d+)", _at_least_on_node),
    (r"at least (\d+) MiB / nodes on each node", _at_least_on_each),
    (r"the policy is inherited by fork", _inherited),
    (r"all (\d+) pages on node (\d+)", _all_pages),
    (r"each node within total/nodes \+- total/(\d+) pages; the sum equals the total", _evenly),
    (r"(\w+) was on (\d+)", _was_on),
]
