"""Cpusets: which nodes a task may use, and what happens when that changes.

Start with :func:`set_mems` and :func:`attach`.

Source: data model 10, supporting paths 18.
Left out: CPUs of a cpuset.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Collection

from . import policy
from .tasks import State, Task

Move = Callable[[State, Task, Task, set[int], set[int]], None]


@dataclasses.dataclass(eq=False)
class Cpuset:
    """A group of tasks with its nodes; number 0 is the root."""

    number: int
    name: str
    parent: Cpuset | None
    mems: frozenset[int]
    memory_migrate: bool = False


def allowed_nodes(state: State, task: Task) -> set[int]:
    """``cpuset_mems_allowed``: of the task's cpuset, or the nearest above that has nodes."""
    with_memory = state.memory.with_memory
    if task.cpuset is None:
        return {node for node in with_memory if task.mems_allowed >> node & 1} or set(with_memory)
    cpuset: Cpuset | None = task.cpuset
    while cpuset is not None and not cpuset.mems & with_memory:
        cpuset = cpuset.parent
    return set(cpuset.mems & with_memory) if cpuset is not None else set(with_memory)


def mask_of(nodes: Collection[int]) -> int:
    """A set of nodes as a bit mask."""
    return sum(1 << node for node in nodes)


def set_mems(state: State, writer: Task, cpuset: Cpuset, nodes: set[int], move: Move) -> int:
    """Write a new node set: 0 or -errno."""
    if cpuset.parent is None:
        return -errno.EACCES
    if not nodes <= state.memory.with_memory:
        return -errno.EINVAL
    if nodes == cpuset.mems:
        return 0
    if any(other.parent is cpuset and not other.mems <= nodes for other in state.cpusets):
        return -errno.EBUSY
    if not nodes <= cpuset.parent.mems:
        return -errno.EACCES
    members = [task for _, task in sorted(state.tasks.items()) if task.cpuset is cpuset]
    if members and not nodes:
        return -errno.ENOSPC
    old = set(cpuset.mems)
    cpuset.mems = frozenset(nodes)
    for task in members:
        _reach(state, writer, task, old, nodes, cpuset.memory_migrate, move)
    return 0


def attach(state: State, writer: Task, cpuset: Cpuset, task: Task, move: Move) -> int:
    """Move a task into a cpuset: 0 or -errno."""
    if not cpuset.mems:
        return -errno.ENOSPC
    if task.cpuset is cpuset:
        return 0
    old = set(task.cpuset.mems) if task.cpuset is not None else _nodes_of(state, task)
    task.cpuset = cpuset
    _reach(state, writer, task, old, set(cpuset.mems), cpuset.memory_migrate, move)
    return 0


def _nodes_of(state: State, task: Task) -> set[int]:
    return {node for node in state.memory.nodes if task.mems_allowed >> node & 1}


def _reach(
    state: State, writer: Task, task: Task, old: set[int], new: set[int], migrate: bool, move: Move
) -> None:
    """What a change does to one task."""
    for step in (old | new, new):
        task.policy = _rebind(state, writer, task.policy, step)
    task.mems_allowed = mask_of(new)
    if task.mm is None:
        return
    for vma in task.mm.vmas:
        vma.policy = _rebind(state, writer, vma.policy, new)
    if migrate:
        kept = writer.mems_allowed
        writer.mems_allowed = mask_of(new)
        move(state, writer, task, old, new)
        writer.mems_allowed = kept


def _rebind(state: State, writer: Task, rule: policy.Policy | None, nodes: set[int]) -> policy.Policy | None:
    bound = policy.rebind(rule, nodes)
    spread = (policy.Mode.BIND, policy.Mode.INTERLEAVE)
    if bound is rule or bound is None or bound.mode not in spread:
        return bound
    if not bound.nodes:
        writer.il_next = state.cpu_of(writer).node
    elif writer.il_next not in bound.nodes:
        writer.il_next = policy.following(bound.nodes, writer.il_next)
    return bound
