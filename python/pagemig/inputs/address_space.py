"""Where a process's memory is, captured: a value that is saved, loaded and put on a machine.

Start with `AddressSpace`. It is made by `live.capture` or read from a file, and is the same
value either way. Every field is checked when it is made, so what exists makes sense.

Below: `area`, `space_file`. Above: `live`, which captures, and `loading`, which places.
Left out: what is in the pages, and threads: they share one memory.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..flags import PAGE_SIZE, KiB
from . import space_file
from .area import Area, Runs, check, count

if TYPE_CHECKING:
    from ..machine import Machine
    from ..task import Task

FORMAT = "pagemig address space"
VERSION = 2
"""What `AddressSpace.to_json` writes. Version 1, which is read too, had no device and inode."""

_SHIPPED = "python-program.json.gz"
_DOCUMENT = ("format", "version", "pid", "name", "page_size", "source", "areas")
_AREA = (
    "start",
    "end",
    "protection",
    "shared",
    "offset",
    "name",
    "resident",
    "anonymous",
    "swapped",
    "nodes",
)
_RUNS = ("resident", "anonymous", "swapped")
_AREAS = {1: _AREA, 2: (*_AREA, "device", "inode")}
_PAGE_SIZES = tuple(size * KiB for size in (4, 8, 16, 32, 64))
_PID_MAX = (1 << 31) - 1


class Source(enum.Enum):
    """Where the host told which pages are there."""

    PAGEMAP = "pagemap"
    """``/proc/PID/pagemap``: page by page."""
    SMAPS = "smaps"
    """``/proc/PID/smaps``: only how many in an area. They are taken to be its first ones."""


@dataclass(frozen=True, slots=True)
class AddressSpace:
    """The memory of one process at one moment.

    Parameters
    ----------
    pid
        Its process id on the host.
    name
        Its name (``comm``).
    page_size
        Bytes in a page of the host.
    areas
        What is mapped, lowest address first, without overlap.
    source
        Where the host told which pages are there.

    Raises
    ------
    UsageError
        A field makes no sense, with the path to it, such as ``areas[3].end``.

    Examples
    --------
    >>> heap = Area(0x10000, 0x14000, "rw-", resident=((0, 2),), anonymous=((0, 2),))
    >>> space = AddressSpace(7, "app", (heap,))
    >>> space.resident, AddressSpace.from_json(space.to_json()) == space
    (8192, True)
    """

    pid: int
    name: str
    areas: tuple[Area, ...]
    page_size: int = PAGE_SIZE
    source: Source = Source.PAGEMAP

    def __post_init__(self) -> None:
        if type(self.pid) is not int or not 1 <= self.pid <= _PID_MAX:
            raise UsageError(f"pid is {self.pid!r}; it must be an integer, 1 to {_PID_MAX}")
        if not isinstance(self.name, str):
            raise UsageError(f"name is {self.name!r}; it must be text")
        if type(self.page_size) is not int or self.page_size not in _PAGE_SIZES:
            raise UsageError(f"page_size is {self.page_size!r}; it must be one of {_PAGE_SIZES}")
        if not isinstance(self.source, Source):
            raise UsageError(f"source is {self.source!r}; it must be a Source, such as Source.PAGEMAP")
        if not isinstance(self.areas, tuple):
            raise UsageError("areas must be a tuple of Area values")
        beyond = 0
        for number, area in enumerate(self.areas):
            check(area, f"areas[{number}]", self.page_size)
            if area.start < beyond:
                raise UsageError(
                    f"areas[{number}].start is {area.start:#x}; it must be at or above {beyond:#x}, "
                    f"where areas[{number - 1}] ends"
                )
            beyond = area.end

    @property
    def resident(self) -> int:
        """Bytes of all pages that are in memory."""
        return sum(count(area.resident) for area in self.areas) * self.page_size

    @property
    def anonymous(self) -> int:
        """Bytes of the pages that belong to no file."""
        return sum(count(area.anonymous) for area in self.areas) * self.page_size

    def without_paths(self) -> AddressSpace:
        """Take the directories out of the names of files, for giving it away.

        Returns
        -------
        AddressSpace
            The same otherwise: devices and inodes stay, and tell files of one name apart.
        """
        areas = tuple(dataclasses.replace(area, name=area.name.rpartition("/")[2]) for area in self.areas)
        return dataclasses.replace(self, areas=areas)

    def place(
        self, machine: Machine, *, name: str | None = None, node: int | None = None, **options: Any
    ) -> Task:
        """Make a task with this memory; see `pagemig.inputs.load`.

        Parameters
        ----------
        machine
            Where to.
        name
            What to call the task; by default the name of the process.
        node
            Where its pages go; by default where the machine puts those of any task.
        options
            As for `pagemig.Machine.spawn`, except ``stack``.

        Returns
        -------
        Task
            As of `pagemig.inputs.load`.
        """
        from .loading import load

        return load(machine, self, name=name, node=node, **options)

    def to_json(self) -> str:
        """Write it as JSON.

        Returns
        -------
        str
            ASCII, one line an area, the same text for the same value.
        """
        head = {
            "format": FORMAT,
            "version": VERSION,
            "pid": self.pid,
            "name": self.name,
            "page_size": self.page_size,
            "source": self.source.value,
        }
        rows = ",\n".join(json.dumps(_row(area), separators=(",", ":")) for area in self.areas)
        return f'{json.dumps(head)[:-1]}, "areas": [\n{rows}\n]}}\n'

    @staticmethod
    def from_json(text: str | bytes) -> AddressSpace:
        """Read what `to_json` wrote, also before areas had a device and an inode.

        Parameters
        ----------
        text
            The JSON.

        Returns
        -------
        AddressSpace
            One equal to that which was written.

        Raises
        ------
        UsageError
            The text is not JSON, or a field is missing, unknown or makes no sense, with the
            path to it.
        """
        if not isinstance(text, (str, bytes)):
            raise UsageError(f"text is {text!r}; it must be JSON text")
        document = space_file.parse(text)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise UsageError(f'format is not "{FORMAT}": this is no capture')
        version = document.get("version")
        if type(version) is not int or version not in _AREAS:
            known = " and ".join(map(str, _AREAS))
            raise UsageError(f"version is {space_file.quoted(version)}; this pagemig reads versions {known}")
        members = space_file.Members(document, "", _DOCUMENT)
        sources = {source.value: source for source in Source}
        source = members["source"] if isinstance(members["source"], str) else None
        if source not in sources:
            found = space_file.quoted(members["source"])
            raise UsageError(f"source is {found}; it must be one of {', '.join(sources)}")
        areas = tuple(
            _area(value, f"areas[{number}]", _AREAS[version])
            for number, value in enumerate(members.array("areas"))
        )
        return AddressSpace(members["pid"], members["name"], areas, members["page_size"], sources[source])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file as JSON, packed if the name ends with ``.gz``, ``.xz`` or ``.zst``.

        Parameters
        ----------
        path
            The file; what was there is replaced.

        Raises
        ------
        UsageError
            With the file and why it cannot be written; what was there stays.
        """
        space_file.write(path, self.to_json())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> AddressSpace:
        """Read what `save` wrote; plain, gzip, xz or zstd.

        Parameters
        ----------
        path
            The file; its content says how it is packed.

        Returns
        -------
        AddressSpace
            One equal to that which was written.

        Raises
        ------
        UsageError
            With the file, and the path to what is wrong in it.
        """
        text = space_file.read(path)
        try:
            return AddressSpace.from_json(text)
        except UsageError as error:
            raise UsageError(f"{os.fspath(path)}: {error}") from None


