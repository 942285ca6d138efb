"""A machine as the rooms below `pagemig.machine` see it.

The core holds all simulated state. Beside it stand a few facts that only Python asks for:
the plan the machine was built from, what its filesystems can do, and the security hook. All
handles, such as Task, Machine, File and Call, hold one `System` and no other state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from . import _core
from .arguments import integer, node_mask, nodes_in
from .call import Call, CallValue, KeptCall
from .errors import MachineBusyError, PagemigError, UsageError
from .filesystems import FileSystem
from .flags import Profile
from .permissions import CpusetFacts, SecurityHook, TaskFacts, allowed_nodes, cpuset_nodes
from .region import HasPid
from .topology import Plan

PID_MAX = (1 << 31) - 1
KERNEL = 0
"""The pid under which the core knows the machine itself; no task has it."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What Python keeps beside the core, as a value: what a clone and a snapshot take along."""

    plan: Plan
    contents: bool
    profile: Profile
    memory_mask: int | None
    has_cpusets: bool
    filesystems: dict[int, FileSystem]
    security_hook: SecurityHook
    calls: tuple[KeptCall, ...]
    """The calls in flight, in the order in which they were started."""


class System:
    """The core, and what Python keeps beside it."""

    __slots__ = (
        "_has_cpusets",
        "_memory_mask",
        "calls",
        "contents",
        "core",
        "door",
        "filesystems",
        "frames",
        "make_task",
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
        self._memory_mask: int | None = plan.memory_mask
        """`memory_mask`; None once memory may have gone offline."""
        self._has_cpusets = False
        self.filesystems: dict[int, FileSystem] = {}
        """What each file that was created by name is made of, by its number."""
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
            return System.restored(self.core.clone(), self.beside(), self.make_task)

    def __deepcopy__(self, memo: dict[int, Any]) -> System:
        return self.clone()

    def beside(self) -> Beside:
        """Return what Python keeps, with user memory of its own."""
        return Beside(
            self.plan,
            self.contents,
            self.profile,
            self._kept_mask(),
            self._has_cpusets,
            dict(self.filesystems),
            self.security_hook,
            tuple(self.calls[number]._kept() for number in sorted(self.calls)),
        )

    @staticmethod
    def restored(core: _core.Machine, beside: Beside, make_task: Callable[[System, int], Any]) -> System:
        """Return the system of a core and of what was kept beside it."""
        made = System(
            core, beside.plan, contents=beside.contents, profile=beside.profile, make_task=make_task
        )
        made._memory_mask, made._has_cpusets = beside.memory_mask, beside.has_cpusets
        made.filesystems = dict(beside.filesystems)
        made.security_hook = beside.security_hook
        for kept in beside.calls:
            Call._from_kept(made, kept)
        return made

    def facts(self, pid: int) -> TaskFacts:
        """Return what the core knows of a task; `UsageError` if it knows none."""
        if pid == KERNEL:
            raise UsageError("no task with pid 0 on this machine")
        return tuple.__new__(TaskFacts, self.core.task(pid))

    def find(self, pid: int) -> TaskFacts | None:
        """Return the same, or None."""
        if not 0 < pid <= PID_MAX:
            return None
        try:
            return self.facts(pid)
        except UsageError:
            return None

    def acting(self, by: HasPid | None) -> int:
        """Return the pid of who does something: a task of this machine, or the kernel for None."""
        return KERNEL if by is None else self.pid_of(by, "by")

    @contextmanager
    def kernel_on(self, cpu: int, by: HasPid | None) -> Iterator[None]:
        """Let the kernel act on a CPU for a while; a task, ``by``, is on its own."""
        if integer(cpu, "cpu") == 0:
            yield
            return
        if by is not None:
            raise UsageError(f"cpu is {cpu} and by {by!r}; a task runs on its own CPU, so give one of them")
        self.core.set_kernel_cpu(self.cpu(cpu))
        try:
            yield
        finally:
            with suppress(PagemigError):
                self.core.set_kernel_cpu(0)

    def pid_of(self, task: HasPid | int, what: str = "task") -> int:
        """Return the pid of a task of this machine, given by its handle or its number."""
        if getattr(task, "_system", self) is not self:
            raise UsageError(f"{task!r} belongs to another machine; use machine.task(...) of this one")
        named = getattr(task, "pid", task)
        if not hasattr(named, "__index__"):
            raise UsageError(f"{what} is {task!r}; it must be a task of this machine, or its pid")
        number = integer(named, what, high=PID_MAX)
        self.facts(number)
        return number

    @property
    def memory_mask(self) -> int:
        """The nodes with memory, N_HIGH_MEMORY, bit n for node n."""
        return self.core.memory_mask() if self._memory_mask is None else self._memory_mask

    def expect_less_memory(self) -> None:
        """From now on ask the core which nodes have memory: some is about to go offline."""
        self._memory_mask = None

    def _kept_mask(self) -> int | None:
        """Return what a copy begins with: what was planned, unless memory has gone or a call may take it."""
        if self._memory_mask is not None or self.calls:
            return self._memory_mask
        planned = self.plan.memory_mask
        return planned if planned == self.core.memory_mask() else None

    def expect_cpusets(self) -> None:
        """From now on ask the core for the cpuset of a task: there may be one."""
        self._has_cpusets = True

    def cpuset_of(self, pid: int) -> int | None:
        """Return the number of the cpuset that a task is in, None if in none."""
        return self.core.task_groups(pid)[0] if self._has_cpusets else None

    def allowed_nodes(self, pid: int, facts: TaskFacts) -> int:
        """Return the nodes that the cpuset of a task permits, those that have memory."""
        cpuset = self.cpuset_of(pid)
        if cpuset is None:
            return allowed_nodes(facts, self.memory_mask)
        return cpuset_nodes(cpuset, self._cpuset_facts, self.memory_mask)

    def _cpuset_facts(self, cpuset: int) -> CpusetFacts:
        _, _, parent, mems, _ = self.core.cpusets(cpuset)[0]
        return CpusetFacts(parent, mems)

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

    def do(
        self,
        pid: int,
        request: _core.Request,
        what: Callable[[], CallValue],
        progress: Callable[[int, int], object] | None = None,
    ) -> Any:
        """Run a call to its end and return the core's outcome.

        A call that Ctrl-C interrupts and that cannot end early is in flight afterwards: ``what`` says
        what its handle is told that it does.
        """
        if progress is not None and not callable(progress):
            raise UsageError(f"progress is {progress!r}; it must be a function or None")
        try:
            return self.core.do(pid, request, progress)
        except BaseException:
            # A machine that is busy or broken does not say what is in flight: then it was not this call.
            with suppress(PagemigError):
                for number in set(self.core.calls()) - self.calls.keys():
                    Call(self, number, pid, what())
            raise

    def settle_calls(self) -> None:
        """Take the outcome of every call that has ended."""
        for call in list(self.calls.values()):
            call._settle()
