"""A simulated NUMA machine: what it is made of, who runs on it, and what the kernel does by itself.

Start with `Machine`. Its tasks do the work (`pagemig.Task`); calls that are stopped half way
are started here (`Machine.start`). Its files and groups are in
`pagemig.machine_stores`; what can be seen of it is in `pagemig.machine_view`.
Snapshots are made and read in `pagemig.snapshot`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from . import _core, calls, snapshot
from .arguments import integer, page_multiple, require_bool, require_name
from .bugs import Bug, bits_of
from .call import Call, CallValue, drive, for_machine
from .errors import UsageError
from .flags import PAGE_SIZE, Capability, Granularity, Profile
from .machine_kernel import MachineKernel
from .machine_stores import own
from .memcg import Memcg
from .permissions import SecurityHook
from .system import PID_MAX, System
from .task import Task
from .task_view import require_capabilities
from .topology import NodeSizes, Topology, plan

_ID_MAX = (1 << 32) - 1
SWAP_BYTES_MAX = ((1 << 27) - 1) * PAGE_SIZE


class Loadable(Protocol):
    """The memory of a real process, captured: `pagemig.inputs.AddressSpace`."""

    def place(self, machine: Machine) -> Task:
        """Make a task with this memory."""


class Machine(MachineKernel):
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
        Bytes of swap space, whole pages; by default none.
    profile
        Exactly as Linux 2.6.34, or with its plain defects repaired.
    topology
        Distances between nodes; by default 10 and 20.
    pageblock_frames
        Frames in a pageblock, which is what can go offline: a power of two.
    bugs
        Rules that it breaks, for looking at what comes of it: see `pagemig.gallery`. With any, every
        call is made step by step.

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

    __slots__ = ()

    def __init__(
        self,
        *,
        nodes: NodeSizes,
        cpus: int = 2,
        contents: bool = False,
        swap: int = 0,
        profile: Profile = Profile.EXACT,
        topology: Topology | None = None,
        pageblock_frames: int = 512,
        bugs: Iterable[Bug] = (),
    ) -> None:
        if not isinstance(contents, bool):
            raise UsageError(f"contents is {contents!r}; it must be True or False")
        if not isinstance(profile, Profile):
            raise UsageError(f"profile is {profile!r}; it must be Profile.EXACT or Profile.REPAIRED")
        swap_pages = integer(page_multiple(swap, "swap"), "swap", high=SWAP_BYTES_MAX) // PAGE_SIZE
        block = integer(pageblock_frames, "pageblock_frames", 1, 1 << 31)
        if block & (block - 1):
            raise UsageError(f"pageblock_frames is {block}; it must be a power of two")
        broken = bits_of(bugs)
        made = plan(nodes, cpus, topology, contents=contents)
        core = _core.Machine(
            nodes=made.nodes,
            zones=made.zones,
            cpu_nodes=made.cpu_nodes,
            distances=made.distances,
            contents=contents,
            repaired=profile is Profile.REPAIRED,
            swap_pages=swap_pages,
            pageblock_frames=block,
        )
        if broken:
            core.set_bugs(broken)
        self._system = System(core, made, contents=contents, profile=profile, make_task=Task)

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
        memcg: Memcg | None = None,
        kernel_thread: bool = False,
        stack: bool = True,
    ) -> Task:
        """Make a new process.

        Parameters
        ----------
        name
            What to call it: printable text.
        uid, euid, suid
            Real, effective and saved user id, 0 to 2^32 - 1; the latter two are the first by default.
        capabilities
            What it may do; by default everything for uid 0 and nothing for others.
        mems_allowed
            The nodes it may allocate from; by default all with memory.
        cpu
            The CPU it runs on.
        memcg
            The memory cgroup that pays for its pages; by default the root.
        kernel_thread
            Whether it has no memory of its own.
        stack
            Whether 16 untouched pages are mapped just below the top of user space.

        Returns
        -------
        Task
            Its handle. Pids count up from 1.

        Raises
        ------
        UsageError
            An argument is not of its kind, or names what the machine does not have.
        """
        system = self._system
        group = 0 if memcg is None else own(system, memcg, Memcg, "memcg")
        real = integer(uid, "uid", high=_ID_MAX)
        default = Capability.ALL if real == 0 else Capability.NONE
        is_kernel_thread = require_bool(kernel_thread, "kernel_thread")
        pid = system.core.spawn(
            require_name(name),
            real,
            real if euid is None else integer(euid, "euid", high=_ID_MAX),
            real if suid is None else integer(suid, "suid", high=_ID_MAX),
            int(default if capabilities is None else require_capabilities(capabilities)),
            system.memory_mask if mems_allowed is None else system.allowed_mask(mems_allowed),
            system.cpu(cpu),
            is_kernel_thread,
            require_bool(stack, "stack") and not is_kernel_thread,
        )
        if group:
            system.core.attach_memcg(group, pid)
        return Task(system, pid)

    def task(self, pid: int) -> Task:
        """Return a task by its pid.

        Parameters
        ----------
        pid
            Its number.

        Returns
        -------
        Task
            Its handle, equal to every other one.

        Raises
        ------
        UsageError
            There is no such task.
        """
        number = integer(pid, "pid", high=PID_MAX)
        self._system.facts(number)
        return Task(self._system, number)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order of their pids."""
        return tuple(Task(self._system, pid) for pid in self._system.core.pids())

    def load(self, address_space: Loadable) -> Task:
        """Make a task with the memory of a captured process; see `pagemig.inputs.load`.

        Parameters
        ----------
        address_space
            What was captured: a `pagemig.inputs.AddressSpace`.

        Returns
        -------
        Task
            The new task.

        Raises
        ------
        UsageError
            It is none, has pages of another size, or needs more memory than is free.
        """
        if not callable(getattr(address_space, "place", None)):
            raise UsageError(f"address_space is {address_space!r}; it must be a pagemig.inputs.AddressSpace")
        return address_space.place(self)

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
            The task that makes it, or its pid.
        granularity
            Where it may stop.

        Returns
        -------
        Call
            Its handle.

        Raises
        ------
        OSError
            The checks refuse it, as they would refuse the verb.
        UsageError
            It makes no sense on this machine or for this task, as that of the verb would not.
        """
        system = self._system
        if not callable(getattr(call, "_request", None)):
            raise UsageError(f"call is {call!r}; it must be a value of pagemig.calls")
        if not isinstance(granularity, Granularity):
            raise UsageError(f"granularity is {granularity!r}; it must be Granularity.FINE or COARSE")
        pid = system.pid_of(by, "by")
        what = for_machine(system, call)
        request = what._request(system, pid)
        with system.alone():
            number = system.core.start(pid, request, granularity is Granularity.FINE)
            return Call(system, number, pid, what)

    def run(self) -> None:
        """Step all calls in flight, round robin, until all are done.

        Raises
        ------
        DeadlockError
            None of them can ever go on.
        MachineBusyError
            Another thread runs the machine.
        """
        drive(self._system, lambda core: core.run())

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls in flight, in the order in which they were started."""
        return tuple(call for _, call in sorted(self._system.calls.items()))

    def advance(self, ticks: int) -> None:
        """Let virtual time pass; transfers that are due end.

        Parameters
        ----------
        ticks
            How many, of 1 ms each.

        Raises
        ------
        UsageError
            The clock does not go so far: it has 64 bits.
        """
        self._system.core.advance(integer(ticks, "ticks"))

    def complete_io(self) -> bool:
        """End the transfer that ends next, at once.

        Returns
        -------
        bool
            Whether there was one.
        """
        return bool(self._by(None, 0, calls.complete_io()))

    def record(self, limit: int = 100_000) -> None:
        """Keep the last events for `trace` from now on, with those that are kept already.

        Parameters
        ----------
        limit
            How many, at most 2^32; 0 stops and forgets.
        """
        self._system.core.record(integer(limit, "limit", high=1 << 32))

    def watch_stores(self) -> None:
        """Note every store from now on, so that `audit` finds a byte that is lost (I-110, I-111).

        What is in memory already counts as stored. Loads and reads are compared, too, as they happen.

        Raises
        ------
        UsageError
            The machine has no contents.

        Examples
        --------
        >>> machine = Machine(nodes=[1 << 20, 1 << 20], contents=True)
        >>> app = machine.spawn()
        >>> heap = app.mmap(PAGE_SIZE)
        >>> machine.watch_stores()
        >>> _ = app.write(heap.start, b"kept")
        >>> app.move_pages(heap, 1).tolist(), machine.audit()
        ([1], [])
        """
        self._system.core.watch_stores()

    def clone(self) -> Machine:
        """Copy the machine, calls in flight included.

        Returns
        -------
        Machine
            An equal one that shares nothing with this one.
        """
        return _over(self._system.clone())

    def snapshot(self) -> bytes:
        """Write the whole machine as bytes.

        Calls in flight are in it, with the user memory that they write to.

        Returns
        -------
        bytes
            Equal bytes for equal machines, wherever they are made.

        Raises
        ------
        UsageError
            A call in flight is none of `pagemig.calls`.

        Examples
        --------
        >>> machine = Machine(nodes=[1 << 20])
        >>> twin = Machine.restore(machine.snapshot())
        >>> twin.snapshot() == machine.snapshot()
        True
        """
        return snapshot.keep(self._system)

    @staticmethod
    def restore(data: bytes) -> Machine:
        """Read a snapshot; the calls in flight of the machine are `Machine.calls`, in order.

        Nothing of the bytes is run, as a pickle's would be. But checksums find damage, not malice: bytes
        that were forged with care can make a machine that contradicts itself, and running that can
        fail with `InternalError` or go on for ever.

        Parameters
        ----------
        data
            What `snapshot` returned.

        Returns
        -------
        Machine
            One equal to the one that was written.

        Raises
        ------
        UsageError
            The bytes are damaged, or no snapshot, or one of another version; or this host has no
            room for the machine.
        """
        return _over(snapshot.restore(data))

    def __copy__(self) -> Machine:
        return self.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it as its snapshot; handles in the same pickle come back as handles of the same machine."""
        return _over, (self._system,)

    def __repr__(self) -> str:
        return f"Machine(nodes={self.nodes}, cpus={len(self.cpus)})"


def _over(system: System) -> Machine:
    """Return the handle of a machine that exists."""
    machine = object.__new__(Machine)
    machine._system = system
    return machine
