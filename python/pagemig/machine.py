"""A simulated NUMA machine: what it is made of, who runs on it, and what can be seen of it.

Start with `Machine`. Its tasks do the work (`pagemig.Task`); calls that are stopped half way
are started here (`Machine.start`).

Left out so far: swap, files, memory cgroups, cpusets, KSM, offlining, snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy.typing as npt

from . import _core
from .arguments import integer, read_only
from .call import Call, CallValue, drive
from .calls import migrate_frames, require_name
from .calls.value import run_now
from .errors import InvariantError, UsageError, syscall_error
from .flags import PAGE_SIZE, Capability, Granularity, LruList, Profile, ZoneKind
from .permissions import SecurityHook
from .results import Anywhere, ByPage, Finding, FrameInfo, MigrationResult, ToNode
from .system import KERNEL, PID_MAX, System
from .task import Task, require_capabilities
from .topology import NodeSizes, Topology, plan
from .trace import Trace

_ID_MAX = (1 << 32) - 1


class Loadable(Protocol):
    """The memory of a real process, captured: `pagemig.inputs.AddressSpace`."""

    def place(self, machine: Machine) -> Task:
        """Make a task with this memory."""


class Machine:
    """A NUMA machine with its own frames, tasks and clock.

    Machines share nothing, so a program can have as many as it likes.

    Parameters
    ----------
    nodes
        Bytes of each node, or a `pagemig.Node`: a list, numbered from 0, or a mapping from
        ids (0 to 63, with gaps if you like). A node may have 0 bytes.
    cpus
        How many CPUs; CPU c is on the (c mod n)-th of the n nodes. See `pagemig.Node.cpus`
        for another arrangement.
    contents
        Whether frames have bytes, which migration copies.
    swap
        Bytes of swap space; not there yet.
    profile
        Exactly as Linux 2.6.34, or with its plain defects repaired.
    topology
        Distances between nodes; by default 10 and 20.

    Raises
    ------
    UsageError
        The description contradicts itself, or the host cannot hold such a machine.

    Examples
    --------
    >>> machine = Machine(nodes={0: 1 << 20, 3: 1 << 20})
    >>> machine
    Machine(nodes={0: 1048576, 3: 1048576}, cpus=2)
    >>> machine.zone_counters(3)["nr_free_pages"]
    256
    """

    __slots__ = ("_system",)

    def __init__(
        self,
        *,
        nodes: NodeSizes,
        cpus: int = 2,
        contents: bool = False,
        swap: int = 0,
        profile: Profile = Profile.EXACT,
        topology: Topology | None = None,
    ) -> None:
        if not isinstance(contents, bool):
            raise UsageError(f"contents is {contents!r}; it must be True or False")
        if not isinstance(profile, Profile):
            raise UsageError(f"profile is {profile!r}; it must be Profile.EXACT or Profile.REPAIRED")
        if integer(swap, "swap"):
            raise UsageError(f"swap is {swap}, but swap space is not there yet: leave it out")
        made = plan(nodes, cpus, topology, contents=contents)
        core = _core.Machine(
            nodes=made.nodes,
            zones=made.zones,
            cpu_nodes=made.cpu_nodes,
            distances=made.distances,
            contents=contents,
            repaired=profile is Profile.REPAIRED,
        )
        self._system = System(core, made, contents=contents, profile=profile, make_task=Task)

    # what it is --------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[int, int]:
        """Bytes of each node, by id."""
        sizes = dict.fromkeys(self._system.plan.nodes, 0)
        for node, _, frames, *_ in self._system.plan.zones:
            sizes[node] += frames * PAGE_SIZE
        return sizes

    @property
    def cpus(self) -> tuple[int, ...]:
        """The node of each CPU."""
        return self._system.plan.cpu_nodes

    @property
    def contents(self) -> bool:
        """Whether frames have bytes."""
        return self._system.contents

    @property
    def profile(self) -> Profile:
        """Which of the modelled behaviours it has."""
        return self._system.profile

    @property
    def frame_count(self) -> int:
        """How many frames it has; their numbers are below this."""
        return self._system.frames

    @property
    def security_hook(self) -> SecurityHook:
        """Which moves a security module vetoes; set it to change that."""
        return self._system.security_hook

    @security_hook.setter
    def security_hook(self, hook: SecurityHook) -> None:
        if not isinstance(hook, SecurityHook):
            raise UsageError(f"security_hook is {hook!r}; it must be a SecurityHook")
        self._system.security_hook = hook

    # its tasks ---------------------------------------------------------------------------

    def spawn(
        self,
        name: str = "task",
        *,
        uid: int = 0,
        euid: int | None = None,
        suid: int | None = None,
        capabilities: Capability | None = None,
        mems_allowed: Iterable[int] | None = None,
        cpu: int = 0,
        memcg: None = None,
        kernel_thread: bool = False,
        stack: bool = True,
    ) -> Task:
        """Make a new process.

        Parameters
        ----------
        name
            What to call it.
        uid, euid, suid
            Real, effective and saved user id; the latter two are the first by default.
        capabilities
            What it may do; by default everything for uid 0 and nothing for others.
        mems_allowed
            The nodes of its cpuset; by default all with memory.
        cpu
            The CPU it runs on.
        memcg
            Its memory cgroup; not there yet.
        kernel_thread
            Whether it has no memory of its own.
        stack
            Whether 16 untouched pages are mapped just below the top of user space.
        """
        system = self._system
        if memcg is not None:
            raise UsageError("memory cgroups are not there yet: leave out memcg")
        real = integer(uid, "uid", high=_ID_MAX)
        default = Capability.ALL if real == 0 else Capability.NONE
        pid = system.core.spawn(
            require_name(name),
            real,
            real if euid is None else integer(euid, "euid", high=_ID_MAX),
            real if suid is None else integer(suid, "suid", high=_ID_MAX),
            int(default if capabilities is None else require_capabilities(capabilities)),
            system.memory_mask if mems_allowed is None else system.allowed_mask(mems_allowed),
            system.cpu(cpu),
            bool(kernel_thread),
            bool(stack) and not kernel_thread,
        )
        return Task(system, pid)

    def task(self, pid: int) -> Task:
        """Return the task with a pid; `UsageError` if there is none."""
        number = integer(pid, "pid", high=PID_MAX)
        self._system.facts(number)
        return Task(self._system, number)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order of their pids."""
        return tuple(Task(self._system, pid) for pid in self._system.core.pids())

    def load(self, address_space: Loadable) -> Task:
        """Make a task with the memory of a captured process; see `pagemig.inputs`."""
        return address_space.place(self)

    # its frames --------------------------------------------------------------------------

    def frame(self, pfn: int) -> FrameInfo:
        """Return what is known of one frame."""
        return FrameInfo.from_core(self._system.core.frame(self._system.pfn(pfn)))

    def frames(self, node: int) -> dict[str, npt.NDArray[Any]]:
        """Return the allocated frames of a node as columns, in frame order.

        The names are those of the fields of `pagemig.FrameInfo`; ``owner`` is the kind of the
        owner, 0 for none, and ``owner_id`` its number.
        """
        columns = self._system.core.frames(self._system.node(node))
        return {name: read_only(column) for name, column in columns.items()}

    def frame_bytes(self, pfn: int) -> bytes:
        """Return the contents of a frame; `UsageError` on a machine without."""
        return self._system.core.frame_bytes(self._system.pfn(pfn))

    def lru(self, node: int, which: LruList, zone: ZoneKind = ZoneKind.NORMAL) -> tuple[int, ...]:
        """Return the frames of one LRU list of a zone, head first."""
        if not isinstance(which, LruList) or not isinstance(zone, ZoneKind):
            raise UsageError(f"{which!r} of {zone!r}; they must be a LruList and a ZoneKind")
        return tuple(self._system.core.lru(self._system.node(node), int(zone), int(which)))

    def pagevec(self, cpu: int, which: LruList) -> tuple[int, ...]:
        """Return the frames that wait on a CPU for an LRU list, in the order of their coming."""
        if not isinstance(which, LruList):
            raise UsageError(f"which is {which!r}; it must be a LruList")
        return tuple(self._system.core.pagevec(self._system.cpu(cpu), int(which)))

    def zonelist(self, node: int) -> tuple[tuple[int, ZoneKind], ...]:
        """Return the zones in which an allocation for a node looks, in that order."""
        return tuple((n, ZoneKind(z)) for n, z in self._system.core.zonelist(self._system.node(node)))

    @property
    def pins(self) -> dict[int, int]:
        """The pinned frames, and how often each is pinned."""
        return self._system.core.pins()

    def vmstat(self) -> dict[str, int]:
        """Return the counters of the whole machine, spelled as in ``/proc/vmstat``."""
        return self._system.core.vmstat()

    def zone_counters(self, node: int) -> dict[str, int]:
        """Return the same for one node."""
        return self._system.core.zone_counters(self._system.node(node))

    def drain(self, *, cpu: int | None = None) -> None:
        """Drain all pagevecs of all CPUs, or of one."""
        self._system.core.drain_cpu(None if cpu is None else self._system.cpu(cpu))

    def isolate(self, pfn: int) -> None:
        """Take a page off its LRU list, as another subsystem would.

        Raises
        ------
        OSError
            EBUSY: it is on none.
        """
        code = self._system.core.isolate(self._system.pfn(pfn))
        if code:
            raise syscall_error(-code, "isolate")

    def putback(self, pfn: int) -> None:
        """Put a page back that `isolate` took, by way of CPU 0."""
        self._system.core.putback(self._system.pfn(pfn))

    def migrate_pages(
        self, pfns: Iterable[int], target: ToNode | Anywhere | ByPage, *, offlining: bool = False
    ) -> MigrationResult:
        """Isolate pages and move them, in up to ten passes: the engine itself.

        Parameters
        ----------
        pfns
            Frame numbers, in the order in which they are tried.
        target
            Where to: `pagemig.ToNode`, `pagemig.Anywhere` or `pagemig.ByPage`.
        offlining
            Whether it is done for memory that goes away, which moves KSM pages too.
        """
        what = migrate_frames(pfns, target, offlining=offlining)
        result: MigrationResult = run_now(self._system, KERNEL, what)
        return result

    # its time ----------------------------------------------------------------------------

    def start(
        self,
        call: CallValue,
        *,
        by: Task | int,
        granularity: Granularity = Granularity.FINE,
    ) -> Call:
        """Start a call without running it: it is checked now, and makes its first step later.

        Parameters
        ----------
        call
            What to do: a value of `pagemig.calls`.
        by
            The task that makes it.
        granularity
            Where it may stop.

        Raises
        ------
        OSError
            The checks refuse it, as they would refuse the verb.
        """
        system = self._system
        if not callable(getattr(call, "_request", None)):
            raise UsageError(f"call is {call!r}; it must be a value of pagemig.calls")
        if not isinstance(granularity, Granularity):
            raise UsageError(f"granularity is {granularity!r}; it must be Granularity.FINE or COARSE")
        if isinstance(by, Task) and by._system is not system:
            raise UsageError(f"task {by.pid} belongs to another machine; use machine.task({by.pid})")
        pid = by.pid if isinstance(by, Task) else self.task(by).pid
        request = call._request(system, pid)
        with system.alone():
            number = system.core.start(pid, request, granularity is Granularity.FINE)
            return Call(system, number, pid, call)

    def run(self) -> None:
        """Step all calls in flight, round robin, until all are done.

        Raises
        ------
        DeadlockError
            None of them can ever go on.
        """
        drive(self._system, lambda core: core.run())

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls in flight, in the order in which they were started."""
        return tuple(call for _, call in sorted(self._system.calls.items()))

    @property
    def steps(self) -> int:
        """Steps made so far by calls that were stepped; a call that runs through counts none."""
        return self._system.core.steps

    @property
    def now(self) -> int:
        """Virtual time, ticks: it passes only when `advance` says so."""
        return self._system.core.now

    def advance(self, ticks: int) -> None:
        """Let virtual time pass, ticks of 1 ms."""
        self._system.core.advance(integer(ticks, "ticks"))

    def clone(self) -> Machine:
        """Return an equal machine that shares nothing with this one, calls in flight included."""
        twin = object.__new__(Machine)
        twin._system = self._system.clone()
        return twin

    # what can be said of it --------------------------------------------------------------

    def audit(self) -> list[Finding]:
        """Run the invariants; return what they find, nothing if all hold."""
        return [Finding(*row) for row in self._system.core.audit()]

    def check(self) -> None:
        """Run the invariants; raise `InvariantError` for the first that does not hold."""
        for finding in self.audit():
            raise InvariantError(finding.rule, f"{finding.detail} ({finding.invariants})")

    @property
    def cost(self) -> dict[str, int]:
        """How many of each elementary operation have been made so far."""
        return self._system.core.cost()

    def record(self, limit: int = 100_000) -> None:
        """Keep the last ``limit`` events for `trace`; 0 stops and forgets."""
        self._system.core.record(integer(limit, "limit", high=1 << 32))

    @property
    def trace(self) -> Trace:
        """What happened since `record`."""
        return Trace(self._system.core.trace())

    def __repr__(self) -> str:
        return f"Machine(nodes={self.nodes}, cpus={len(self.cpus)})"
