"""The machine of a scenario with everything that has a name, and what names stand for right now.

Start with `build`: it makes the machine, files, groups, tasks and regions that a `Page`
describes. A `World` holds pids and numbers, no handles, so `World.on` is the same world on a
clone of the machine. `pagemig.scenario.acting` does the steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from .. import filesystems
from ..arguments import Addresses, address_array
from ..bugs import Bug
from ..errors import OutOfMemoryError, SyscallError, UsageError
from ..file import File
from ..filesystems import DirtyMethod, FileSystem, MigrateMethod, ReleaseMethod, WriteMethod, WriteOutcome
from ..flags import PAGE_SIZE, Capability, Profile, Protection, VmFlags, ZoneKind
from ..machine import Machine
from ..region import Region
from ..task import Task
from ..topology import Node, Topology, Zone
from . import naming
from .model import FilePart, FileSystemPart, MachinePart, NodePart, Page, TaskPart
from .naming import Reference
from .values import PROTECTIONS

KERNEL_THREAD = "kernel"
"""Who makes the calls that nobody in the scenario makes."""


@dataclass(slots=True)
class World:
    """A machine, and what the names of a scenario mean on it."""

    machine: Machine
    tasks: dict[str, int] = field(default_factory=dict)
    """Pids."""
    regions: dict[str, Region] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """Numbers."""
    memcgs: dict[str, int] = field(default_factory=dict)
    cpusets: dict[str, int] = field(default_factory=dict)
    pins: dict[str, int] = field(default_factory=dict)
    """Frames."""
    holders: dict[int, list[str]] = field(default_factory=dict)
    """Who took pins on a frame, and what they are called."""
    released: dict[int, list[str]] = field(default_factory=dict)
    """Those of them that calls at once have dropped."""
    taken: set[int] = field(default_factory=set)
    """Frames that were taken off their lists by hand."""
    kernel: int | None = None
    """The pid of the kernel thread that makes calls nobody else makes."""
    sights: dict[int, set[str]] = field(default_factory=dict)
    """The regions in the memory of each pid: its own, and those that it was forked with."""

    def on(self, machine: Machine) -> World:
        """Return the same world on a clone of its machine."""
        return World(
            machine,
            dict(self.tasks),
            dict(self.regions),
            dict(self.files),
            dict(self.memcgs),
            dict(self.cpusets),
            dict(self.pins),
            {pfn: list(names) for pfn, names in self.holders.items()},
            {pfn: list(names) for pfn, names in self.released.items()},
            set(self.taken),
            self.kernel,
            {pid: set(names) for pid, names in self.sights.items()},
        )

    def add_region(self, name: str, region: Region) -> None:
        """Keep a region under its name; what its task had there before is not seen there any more."""
        seen = self.sights.setdefault(region.task, set())
        seen -= {
            other
            for other in seen
            if self.regions[other].start < region.end and region.start < self.regions[other].end
        }
        self.regions[name] = region
        seen.add(name)

    def add_child(self, name: str, child: int, parent: int) -> None:
        """Keep a task that was forked, with what its parent has."""
        self.tasks[name] = child
        self.sights[child] = set(self.sights.get(parent, ()))

    def has(self, pid: int, region: str) -> bool:
        """Whether a region is in the memory of a task, and no other's that has the same addresses."""
        return region in self.sights.get(pid, ())

    def task(self, name: str) -> Task:
        """Return a task; `UsageError` if it is not there (any more)."""
        if name not in self.tasks:
            raise UsageError(f"there is no task {name!r} at this point")
        if not self._lives(self.tasks[name]):
            raise UsageError(f"task {name!r} has ended at this point")
        return self.machine.task(self.tasks[name])

    def file(self, name: str) -> File:
        """Return a file."""
        return self.machine.file(self.files[name])

    def task_name(self, pid: int) -> str:
        """Return what the scenario calls a task."""
        named = next((name for name, known in self.tasks.items() if known == pid), None)
        return named if named is not None else KERNEL_THREAD if pid == self.kernel else f"task {pid}"

    # references --------------------------------------------------------------------------

    def region(self, text: str, task: str | None = None) -> Region:
        """Return the pages that a reference means, in the memory of ``task`` unless it names one."""
        found = naming.parse(text)
        return self._pages(found, text, task)

    def address(self, text: str) -> int:
        """Return the address that a reference or a number means."""
        number = naming.number_in(text)
        if number is not None:
            return number
        found = naming.parse(text)
        address = self._pages(found, text, None).start + found.offset
        if not 0 <= address < 1 << 64:
            raise UsageError(f"{text!r} is no address: it would be {address:#x}")
        return address

    def where(self, text: str | tuple[str, ...], task: str | None) -> Region | Addresses:
        """Return the pages that one reference or several mean, in the memory of a task."""
        if isinstance(text, str):
            found = None if naming.number_in(text) is not None else naming.parse(text)
            if found is not None and not found.offset:
                return self._pages(found, text, task)
            return address_array([self.address(text)], "where")
        listed: list[int] = []
        for item in text:
            part = self.where(item, task)
            listed += (part.addresses if isinstance(part, Region) else part).tolist()
        return address_array(listed, "where")

    def frame(self, text: str) -> int:
        """Return the frame that a pin, a page of a file, a page of a region or a number means."""
        pfn = self.frame_or_none(text)
        if pfn is None:
            raise UsageError(f"{text!r} is in no frame at this point")
        return pfn

    def frame_or_none(self, text: str) -> int | None:
        """Return the same, None if there is no such frame at this point."""
        number = naming.number_in(text)
        if number is not None:
            return number
        found = naming.parse(text)
        if found.name in self.pins:
            return self.pins[found.name]
        if found.name in self.files and found.task is None:
            return self.file(found.name).pfn_of(found.first or 0)
        region = self._pages(found, text, None)
        if region.task not in self.tasks.values() or not self._lives(region.task):
            return None
        page = self.machine.task(region.task).page_at(region.start)
        return None if page is None else page.pfn

    def node_of(self, pfn: int) -> int:
        """Return the node of a frame; the zero page, which is beyond the last, is on none."""
        return self.machine.frame(pfn).node if pfn < self.machine.frame_count else -1

    def frames(self, text: str | tuple[str, ...]) -> list[int]:
        """Return the frames that references mean, page by page."""
        listed: list[int] = []
        for item in (text,) if isinstance(text, str) else text:
            if naming.number_in(item) is None and naming.parse(item).name in self.regions:
                region = self.region(item)
                task = self.machine.task(region.task)
                for page in region:
                    frame = task.page_at(page.start)
                    if frame is None:
                        raise UsageError(f"{item!r}: nothing is present at {page.start:#x} at this point")
                    listed.append(frame.pfn)
            else:
                listed.append(self.frame(item))
        return listed

    def _lives(self, pid: int) -> bool:
        return any(task.pid == pid for task in self.machine.tasks)

    def _pages(self, found: Reference, text: str, task: str | None) -> Region:
        if found.name not in self.regions:
            raise UsageError(f"there is no region {found.name!r} at this point")
        region = self.regions[found.name]
        seen_by = found.task if found.task is not None else task
        if seen_by is not None:
            if seen_by not in self.tasks:
                raise UsageError(f"there is no task {seen_by!r} at this point")
            region = Region(self.tasks[seen_by], region.start, region.length)
        if found.first is None:
            return region
        if found.stop is not None and found.stop > len(region):
            raise UsageError(f"{text!r}: {found.name} has {len(region)} pages, 0 to {len(region) - 1}")
        return region[found.first : found.stop]


