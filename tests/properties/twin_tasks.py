"""What tasks do, on both sides: live, map, access memory.

Start with :class:`Tasks`, a part of :class:`tests.properties.twin.Twin`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import numpy as np

import pagemig as pm

from .twin_base import BASE, POLICIES, TASKS_MAX, WINDOW, ZERO_PAGE, Sides, errno_of

PROTECTIONS = (pm.RW, pm.RW, pm.RW, pm.R, pm.NONE, pm.RWX, pm.RX)
AREA_FLAGS = (
    *(0, 0, 0, 0, 0, pm.VmFlags.MERGEABLE),
    *(pm.VmFlags.IO, pm.VmFlags.RESERVED, pm.VmFlags.DONTCOPY, pm.VmFlags.LOCKED),
)
ADVICE = (
    pm.Advice.DONTNEED,
    pm.Advice.MERGEABLE,
    pm.Advice.MERGEABLE,
    pm.Advice.UNMERGEABLE,
    pm.Advice.DONTFORK,
    pm.Advice.DOFORK,
)


class Tasks(Sides):
    """Processes, their areas and their accesses."""

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
        if len(self.reference.state.cpusets) == 1:
            self.tasks[pid].mems_allowed = allowed
            self.reference.set_mems_allowed(pid, sum(1 << node for node in allowed))
        self._compare(f"{pid} on cpu {task.cpu} mems {allowed}")

    # mappings ----------------------------------------------------------------------------

    def mmap(self, who: int, page: int, count: int, protection: int, flags: int) -> None:
        """Map a range; a place that is taken is refused. Every third area maps a file or is shared."""
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
        file, offset, shared = None, 0, False
        if flags // 16 % 2 and not extra & (pm.VmFlags.IO | pm.VmFlags.RESERVED):
            shared = bool(flags // 32 % 4)
            if self.files and (flags // 128 or not shared):
                file = self.files[(flags // 8 + protection) % len(self.files)]
                offset = page % 4 * 4096
        vm_flags = int(access) | int(extra) | (int(pm.VmFlags.SHARED) if shared else 0)
        self.tasks[pid].mmap(
            length, at=start, protection=access, flags=extra, file=file, offset=offset, shared=shared
        )
        number = None if file is None else file.number
        self.reference.mmap(pid, start, length, flags=vm_flags, file=number, offset=offset)
        self._forget(pid, start, start + length)
        what = f"file={number}+{offset // 4096} shared={shared}"
        self._compare(f"mmap {pid} {start:#x} +{length // 4096} {access!r} {extra!r} {what}")

    def munmap(self, who: int, page: int, count: int) -> None:
        """Unmap a range, holes and all."""
        pid = self._who(who)
        if pid is None:
            return
        start = BASE + page % WINDOW * 4096
        end = start + (count % 24 + 1) * 4096
        self.tasks[pid].munmap(self._region(pid, start, end))
        self.reference.munmap(pid, start, end)
        self._forget(pid, start, end)
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
        rule = POLICIES[choice % len(POLICIES)]
        area = self._area(pid, page, count)
        if count % 5 == 0 or area is None:
            ours = self.reference.set_mempolicy(pid, rule.word, set(rule.nodes))
            theirs = pm.syscalls.set_mempolicy(self.tasks[pid], rule.word, set(rule.nodes), 64)
        else:
            ours = self.reference.mbind(pid, area[0], area[1] - area[0], rule.word, set(rule.nodes), 0)
            theirs = errno_of(lambda: self.tasks[pid].mbind(self._region(pid, *area), rule))
        self._agree(ours, theirs, f"policy {pid} {area} {rule}")
        self._compare(f"policy {pid} {area} {rule} -> {ours}")

    def mremap(self, who: int, page: int, count: int, length: int, to: int) -> None:
        """Shrink, grow or move a range of one area."""
        pid = self._who(who)
        area = None if pid is None else self._area(pid, page, count)
        if pid is None or area is None or self._is_special(pid, *area):
            return
        vma = self.reference.task(pid).memory_map.containing(area[0])
        assert vma is not None
        start, end = area[0], min(area[1], vma.end)
        new_length = (length % 24 + 1) * 4096 if length % 3 else end - start
        place = BASE + to % WINDOW * 4096 if to % 2 else None
        if place is not None and place + new_length > BASE + WINDOW * 4096:
            return
        try:
            region = self._region(pid, start, end)
            theirs = self.tasks[pid].mremap(region, new_length, to=place).start
        except OSError as error:
            theirs = -(error.errno or 0)
        ours = self.reference.mremap(pid, start, end - start, new_length, to=place, room=max(theirs, 0))
        said = f"mremap {pid} {start:#x}..{end:#x} to {place and hex(place)} +{new_length // 4096}"
        self._agree(ours, theirs, said)
        if ours > 0:
            self._carry(pid, start, end, ours, new_length)
        self._compare(said)

    def _carry(self, pid: int, start: int, end: int, to: int, length: int) -> None:
        """What was stored in a range is found in another."""
        kept = {address: self.shadow.get((pid, address)) for address in range(start, end, 4096)}
        self._forget(pid, start, end)
        self._forget(pid, to, to + length)
        for address, data in kept.items():
            if data is not None and address - start < length:
                self.shadow[pid, address - start + to] = data

    def madvise(self, who: int, page: int, count: int, advice: int) -> None:
        """Let pages go, or say what children get."""
        pid = self._who(who)
        area = None if pid is None else self._area(pid, page, count)
        if pid is None or area is None:
            return
        told = ADVICE[advice % len(ADVICE)]
        ours = self.reference.madvise(pid, area[0], area[1] - area[0], int(told))
        try:
            self.tasks[pid].madvise(self._region(pid, *area), told)
            theirs = 0
        except OSError as error:
            theirs = -(error.errno or 0)
        said = f"madvise {pid} {area[0]:#x}..{area[1]:#x} {told!r}"
        self._agree(ours, theirs, said)
        if told is pm.Advice.DONTNEED:
            for address in range(*area, 4096):
                if not self.reference.task(pid).memory_map.entry(address):
                    self.shadow.pop((pid, address), None)
        self._compare(said)

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
        ours = self.reference.touch(pid, addresses, write=write)
        ran_out = False
        try:
            theirs = self.tasks[pid].touch(np.array(addresses, np.uint64), write=write)
        except pm.OutOfMemoryError as error:
            ran_out, theirs = True, error.result
        said = f"touch {pid} {[hex(address) for address in addresses]} write={write}"
        self._agree(
            (ours.hits, ours.minor, ours.major, ours.cow, ours.sigsegv, ours.sigbus, ours.out_of_memory),
            (
                theirs.hits,
                theirs.minor,
                theirs.major,
                theirs.cow,
                theirs.sigsegv.tolist(),
                theirs.sigbus.tolist(),
                ran_out,
            ),
            said,
        )
        self._agree(0, theirs.spurious, said)
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
        vma = self.reference.task(pid).memory_map.containing(at)
        if written and vma is not None and vma.file is None:
            page, offset = at & ~4095, at % 4096
            before = self.shadow.get((pid, page), bytes(4096))
            self.shadow[pid, page] = before[:offset] + data + before[offset + len(data) :]
        self._compare(f"write {pid} {at:#x} {data!r}")

    def stamp(self, who: int, page: int, count: int, value: int) -> None:
        """Store one of three values at the start of a few pages, so that pages are equal."""
        for each in range(count % 6 + 1):
            self.write(who, (page + each) % WINDOW * 4096, value % 3)

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
