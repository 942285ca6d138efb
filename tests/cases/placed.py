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

from .form import Failed, Skipped
from .policies import policy_of

if TYPE_CHECKING:
    from .effects import Outcome

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


def _no_frame_changes(outcome: Outcome, match: re.Match[str]) -> None:
    places = {"task": outcome.call.owner, "pages": list(outcome.call.addresses)}
    if outcome.frames(places) != outcome.frames(places, earlier=True):
        raise Failed("a page changed its frame, or its state")


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
    (r"no page changes frame", _no_frame_changes),
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