# making it -------------------------------------------------------------------------------


def build(page: Page) -> World:
    """Make the machine of a scenario with its files, groups, tasks and regions.

    Raises
    ------
    UsageError
        Something cannot be made as it is described; the message says where.
    """
    wrong: list[str] = []
    with _at("machine", wrong):
        world = World(_machine(page.machine))
    if wrong:
        raise UsageError(wrong[0])
    machine = world.machine
    for name, group in page.memcgs.items():
        with _at(f"memcgs.{name}", wrong):
            above = None if group.parent is None else machine.memcg(group.parent)
            world.memcgs[name] = machine.create_memcg(name, limit=group.limit, parent=above).number
    for name, cpuset in page.cpusets.items():
        with _at(f"cpusets.{name}", wrong):
            over = None if cpuset.parent is None else machine.cpuset(cpuset.parent)
            world.cpusets[name] = machine.create_cpuset(
                name, mems=cpuset.mems, memory_migrate=cpuset.memory_migrate, parent=over
            ).number
    for name, file in page.files.items():
        with _at(f"files.{name}", wrong):
            world.files[name] = _file(machine, name, file).number
    for name, task in page.tasks.items():
        with _at(f"tasks.{name}", wrong):
            world.tasks[name] = _task(machine, name, task).pid
    if any(call.by is None for call in page.calls):
        world.kernel = machine.spawn(KERNEL_THREAD, kernel_thread=True).pid
    for name, region in page.regions.items():
        if region.task in world.tasks and (region.file is None or region.file in world.files):
            with _at(f"regions.{name}", wrong):
                world.add_region(name, map_region(world, region.task, region))
    if len(wrong) > 1:
        raise UsageError(f"{len(wrong)} mistakes:\n" + "\n".join(f"  {line}" for line in wrong))
    if wrong:
        raise UsageError(wrong[0])
    return world


