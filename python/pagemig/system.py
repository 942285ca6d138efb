"""A machine as the rooms below `pagemig.machine` see it.

The core holds all simulated state. Beside it stand a few facts that only Python asks for:
the plan the machine was built from, and the security hook. Task, Machine and Call handles all
hold one `System`; they hold no other state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from . import _core
from .arguments import integer, node_mask, nodes_in
from .errors import MachineBusyError, UsageError
from .flags import Profile, ZoneKind
from .permissions import SecurityHook, TaskFacts
from .topology import Plan

if TYPE_CHECKING:
    from .call import Call

PID_MAX = (1 << 31) - 1
KERNEL = 0
"""The pid under which the core knows the machine itself; no task has it."""


class System:
    """The core, and what Python keeps beside it."""

    __slots__ = (
        "bindable_mask",
        "calls",
        "contents",
        "core",
        "door",
        "frames",
        "make_task",
        "memory_mask",
        "plan",
        "profile",
        "security_hook",
    )

    def __init__(
        self,
        core: _core.Machine,
        plan: Plan,
        *,
        contents: bool,
        profile: Profile,
        make_task: Callable[[System, int], Any],
    ) -> None:
        self.core = core
        self.plan = plan
        self.contents = contents
        self.profile = profile
        self.make_task = make_task
        """Makes the handle of a task, which is a room above this one."""
        self.frames = plan.frames
        self.memory_mask = plan.memory_mask
        """The nodes with memory, bit n for node n."""
        self.bindable_mask = _nodes_below_movable(plan)
        """The nodes with memory in a zone other than MOVABLE, at most ``policy_zone``."""
        self.security_hook = SecurityHook()
        self.door = Lock()
        """Held while calls in flight, and what is known of them here, change together."""
        self.calls: dict[int, Call] = {}
        """Handles of the calls in flight, by number."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads from the calls in flight; they are refused, not kept waiting."""
        if not self.door.acquire(blocking=False):
            raise MachineBusyError("another thread is running this machine")
        try:
            yield
        finally:
            self.door.release()

    def clone(self) -> System:
        """Return an equal system that shares nothing with this one."""
        with self.alone():
            return self._clone()

    def _clone(self) -> System:
        twin = System(
            self.core.clone(),
            self.plan,
            contents=self.contents,
            profile=self.profile,
            make_task=self.make_task,
        )
        twin.security_hook = self.security_hook
        twin.calls = {number: call._for_clone(twin) for number, call in self.calls.items()}
        return twin

    def facts(self, pid: int) -> TaskFacts:
        """Return what the core knows of a task; `UsageError` if it knows none."""
        if pid == KERNEL:
            raise UsageError("no task with pid 0 on this machine")
        return TaskFacts._make(self.core.task(pid))

    def find(self, pid: int) -> TaskFacts | None:
        """Return the same, or None."""
        if not 0 < pid <= PID_MAX:
            return None
        try:
            return self.facts(pid)
        except UsageError:
            return None

    def allowed_mask(self, nodes: Iterable[int]) -> int:
        """Return the mask of a cpuset; at least one of its nodes must have memory."""
        mask = node_mask(nodes, "mems_allowed")
        for node in nodes_in(mask):
            self.node(node, "a node of mems_allowed")
        if not mask & self.memory_mask:
            raise UsageError(
                f"mems_allowed is {list(nodes_in(mask))}; it must include a node with memory: "
                f"{list(nodes_in(self.memory_mask))}"
            )
        return mask

    def node(self, value: object, what: str = "node") -> int:
        """Return the id of a node that this machine has."""
        node = integer(value, what)
        if node not in self.plan.nodes:
            raise UsageError(f"{what} is {node}; this machine has nodes {list(self.plan.nodes)}")
        return node

    def pfn(self, value: object) -> int:
        """Return the number of a frame; the one beyond the last is the zero page."""
        return integer(value, "pfn", high=self.frames)

    def cpu(self, value: object) -> int:
        """Return the number of a CPU that this machine has."""
        return integer(value, "cpu", high=len(self.plan.cpu_nodes) - 1)

    def settle_calls(self) -> None:
        """Take the outcome of every call that has ended."""
        for call in list(self.calls.values()):
            call._settle()


def _nodes_below_movable(plan: Plan) -> int:
    mask = 0
    for node, kind, *_ in plan.zones:
        if kind != ZoneKind.MOVABLE:
            mask |= 1 << node
    return mask
