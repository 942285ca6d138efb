"""The package and the reference side by side, doing the same things.

Start with :class:`Twin`. Each method is one operation: plain integers choose
the task, the pages and the rest modulo what there is, so that any integers make
a valid operation. After each one both sides must agree on the result, on the
whole state and, with contents, on every byte.

Neighbours: ``package_state`` for the package's side, ``tests.reference`` for the
other. Left out: calls in flight; the explorer's tests have those.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import numpy as np

import pagemig as pm
from tests.reference import policy as reference_policy
from tests.reference.faults import Outcome
from tests.reference.machine import ReferenceMachine
from tests.reference.move_pages import UserArrays
from tests.reference.snapshot import differences

from . import package_state

BASE = 0x7000_0000
WINDOW = 72
TASKS_MAX = 5
ZERO_PAGE = -1
PROTECTIONS = (pm.RW, pm.RW, pm.RW, pm.R, pm.NONE, pm.RWX, pm.RX)
AREA_FLAGS = (0, 0, 0, 0, 0, 0, pm.VmFlags.IO, pm.VmFlags.RESERVED, pm.VmFlags.DONTCOPY, pm.VmFlags.LOCKED)
POLICIES = (
    (pm.PolicyMode.DEFAULT, ()),
    (pm.PolicyMode.PREFERRED, (1,)),
    (pm.PolicyMode.PREFERRED, ()),
    (pm.PolicyMode.BIND, (2,)),
    (pm.PolicyMode.BIND, (0, 1)),
    (pm.PolicyMode.INTERLEAVE, (0, 1, 2)),
    (pm.PolicyMode.INTERLEAVE, (1, 2)),
)


class Twin:
    """Two machines that should never differ.

    Parameters
    ----------
    frames
        Frames of each node; small, so that memory runs out.
    cpus
        How many CPUs.
    low
        LOW and MIN watermark of the last node, frames.
    contents
        Whether bytes are compared as well.
    """

    def __init__(
        self, *, frames: Sequence[int] = (64, 64, 64), cpus: int = 2, low: int = 0, contents: bool = False
    ) -> None:
        sizes = [pm.Node(zones=[pm.Zone(pm.ZoneKind.NORMAL, size * 4096)]) for size in frames]
        last = pm.Zone(pm.ZoneKind.NORMAL, frames[-1] * 4096, min=low // 2, low=low)
        sizes[-1] = pm.Node(zones=[last])
        self.machine = pm.Machine(nodes=sizes, cpus=cpus, contents=contents)
        self.reference = ReferenceMachine(
            dict(enumerate(frames)),
            cpus=cpus,
            contents=contents,
            watermarks={len(frames) - 1: (low // 2, low)},
        )
        self.contents = contents
        self.tasks: dict[int, pm.Task] = {}
        self.shadow: dict[tuple[int, int], bytes] = {}
        self.pins: list[tuple[int, int]] = []
        self.history: list[str] = []

    # choosing ----------------------------------------------------------------------------

    def _who(self, choice: int) -> int | None:
        """A task by its pid in the reference, None if there is none."""
        pids = sorted(self.tasks)
        return pids[choice % len(pids)] if pids else None

    def _area(self, pid: int, page: int, count: int) -> tuple[int, int] | None:
        """A range inside mappings, without holes; None where nothing is mapped."""
        vmas = self.reference.task(pid).memory_map.vmas
        if not vmas:
            return None
        start = BASE + page % WINDOW * 4096
        vma = next((vma for vma in vmas if vma.start <= start < vma.end), vmas[page % len(vmas)])
        start = max(start, vma.start) if start < vma.end else vma.start
        end = start
        for following in vmas:
            if following.start <= end < following.end:
                end = following.end
        return start, min(end, start + (count % 24 + 1) * 4096)

    def _is_special(self, pid: int, start: int, end: int) -> bool:
        special = pm.VmFlags.IO | pm.VmFlags.RESERVED
        vmas = self.reference.task(pid).memory_map.vmas
        return any(vma.flags & special and vma.start < end and vma.end > start for vma in vmas)

    def _region(self, pid: int, start: int, end: int) -> pm.Region:
        return pm.Region(self.tasks[pid], start, end - start)

    # the life of tasks -------------------------------------------------------------------

    def spawn(self, uid: int, cpu: int, mems: int) -> None:
        """A new task, of root or not, on some CPU, on all nodes or two of them."""
        if len(self.tasks) >= TASKS_MAX:
            return
        allowed = {1: [0, 1], 2: [1, 2]}.get(mems % 7)
        user = 1000 if uid % 4 == 3 else 0
        where = cpu % len(self.machine.cpus)
        task = self.machine.spawn(uid=user, cpu=where, mems_allowed=allowed, stack=False)
        mask = None if allowed is None else sum(1 << node for node in allowed)
        self.tasks[self.reference.spawn(uid=user, cpu=where, mems=mask)] = task
        self._compare(f"spawn uid={user} cpu={where} mems={allowed}")

    def fork(self, who: int) -> None:
        """A child with the parent's memory."""
        pid = self._who(who)
        if pid is None or len(self.tasks) >= TASKS_MAX:
            return
        child = self.reference.fork(pid)
        self.tasks[child] = self.tasks[pid].fork()
        for (owner, address), data in list(self.shadow.items()):
            if owner == pid and self.reference.task(child).memory_map.entry(address):
                self.shadow[child, address] = data
        self._compare(f"fork {pid} -> {child}")

    def exit(self, who: int, *, survivors: int = 0) -> None:
        """The end of a task; its pins are dropped first, as its files are closed."""
        pid = self._who(who)
        if pid is None or len(self.tasks) <= survivors:
            return
        for pin in [pin for pin in self.pins if pin[0] == pid]:
            self._drop(pin)
        self.reference.exit(pid)
        self.tasks.pop(pid).exit()
        self.shadow = {key: data for key, data in self.shadow.items() if key[0] != pid}
        self._compare(f"exit {pid}")

    def run_on(self, who: int, cpu: int, mems: int) -> None:
        """A task moves to another CPU and another cpuset."""
        pid = self._who(who)
        if pid is None:
            return
        task = self.reference.task(pid)
        allowed = {1: [0, 1], 2: [2]}.get(mems % 11, [0, 1, 2])
        task.cpu = self.tasks[pid].cpu = cpu % len(self.machine.cpus)
        self.tasks[pid].mems_allowed = allowed
        task.mems_allowed = sum(1 << node for node in allowed)
        self._compare(f"{pid} on cpu {task.cpu} mems {allowed}")

    # mappings ----------------------------------------------------------------------------

    def mmap(self, who: int, page: int, count: int, protection: int, flags: int) -> None:
        """Map a range; a place that is taken is refused."""
        pid = self._who(who)
        if pid is None:
            return
        start = BASE + page % WINDOW * 4096
        length = min(count % 48 + 1, WINDOW - page % WINDOW) * 4096
        access = PROTECTIONS[protection % len(PROTECTIONS)]
        extra = pm.VmFlags(AREA_FLAGS[flags % len(AREA_FLAGS)])
        vmas = self.reference.task(pid).memory_map.vmas
        if any(vma.start < start + length and vma.end > start for vma in vmas):
            return
        self.tasks[pid].mmap(length, at=start, protection=access, flags=extra)
        self.reference.mmap(pid, start, length, flags=int(access) | int(extra))
        self._compare(f"mmap {pid} {start:#x} +{length // 4096} {access!r} {extra!r}")

    def munmap(self, who: int, page: int, count: int) -> None:
        """Unmap a range, holes and all."""
        pid = self._who(who)
        if pid is None:
            return
        start = BASE + page % WINDOW * 4096
        end = start + (count % 24 + 1) * 4096
        self.tasks[pid].munmap(self._region(pid, start, end))
        self.reference.munmap(pid, start, end)
        gone = {(pid, address) for address in range(start, end, 4096)}
        self.shadow = {key: data for key, data in self.shadow.items() if key not in gone}
        self._compare(f"munmap {pid} {start:#x}..{end:#x}")

    def mprotect(self, who: int, page: int, count: int, protection: int) -> None:
        """Change what a range permits."""
        pid = self._who(who)
        area = None if pid is None else self._area(pid, page, count)
        if pid is None or area is None:
            return
        access = PROTECTIONS[protection % len(PROTECTIONS)]
        self.tasks[pid].mprotect(self._region(pid, *area), access)
        self.reference.mprotect(pid, *area, int(access))
        self._compare(f"mprotect {pid} {area[0]:#x}..{area[1]:#x} {access!r}")

    def mlock(self, who: int, page: int, count: int, lock: int) -> None:
        """Lock or unlock a range of ordinary areas; of others the specification does not speak."""
        pid = self._who(who)
        area = None if pid is None else self._area(pid, page, count)
        if pid is None or area is None or self._is_special(pid, *area):
            return
        region = self._region(pid, *area)
        if lock % 2:
            is_complete = self.reference.mlock(pid, *area)
            try:
                self.tasks[pid].mlock(region)
                assert is_complete
            except OSError as error:
                assert not is_complete
                assert error.errno in (errno.ENOMEM, errno.EAGAIN)
        else:
            self.reference.munlock(pid, *area)
            self.tasks[pid].munlock(region)
        self._compare(f"mlock={lock % 2} {pid} {area[0]:#x}..{area[1]:#x}")

    def set_policy(self, who: int, page: int, count: int, choice: int) -> None:
        """Give a range a policy, or the task when ``count`` is a multiple of 5."""
        pid = self._who(who)
        if pid is None:
            return
        mode, nodes = POLICIES[choice % len(POLICIES)]
        allowed = self.tasks[pid].mems_allowed
        if nodes and not set(nodes) <= allowed:
            return
        theirs = pm.Policy(mode, nodes)
        is_default = mode is pm.PolicyMode.DEFAULT
        ours = None if is_default else reference_policy.Policy(reference_policy.Mode(int(mode)), nodes)
        area = self._area(pid, page, count)
        if count % 5 == 0 or area is None:
            self.tasks[pid].set_mempolicy(theirs)
            self.reference.set_task_policy(pid, ours)
        else:
            self.tasks[pid].mbind(self._region(pid, *area), theirs)
            assert self.reference.set_policy(pid, *area, ours)
        self._compare(f"policy {pid} {area} {mode!r} {nodes}")

    # accesses ----------------------------------------------------------------------------

    def touch(self, who: int, page: int, count: int, write: int) -> None:
        """Access a range, mapped or not."""
        pid = self._who(who)
        if pid is None:
            return
        start = BASE + page % WINDOW * 4096
        self._touch(pid, range(start, start + (count % 40 + 1) * 4096, 4096), bool(write % 3))

    def scatter(self, who: int, pages: Sequence[int], write: int) -> None:
        """Access single addresses, aligned or not."""
        pid = self._who(who)
        if pid is not None and pages:
            self._touch(pid, [BASE + page % (WINDOW * 4096) for page in pages], bool(write % 2))

    def _touch(self, pid: int, addresses: Sequence[int], write: bool) -> None:
        outcomes = self.reference.touch(pid, addresses, write=write)
        ran_out = False
        try:
            result = self.tasks[pid].touch(np.array(addresses, np.uint64), write=write)
        except pm.OutOfMemoryError as error:
            ran_out, result = True, error.result
        hits, minor, cow = (outcomes.count(kind) for kind in (Outcome.HIT, Outcome.MINOR, Outcome.COW))
        ours = [hits, minor + cow, cow]
        refused = [a for a, kind in zip(addresses, outcomes, strict=False) if kind is Outcome.SEGV]
        assert ran_out == (Outcome.NO_MEMORY in outcomes)
        theirs = [result.hits, result.minor, result.cow]
        said = f"touch {pid} {[hex(address) for address in addresses]} write={write}"
        assert (ours, refused) == (theirs, result.sigsegv.tolist()), f"{said}: {ours} {theirs} {result}"
        self._compare(said)

    def write(self, who: int, address: int, value: int) -> None:
        """Store bytes in one page; only where there are contents."""
        pid = self._who(who)
        if pid is None or not self.contents:
            return
        at = BASE + address % (WINDOW * 4096 - 8)
        data = (value & 0xFFFF_FFFF).to_bytes(4, "little")[: 4096 - at % 4096]
        written = self.reference.write(pid, at, data)
        try:
            self.tasks[pid].write(at, data)
            assert written
        except (pm.OutOfMemoryError, OSError):
            assert not written
        if written:
            page, offset = at & ~4095, at % 4096
            before = self.shadow.get((pid, page), bytes(4096))
            self.shadow[pid, page] = before[:offset] + data + before[offset + len(data) :]
        self._compare(f"write {pid} {at:#x} {data!r}")

    def pin(self, who: int, page: int, write: int) -> None:
        """Take a reference on a page, for a while."""
        pid = self._who(who)
        if pid is None or len(self.pins) >= 6:
            return
        address = BASE + page % WINDOW * 4096
        ours = self.reference.pin(pid, address, write=bool(write % 2))
        try:
            theirs = self.tasks[pid].pin(address, write=bool(write % 2))
        except pm.OutOfMemoryError:
            theirs = None
        if ours == ZERO_PAGE:
            # The zero page lies outside all zones; it is held for a moment only.
            assert theirs == self.machine.frame_count, (theirs, self.history[-3:])
            self.tasks[pid].unpin(theirs)
            self.reference.unpin(ours)
            theirs = None
        else:
            assert ours == theirs, (ours, theirs, self.history[-3:])
        if theirs is not None:
            self.pins.append((pid, theirs))
        self._compare(f"pin {pid} {address:#x} write={write % 2}")

    def unpin(self, which: int) -> None:
        """Drop a reference."""
        if self.pins:
            self._drop(self.pins[which % len(self.pins)])
            self._compare("unpin")

    def _drop(self, pin: tuple[int, int]) -> None:
        self.pins.remove(pin)
        pid, pfn = pin
        self.tasks[pid].unpin(pfn)
        self.reference.unpin(pfn)

    def drain(self, cpu: int) -> None:
        """Drain all CPUs, or one."""
        one = cpu % (len(self.machine.cpus) + 1)
        which = None if one == len(self.machine.cpus) else one
        self.machine.drain(cpu=which)
        self.reference.drain(which)
        self._compare(f"drain {which}")

    # move_pages --------------------------------------------------------------------------

    def move_pages(
        self, caller: int, target: int, pages: Sequence[int], nodes: Sequence[int], shape: int
    ) -> None:
        """The system call with lists of any kind; ``shape`` chooses flags and which array ends early."""
        by, of = self._who(caller), self._who(target)
        if by is None or of is None:
            return
        count = len(pages)
        addresses = np.array([self._address(of, page) for page in pages], np.uint64)
        wanted = (
            np.array([self._node(nodes[i % len(nodes)]) for i in range(count)], np.int32) if nodes else None
        )
        flags = (2, 4, 2, 4, 0, 2, 4, 1)[shape % 8]
        pid = 0 if by == of and shape // 8 % 2 else of
        cut = (shape // 32 % 16, (shape // 512) % (8 * count + 8))
        self._move(by, pid, addresses, wanted, flags, cut)

    def _address(self, pid: int, page: int) -> int:
        """Mostly a page that is there, sometimes any of the window, seldom far away."""
        if page % 61 == 7:
            return (0, 5000, (1 << 47) - 4096, (1 << 63) + 8192, (1 << 64) - 1)[page % 5]
        present = sorted(self.reference.task(pid).memory_map.entries)
        if present and page % 4:
            return present[page // 4 % len(present)] + page % 3 * 100
        return BASE + page % WINDOW * 4096 + page % 3 * 100

    def _node(self, node: int) -> int:
        return node % 97 - 3 if node % 53 == 11 else node % len(self.machine.nodes)

    def _move(
        self,
        by: int,
        pid: int,
        addresses: np.ndarray[tuple[int], np.dtype[np.uint64]],
        wanted: np.ndarray[tuple[int], np.dtype[np.int32]] | None,
        flags: int,
        cut: tuple[int, int],
    ) -> None:
        count = len(addresses)
        status = np.full(count, 99, np.int32)
        limits = [addresses.nbytes, 0 if wanted is None else wanted.nbytes, status.nbytes]
        if cut[0] < 3:
            limits[cut[0]] = min(cut[1], limits[cut[0]])
        theirs = pm.syscalls.move_pages(
            self.tasks[by],
            self.tasks[pid].pid if pid else 0,
            count,
            pm.UserMemory(addresses, valid_bytes=limits[0]),
            None if wanted is None else pm.UserMemory(wanted, valid_bytes=limits[1]),
            pm.UserMemory(status, valid_bytes=limits[2]),
            flags,
        )
        room = bytearray(np.full(count, 99, np.int32).tobytes()[: limits[2]])
        user = UserArrays(
            count,
            addresses.tobytes()[: limits[0]],
            None if wanted is None else wanted.tobytes()[: limits[1]],
            room,
        )
        ours = self.reference.move_pages(by, pid, user, flags)
        plain = None if wanted is None else wanted.tolist()
        said = f"move_pages by={by} pid={pid} {addresses.tolist()} {plain} flags={flags} {limits}"
        assert ours == theirs, (ours, theirs, said, self.history[-3:])
        expected = bytes(room) + np.full(count, 99, np.int32).tobytes()[limits[2] :]
        assert np.frombuffer(expected, np.int32).tolist() == status.tolist(), (said, self.history[-3:])
        self._compare(f"{said} -> {theirs} {status.tolist()}")

    def move_all_of(self, who: int, times: int, node: int, flags: int) -> None:
        """Every page there is, ``times`` times over, mostly to one node: more than one chunk."""
        pid = self._who(who)
        if pid is not None:
            present = sorted(self.reference.task(pid).memory_map.entries)
            window = present if flags // 2 % 4 else range(BASE, BASE + WINDOW * 4096, 4096)
            addresses = np.tile(np.array(window, np.uint64), times % 4 + 1)
            wanted = np.full(len(addresses), node % len(self.machine.nodes), np.int32)
            wanted[:: times % 7 + 3] = (node + 1) % len(self.machine.nodes)
            self._move(pid, 0, addresses, wanted, 4 if flags % 2 else 2, (11, 0))

    def move_nobodys(self, who: int) -> None:
        """A pid that names nobody, which is ESRCH."""
        pid = self._who(who)
        if pid is not None:
            status = np.full(1, 99, np.int32)
            pages, nodes = np.zeros(1, np.uint64), np.zeros(1, np.int32)
            got = pm.syscalls.move_pages(self.tasks[pid], 99_999, 1, pages, nodes, status, 2)
            assert (got, status.tolist()) == (-errno.ESRCH, [99])
            self._compare("move_pages of nobody")

    # whole nodes and ranges -----------------------------------------------------------------

    def migrate_pages(self, caller: int, target: int, old: int, new: int) -> None:
        """All pages of a task between sets of nodes; seldom one that does not exist."""
        by, of = self._who(caller), self._who(target)
        if by is None or of is None:
            return
        nodes = len(self.machine.nodes)
        sources = {node for node in range(nodes + 1) if old >> node & 1}
        targets = {node for node in range(nodes) if new >> node & 1}
        if new % 37 == 5:
            targets.add(nodes)
        pid = 0 if by == of and old // 16 % 2 else of
        number = self.tasks[pid].pid if pid else 0
        theirs = pm.syscalls.migrate_pages(self.tasks[by], number, 64, sources, targets)
        ours = self.reference.migrate_pages(by, pid, sources, targets)
        said = f"migrate_pages by={by} pid={pid} {sources} {targets}"
        assert ours == theirs, (ours, theirs, said, self.history[-3:])
        self._compare(f"{said} -> {theirs}")

    def mbind(self, who: int, page: int, count: int, choice: int, flags: int) -> None:
        """A policy for a range, mostly without holes, and its pages with it."""
        pid = self._who(who)
        if pid is None:
            return
        start = BASE + page % WINDOW * 4096
        end = start + count % 40 * 4096
        area = self._area(pid, page, count)
        if area is not None and flags // 8 % 4:
            start, end = area
        mode, nodes = POLICIES[choice % len(POLICIES)]
        word = (2, 3, 4, 5, 6, 7, 1, 0)[flags % 8]
        said = f"mbind {pid} {start:#x}..{end:#x} {mode!r} {nodes} flags={word}"
        theirs = pm.syscalls.mbind(self.tasks[pid], start, end - start, int(mode), set(nodes), 64, word)
        ours = self.reference.mbind(pid, start, end - start, int(mode), set(nodes), word)
        assert ours == theirs, (ours, theirs, said, self.history[-3:])
        self._compare(f"{said} -> {theirs}")

    # agreeing ----------------------------------------------------------------------------

    def _compare(self, said: str) -> None:
        """Both sides must show the same state, and no invariant may be broken."""
        self.history.append(said)
        found = differences(self.reference.snapshot(), package_state.take(self.machine))
        recent = "\n".join(line[:300] for line in self.history[-12:])
        assert not found, "\n".join(found[:20]) + f"\nafter\n{recent}"
        findings = self.machine.audit()
        assert not findings, f"{findings[:5]}\nafter\n{recent}"
        if self.contents:
            self._compare_contents(recent)

    def _compare_contents(self, recent: str) -> None:
        numbers = {task.pid: pid for pid, task in self.tasks.items()}
        seen = package_state.contents(self.machine)
        for (pid, address), data in seen.items():
            ours = numbers[pid]
            assert data == self.reference.content_at(ours, address), f"{ours} {address:#x}\nafter\n{recent}"
            assert data == self.shadow.get((ours, address), bytes(4096)), (
                f"{ours} {address:#x}\nafter\n{recent}"
            )

    def end(self) -> None:
        """Let everybody go; no frame may be left over."""
        for pin in list(self.pins):
            self._drop(pin)
        while self.tasks:
            self.exit(0)
        self.drain(len(self.machine.cpus))
        for node, size in self.machine.nodes.items():
            counters = self.machine.zone_counters(node)
            assert counters.pop("nr_free_pages") == size // 4096
            assert not any(counters.values()), counters
