"""Effects on memory policies and on the areas that they split.

Start with :data:`CHECKS`, which ``effects`` looks up. A policy is asked for with
``get_mempolicy``, as a program would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import pagemig as pm

from . import words
from .form import Failed, Skipped
from .planned import PlacementCall

if TYPE_CHECKING:
    from .effects import Outcome

Effect = dict[str, Any]
ADDR = 2


def policy_of(task: pm.Task, address: int | None) -> tuple[int, list[int]]:
    """The mode word and the nodes of a task's policy, or of that of an area."""
    mode, mask = np.zeros(1, np.int32), np.zeros(1, np.uint64)
    flags = 0 if address is None else ADDR
    result = pm.syscalls.get_mempolicy(task, mode, mask, 64, address or 0, flags)
    if result:
        raise Failed(f"get_mempolicy returned {result}")
    return int(mode[0]), _nodes(int(mask[0]))


def _nodes(mask: int) -> list[int]:
    return [node for node in range(64) if mask >> node & 1]


def _compare(outcome: Outcome, found: tuple[int, list[int]], effect: Effect) -> None:
    """Compare a policy; the default one has no nodes to be named."""
    mode = words.mode_word(effect["mode"])
    nodes = effect.get("nodes", []) if mode == pm.PolicyMode.DEFAULT else effect["nodes"]
    wanted = mode, words.node_set(nodes, outcome.world.with_memory)
    if found != wanted:
        raise Failed(f"the policy is mode {found[0]} of nodes {found[1]}, expected {wanted[0]}, {wanted[1]}")


def _policy(outcome: Outcome, effect: Effect) -> None:
    """The policy of the area at a place."""
    for task, address in outcome.places({**effect, "page": effect["where"]}):
        _compare(outcome, policy_of(task, address), effect)


def _task_policy(outcome: Outcome, effect: Effect) -> None:
    task = outcome.world.task(effect.get("task", outcome.default_task))
    _compare(outcome, policy_of(task, None), effect)


def _returned(outcome: Outcome) -> PlacementCall:
    if not isinstance(outcome.call, PlacementCall):
        raise Skipped("the call returns no policy")
    return outcome.call


def _returned_policy(outcome: Outcome, effect: Effect) -> None:
    call = _returned(outcome)
    if call.mode is None:
        raise Skipped("the call did not ask for the mode")
    if call.mask is None:
        nodes: list[int] = []
        if words.node_set(effect.get("nodes"), outcome.world.with_memory):
            raise Skipped("the call did not ask for the nodes")
        effect = {**effect, "nodes": nodes}
    else:
        nodes = _nodes(int(call.mask[0]))
    _compare(outcome, (int(call.mode[0]), nodes), effect)


def _returned_mask(outcome: Outcome, effect: Effect) -> None:
    call = _returned(outcome)
    nodes = None if call.mask is None else _nodes(int(call.mask[0]))
    wanted = words.node_set(effect["nodes"], outcome.world.with_memory)
    if nodes != wanted:
        raise Failed(f"the mask is {nodes}, expected {wanted}")


def _returned_node(outcome: Outcome, effect: Effect) -> None:
    """With MPOL_F_NODE the mode is a node (syscalls 6.5)."""
    call = _returned(outcome)
    if call.mode is None:
        raise Skipped("the call did not ask for the node")
    wanted = words.number(effect["node" if "node" in effect else "value"], "node")
    if int(call.mode[0]) != wanted:
        raise Failed(f"the node is {int(call.mode[0])}, expected {wanted}")


def _sizes(outcome: Outcome, effect: Effect) -> list[int]:
    """Pages of each area inside a region."""
    name = effect.get("task", outcome.default_task)
    region = outcome.world.region(name, effect["region"])
    return [len(area) for area in outcome.world.task(name).regions if region.start <= area.start < region.end]


def _vma_count(outcome: Outcome, effect: Effect) -> None:
    sizes, wanted = _sizes(outcome, effect), words.number(effect["value"], "value")
    if len(sizes) != wanted:
        raise Failed(f"there are {len(sizes)} areas, expected {wanted}")


def _vma_pages(outcome: Outcome, effect: Effect) -> None:
    sizes = _sizes(outcome, effect)
    if sizes != effect["sizes"]:
        raise Failed(f"the areas have {sizes} pages, expected {effect['sizes']}")


CHECKS: dict[str, tuple[tuple[str, ...], Callable[[Outcome, Effect], None]]] = {
    "policy": (("task", "where", "mode", "nodes"), _policy),
    "task_policy": (("task", "mode", "nodes"), _task_policy),
    "returned_policy": (("mode", "nodes"), _returned_policy),
    "returned_node": (("node", "value"), _returned_node),
    "returned_mask": (("nodes",), _returned_mask),
    "vma_pages": (("task", "region", "sizes"), _vma_pages),
    "vma_count": (("task", "region", "value"), _vma_count),
}
