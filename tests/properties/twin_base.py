"""Two machines, how to choose something on both, and how to compare them.

Start with :class:`Sides`; the operations are in ``twin_tasks``, ``twin_moves``,
``twin_files`` and ``twin_groups``, and ``twin`` puts them together.

Neighbours: ``package_state`` for the package's side, ``tests.reference`` for the
other. Left out: calls in flight; the explorer's tests have those.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pagemig as pm
from tests.reference.buffers import Buffer
from tests.reference.machine import ReferenceMachine
from tests.reference.memory import Flag
from tests.reference.snapshot import differences

from . import package_state

BASE = 0x7000_0000
WINDOW = 72
TASKS_MAX = 5
ZERO_PAGE = -1
POLICIES = (
    pm.Policy(pm.PolicyMode.DEFAULT),
    pm.Policy(pm.PolicyMode.PREFERRED, (1,)),
    pm.Policy(pm.PolicyMode.PREFERRED),
    pm.Policy(pm.PolicyMode.BIND, (2,)),
    pm.Policy(pm.PolicyMode.BIND, (0, 1)),
    pm.Policy(pm.PolicyMode.INTERLEAVE, (0, 1, 2)),
    pm.Policy(pm.PolicyMode.INTERLEAVE, (1, 2)),
    pm.Policy(pm.PolicyMode.PREFERRED, (2,), static=True),
    pm.Policy(pm.PolicyMode.BIND, (0, 2), static=True),
    pm.Policy(pm.PolicyMode.INTERLEAVE, (0, 1, 5), relative=True),
    pm.Policy(pm.PolicyMode.PREFERRED, (1, 2), relative=True),
)


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the two machines are.

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
    swap
        Slots of swap space.
    repaired
        Whether the plain defects are off.
    """

    frames: tuple[int, ...] = (64, 64, 64)
    cpus: int = 2
    low: int = 0
    contents: bool = False
    swap: int = 0
    repaired: bool = False
    block: int = 8


def errno_of(verb: Callable[[], object]) -> int:
    """Run a verb of the package; 0, or the -errno that it raises."""
    try:
        verb()
    except OSError as error:
        return -(error.errno or 0)
    return 0


class Sides:
    """Two machines that should never differ."""

    def __init__(self, shape: Shape) -> None:
        frames, low = shape.frames, shape.low
        sizes = [pm.Node(zones=[pm.Zone(pm.ZoneKind.NORMAL, size * 4096)]) for size in frames]
        last = pm.Zone(pm.ZoneKind.NORMAL, frames[-1] * 4096, min=low // 2, low=low)
        sizes[-1] = pm.Node(zones=[last])
        self.shape = shape
        self.machine = pm.Machine(
            nodes=sizes,
            cpus=shape.cpus,
            contents=shape.contents,
            swap=shape.swap * 4096,
            profile=pm.Profile.REPAIRED if shape.repaired else pm.Profile.EXACT,
            pageblock_frames=shape.block,
        )
        self.reference = ReferenceMachine(
            dict(enumerate(frames)),
            cpus=shape.cpus,
            contents=shape.contents,
            watermarks={len(frames) - 1: (low // 2, low)},
            swap=shape.swap,
            repaired=shape.repaired,
            block=shape.block,
        )
        self.contents = shape.contents
        self.tasks: dict[int, pm.Task] = {}
        self.files: list[pm.File] = []
        self.shadow: dict[tuple[int, int], bytes] = {}
        self.pins: list[tuple[int, int]] = []
        self.held: list[Buffer] = []
        self.poisoned = 0
        self.leaked: set[int] = set()
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

    def _forget(self, pid: int, start: int, end: int) -> None:
        """What was stored in a range is gone."""
        for address in range(start, end, 4096):
            self.shadow.pop((pid, address), None)

    # agreeing ----------------------------------------------------------------------------

    def _recent(self) -> str:
        return "\n".join(line[:300] for line in self.history[-12:])

    def _agree(self, ours: object, theirs: object, said: str) -> None:
        """Both sides must give the same answer."""
        seen = f"reference {ours!r:.300}, package {theirs!r:.300}"
        assert ours == theirs, f"{seen}: {said:.200}\nafter\n{self._recent()}"

    def _compare(self, said: str) -> None:
        """Both sides must show the same state, and no invariant may be broken."""
        self.history.append(said)
        found = differences(self.reference.snapshot(), package_state.take(self.machine))
        assert not found, "\n".join(found[:20]) + f"\nafter\n{self._recent()}"
        findings = self.machine.audit()
        assert not findings, f"{findings[:5]}\nafter\n{self._recent()}"
        if self.contents:
            self._compare_contents()

    def _compare_contents(self) -> None:
        frames = self.reference.state.memory.frames
        for pfn, data in package_state.contents(self.machine).items():
            ours = frames[pfn]
            # A frame that was never filled may hold anything.
            is_filled = ours.has(Flag.UPTODATE)
            assert not is_filled or data == ours.content, f"bytes of {ours}\nafter\n{self._recent()}"
        for file in self.files:
            disk = self.reference.state.files[file.number].disk
            for page in disk:
                assert file.disk(page) == disk[page], f"{file} {page} on disk\nafter\n{self._recent()}"
        for pid in self.tasks:
            for vma in self.reference.task(pid).memory_map.vmas:
                if vma.file is None:
                    for address in range(vma.start, vma.end, 4096):
                        if self.reference.task(pid).memory_map.entry(address) & 1:
                            seen = self.reference.content_at(pid, address)
                            wanted = self.shadow.get((pid, address), bytes(4096))
                            assert seen == wanted, f"{pid} {address:#x}\nafter\n{self._recent()}"
