"""The operations, by name: what a test drives side by side with the package.

Start with :class:`ReferenceMachine`. Every method runs to its end. Addresses
are page aligned unless said otherwise; ranges lie inside mappings. Whoever acts
is a pid, 0 for the kernel. The verbs of files, swap, groups and offlining are in
``machine_stores``.

Source: as the modules below, which do the work.
Left out: calls in flight, the audit, costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import faults, mapping, mlock, placement, policy, remap
from .cpusets import Cpuset, allowed_nodes
from .entries import PAGE_SIZE, VM_MAY, VM_MAYSHARE, VM_READ, VM_SHARED, VM_WRITE
from .faults import Touched
from .ksm import Ksm
from .lookup import follow
from .lru import Cpu, drain, isolate, putback
from .machine_stores import StoreVerbs
from .memory import Frame, Memory
from .move_pages import UserArrays, move_pages
from .snapshot import Snapshot, take
from .swap import SwapArea
from .tasks import State, Task


class ReferenceMachine(StoreVerbs):
    """A machine.

    Parameters
    ----------
    sizes
        Frames of each node by id; 0 makes a node without memory.
    cpus
        How many CPUs; CPU c is on the (c mod n)-th node.
    watermarks
        (MIN, LOW) of a node, frames; 0 where not given.
    contents
        Whether frames have bytes.
    swap
        Slots of swap space.
    repaired
        Whether the plain defects are off.
    block
        Frames in a pageblock.
    """

    def __init__(
        self,
        sizes: dict[int, int],
        *,
        cpus: int = 2,
        watermarks: dict[int, tuple[int, int]] | None = None,
        contents: bool = False,
        swap: int = 0,
        repaired: bool = False,
        block: int = 512,
    ) -> None:
        memory = Memory(dict(sizes), contents=contents, block=block)
        for node, (low_min, low) in (watermarks or {}).items():
            memory.nodes[node].watermark_min = low_min
            memory.nodes[node].watermark_low = low
        homes = sorted(sizes)
        cpu_list = [Cpu(number, homes[number % len(homes)]) for number in range(cpus)]
        lists = policy.zonelists(memory, {cpu.node for cpu in cpu_list})
        self.state = State(memory, cpu_list, lists, SwapArea(swap), Ksm(), repaired)
        self.state.cpusets.append(Cpuset(0, "root", None, frozenset(memory.with_memory)))

    def task(self, pid: int) -> Task:
        """Look a task up; the kernel is number 0."""
        return self.state.tasks[pid] if pid else self.state.kernel

    # tasks and their areas ---------------------------------------------------------------

    def spawn(
        self, *, uid: int = 0, capabilities: int | None = None, cpu: int = 0, mems: int | None = None
    ) -> int:
        """Start a process with an empty memory; return its pid."""
        pid = self.state.next_pid
        self.state.next_pid += 1
        rights = ((1 << 34) - 1 if uid == 0 else 0) if capabilities is None else capabilities
        self.state.tasks[pid] = Task(pid, self.state.new_mm(), uid, uid, uid, rights, cpu=cpu)
        if mems is None:
            self.state.tasks[pid].cpuset = self.state.cpusets[0]
        else:
            self.set_mems_allowed(pid, mems)
        return pid

    def set_mems_allowed(self, pid: int, mems: int) -> None:
        """Give a task nodes by hand, which takes it out of its cpuset."""
        task = self.state.tasks[pid]
        task.mems_allowed, task.cpuset = mems, None

    def fork(self, pid: int) -> int:
        """Fork a task; return the child's pid."""
        return mapping.fork(self.state, self.task(pid)).pid

    def exit(self, pid: int) -> None:
        """End a task."""
        task = self.state.tasks.pop(pid)
        mapping.exit_mm(self.state, task)

    def mmap(
        self,
        pid: int,
        start: int,
        length: int,
        *,
        flags: int = VM_READ | VM_WRITE,
        file: int | None = None,
        offset: int = 0,
    ) -> None:
        """Map memory; the VM_MAY bits come by themselves, and VM_MAYSHARE with VM_SHARED."""
        flags |= VM_MAY | (VM_MAYSHARE if flags & VM_SHARED else 0)
        space = None if file is None else self.state.files[file]
        mapping.mmap(self.state, self.task(pid).memory_map, start, length, flags, space, offset)

    def munmap(self, pid: int, start: int, end: int) -> None:
        """Unmap a range."""
        mapping.munmap(self.state, self.task(pid), start, end)

    def mprotect(self, pid: int, start: int, end: int, access: int) -> None:
        """Set VM_READ, VM_WRITE and VM_EXEC of a range."""
        mapping.mprotect(self.task(pid), start, end, access)

    def mremap(
        self, pid: int, start: int, length: int, new_length: int, *, to: int | None = None, room: int = 0
    ) -> int:
        """Move or resize a range of one area; the new address or -errno.

        Where ``to`` is None and it must move, it goes to ``room``: the specification does not
        say where that is.
        """
        return remap.mremap(self.state, self.task(pid), start, length, new_length, to, room)

    def madvise(self, pid: int, start: int, length: int, advice: int) -> int:
        """Give advice on a range: 0 or -errno."""
        return remap.madvise(self.state, self.task(pid), start, length, advice)

    def mlock(self, pid: int, start: int, end: int) -> bool:
        """Lock a range; False where a page could not be had."""
        return mlock.mlock(self.state, self.task(pid), start, end)

    def munlock(self, pid: int, start: int, end: int) -> None:
        """Unlock a range."""
        mlock.munlock(self.state, self.task(pid), start, end)

    def set_mempolicy(self, pid: int, word: int, nodes: set[int]) -> int:
        """The system call: 0 or -errno; ``word`` is the mode with its flags."""
        task = self.task(pid)
        new = policy.contextualise(word, nodes, allowed_nodes(self.state, task))
        if isinstance(new, int):
            return new
        task.policy = new
        if new is not None and new.mode is policy.Mode.INTERLEAVE:
            task.il_next = min(new.nodes)
        return 0

    # accesses ----------------------------------------------------------------------------

    def touch(self, pid: int, addresses: Iterable[int], *, write: bool) -> Touched:
        """Access each address in turn; an access without memory is the last."""
        seen = Touched()
        for address in addresses:
            faults.access(self.state, self.task(pid), address, write=write, seen=seen)
            if seen.out_of_memory:
                break
        return seen

    def write(self, pid: int, address: int, data: bytes) -> bool:
        """Store bytes that lie in one page; False where that is not possible."""
        task = self.task(pid)
        if not faults.access(self.state, task, address, write=True):
            return False
        frame = self.frame_at(pid, address)
        assert frame is not None
        at = address % PAGE_SIZE
        assert at + len(data) <= PAGE_SIZE
        frame.content = frame.content[:at] + data + frame.content[at + len(data) :]
        return True

    def content_at(self, pid: int, address: int) -> bytes:
        """The bytes of the page at an address, all zero where nothing is mapped."""
        frame = self.frame_at(pid, address)
        return frame.content if frame is not None else bytes(PAGE_SIZE)

    def frame_at(self, pid: int, address: int) -> Frame | None:
        """The frame mapped at an address; None for none and for the zero page."""
        found = follow(self.state, self.task(pid).memory_map, address)
        return found if isinstance(found, Frame) and found.pfn >= 0 else None

    def pin(self, pid: int, address: int, *, write: bool) -> int | None:
        """Take a reference with ``get_user_pages``; the frame, -1 for the zero page, or None."""
        found = faults.get_user_page(self.state, self.task(pid), address, write=write)
        return found.pfn if isinstance(found, Frame) else None

    def unpin(self, pfn: int) -> None:
        """Drop such a reference."""
        self.state.put(pfn)

    def isolate(self, pfn: int) -> bool:
        """Take a page off its LRU list for nobody in particular."""
        return isolate(self.state.memory, self.state.memory.frames[pfn])

    def putback(self, pfn: int) -> None:
        """Give such a page back, by way of CPU 0."""
        putback(self.state.memory, self.state.cpus[0], self.state.memory.frames[pfn])

    def drain(self, cpu: int | None = None) -> None:
        """Drain the pagevecs of every CPU, or of one."""
        if cpu is None:
            self.state.drain_all()
        else:
            drain(self.state.memory, self.state.cpus[cpu])

    # the system calls --------------------------------------------------------------------

    def move_pages(self, caller: int, pid: int, user: UserArrays, flags: int) -> int:
        """The system call: 0 or -errno; see :class:`UserArrays`."""
        return move_pages(self.state, self.task(caller), pid, user, flags)

    def move(
        self, caller: int, pid: int, pages: Sequence[int], nodes: Sequence[int], *, move_all: bool = False
    ) -> tuple[int, list[int]]:
        """Call ``move_pages`` with plain lists; return (result, statuses), 99 where not written."""
        user = UserArrays(
            len(pages),
            b"".join(address.to_bytes(8, "little") for address in pages),
            b"".join(node.to_bytes(4, "little", signed=True) for node in nodes),
            bytearray((99).to_bytes(4, "little") * len(pages)),
        )
        result = self.move_pages(caller, pid, user, 4 if move_all else 2)
        return result, list(memoryview(user.status).cast("i"))

    def migrate_pages(self, caller: int, pid: int, old: set[int], new: set[int]) -> int:
        """The system call: pages that stayed, or -errno."""
        return placement.migrate_pages(self.state, self.task(caller), pid, old, new)

    def mbind(self, pid: int, start: int, length: int, word: int, nodes: set[int], flags: int) -> int:
        """The system call: 0 or -errno; ``word`` is the mode with its flags."""
        return placement.mbind(self.state, self.task(pid), start, length, word, nodes, flags)

    def migrate_frames(
        self, pfns: Sequence[int], node: int | None, *, exact: bool = False, offlining: bool = False
    ) -> placement.EngineResult:
        """The engine itself: frames to a node, with fallback unless ``exact``, or anywhere."""
        return placement.migrate_frames(self.state, pfns, node, exact=exact, offlining=offlining)

    def snapshot(self) -> Snapshot:
        """The whole observable state as plain data."""
        return take(self.state)