def shipped_capture() -> AddressSpace:
    """Read a capture that comes with the package: a Python program with a few tens of MiB.

    For where no process can be captured. It was captured on a real host, page by page; names
    of files are without directories.

    Returns
    -------
    AddressSpace
        The same every time.
    """
    with resources.as_file(resources.files(__package__) / "data" / _SHIPPED) as file:
        return AddressSpace.load(file)


def _row(area: Area) -> dict[str, Any]:
    row = dataclasses.asdict(area)
    row["nodes"] = {str(node): pages for node, pages in row.pop("node_pages")}
    return row


def _area(value: object, where: str, names: tuple[str, ...]) -> Area:
    """Return the area that a member of ``areas`` describes, its numbers not checked yet."""
    members = space_file.Members(value, where, names)
    plain = {name: members[name] for name in names if name not in (*_RUNS, "nodes")}
    runs: dict[str, Any] = {name: _runs(members, name) for name in _RUNS}
    nodes = []
    for node, pages in members.table("nodes").items():
        if not (node.isascii() and node.isdecimal() and len(node) <= 4 and str(int(node)) == node):
            raise UsageError(f"{members.where('nodes')}: {space_file.quoted(node)} is no node id")
        nodes.append((int(node), pages))
    return Area(**plain, **runs, node_pages=tuple(sorted(nodes, key=lambda pair: pair[0])))


def _runs(members: space_file.Members, name: str) -> Runs:
    runs = []
    for at, run in enumerate(members.array(name)):
        if not isinstance(run, list) or len(run) != 2:
            found = space_file.quoted(run)
            raise UsageError(f"{members.where(name)}[{at}] is {found}; it must be [first page, pages]")
        runs.append((run[0], run[1]))
    return tuple(runs)