@contextmanager
def _at(where: str, wrong: list[str]) -> Iterator[None]:
    """Note where in the scenario something is that cannot be made."""
    try:
        yield
    except (UsageError, SyscallError, OutOfMemoryError) as error:
        wrong.append(f"{where}: {error}")


def _machine(part: MachinePart) -> Machine:
    nodes = {number: _node(node) for number, node in part.nodes.items()}
    machine = Machine(
        nodes=nodes,
        cpus=part.cpus,
        contents=part.contents,
        swap=part.swap,
        profile=Profile[part.profile.upper()],
        topology=None if part.distances is None else Topology(part.distances),
        pageblock_frames=part.pageblock_frames,
        bugs=[Bug(name) for name in part.bugs],
    )
    if part.contents:
        machine.watch_stores()
    return machine


def _node(part: NodePart) -> Node:
    zones = [
        Zone(ZoneKind[zone.kind.upper()], zone.memory, min=zone.min, low=zone.low, high=zone.high)
        for zone in part.zones
    ]
    return Node(part.memory, cpus=part.cpus, zones=zones)


def _file(machine: Machine, name: str, part: FilePart) -> File:
    return machine.create_file(name, part.size, filesystem=filesystem_of(part.filesystem))


def filesystem_of(part: FileSystemPart) -> FileSystem:
    """Return the filesystem that a part describes; `UsageError` if it contradicts itself."""
    base: FileSystem = getattr(filesystems, part.base.upper())
    changes: dict[str, Any] = {key: value for key, value in part if key != "base" and value is not None}
    for key, kind in (
        ("migrate", MigrateMethod),
        ("write", WriteMethod),
        ("dirtying", DirtyMethod),
        ("release", ReleaseMethod),
    ):
        if isinstance(changes.get(key), str):
            changes[key] = kind(changes[key])
    if changes.get("io_ticks") == "never":
        changes["io_ticks"] = None
    if "write_script" in changes:
        script = changes["write_script"]
        changes["write_script"] = [WriteOutcome(said) if isinstance(said, str) else said for said in script]
    return dataclasses.replace(base, **changes) if changes else base


def capabilities(words: Iterable[str]) -> Capability:
    """Return capabilities by their names."""
    return reduce(lambda have, word: have | Capability[word], words, Capability.NONE)


def _task(machine: Machine, name: str, part: TaskPart) -> Task:
    task = machine.spawn(
        name,
        uid=part.uid,
        euid=part.euid,
        suid=part.suid,
        capabilities=None if part.capabilities is None else capabilities(part.capabilities),
        mems_allowed=part.mems_allowed,
        cpu=part.cpu,
        memcg=None if part.memcg is None else machine.memcg(part.memcg),
        kernel_thread=part.kernel_thread,
        stack=part.stack,
    )
    if part.cpuset is not None:
        machine.cpuset(part.cpuset).attach(task)
    return task


def map_region(world: World, task: str, part: Any) -> Region:
    """Map what a region of the page, or a step ``mmap``, describes."""
    size = part.size if part.size is not None else part.pages * PAGE_SIZE
    return world.task(task).mmap(
        size,
        at=part.at,
        protection=Protection(PROTECTIONS[part.protection]),
        file=None if part.file is None else world.file(part.file),
        offset=part.offset,
        shared=part.shared,
        flags=[VmFlags[word] for word in part.flags],
    )
