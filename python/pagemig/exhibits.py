"""The gallery: bugs that real code once had or easily could, each with a situation that shows it.

Start with `gallery`, a mapping from names to `Exhibit`. An exhibit builds a small machine with the bug
in it, or without, and two calls that race; `Gallery.explore` tries every order of their steps. With
the bug there is a finding, and the shortest schedule to it; without, there is none in any order.

Neighbours: `pagemig.bugs` has the switches and their stories, `pagemig.explore` the search.

Source: concurrency 3 and 4, invariants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from . import calls
from .bugs import Bug
from .call import CallValue
from .errors import UsageError
from .exploring import explore
from .filesystems import EXT, TMPFS, DirtyMethod, FileSystem, MigrateMethod, WriteMethod
from .flags import PAGE_SIZE, Profile, Protection
from .machine import Machine
from .region import Region
from .results import ToNode
from .task import Task
from .verdict import Verdict

Calls = list[tuple[CallValue, Task]]
"""What races: each call, and whose it is. The first is named a."""

NODE_PAGES: Final = 16
WHOLE_PAGES: Final = replace(
    EXT,
    name="whole-pages",
    migrate=MigrateMethod.PAGE,
    write=WriteMethod.PAGE,
    dirtying=DirtyMethod.NO_BUFFERS,
    buffer_bytes=0,
)
NO_METHOD: Final = replace(WHOLE_PAGES, name="no-method", migrate=MigrateMethod.FALLBACK)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an exhibit is built: a machine of two small nodes, a program, and a daemon that moves pages."""

    machine: Machine
    app: Task
    daemon: Task

    @staticmethod
    def build(*, bugs: tuple[Bug, ...] = (), profile: Profile = Profile.REPAIRED) -> Scene:
        """Make one; every store is watched from the beginning."""
        machine = Machine(
            nodes=[NODE_PAGES * PAGE_SIZE] * 2, cpus=1, contents=True, profile=profile, bugs=bugs
        )
        machine.watch_stores()
        daemon = machine.spawn("daemon", kernel_thread=True)
        return Scene(machine, machine.spawn("app", stack=False), daemon)

    def heap(self) -> Region:
        """One page of private memory of the program, written."""
        heap = self.app.mmap(PAGE_SIZE)
        self.app.write(heap.start, b"heap")
        self.machine.drain()
        return heap

    def move(self, pfn: int | None) -> tuple[CallValue, Task]:
        """The daemon moves a frame to node 1, without the ``mmap_sem`` of anybody."""
        if pfn is None:
            raise UsageError("there is no page to be moved")
        return calls.migrate_frames([pfn], ToNode(1)), self.daemon

    def move_heap(self) -> tuple[Region, tuple[CallValue, Task]]:
        """The same for the page of a new heap."""
        heap = self.heap()
        return heap, self.move(self.app.entry_at(heap.start).pfn)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One bug and the situation that shows it."""

    name: str
    """As people type it."""
    bug: Bug | None
    """The switch; None where the kernel that is modelled has the bug itself."""
    title: str
    """What is done wrong, in one line."""
    story: str
    """What happens, and why it is easily written."""
    rule: str
    """The step or window of the specification that is broken."""
    breaks: tuple[str, ...]
    """The invariants that no longer hold."""
    situation: Callable[[Scene], Calls] = field(repr=False)
    """Prepares a scene and says what races on it."""

    def build(self, bug_on: bool = True) -> tuple[Machine, Calls]:
        """Build the machine, with the bug or without, and say what races on it.

        Parameters
        ----------
        bug_on
            Whether the machine has the bug. Where the kernel that is modelled has it itself, it is repaired
            otherwise.

        Returns
        -------
        tuple
            The machine, and the list of its calls, each with its task.

        Raises
        ------
        UsageError
            ``bug_on`` is neither True nor False.
        """
        if not isinstance(bug_on, bool):
            raise UsageError(f"bug_on is {bug_on!r}; it must be True or False")
        if self.bug is None:
            scene = Scene.build(profile=Profile.EXACT if bug_on else Profile.REPAIRED)
        else:
            scene = Scene.build(bugs=(self.bug,) if bug_on else ())
        return scene.machine, self.situation(scene)


def _cached_page(scene: Scene, filesystem: FileSystem) -> tuple[int, int | None]:
    """A file whose only page was written and is in memory: its number, and the frame."""
    file = scene.machine.create_file("file", PAGE_SIZE, filesystem=filesystem)
    file.write(0, b"file", by=scene.app)
    scene.machine.drain()
    return file.number, file.pfn_of(0)


def _read_while_it_moves(scene: Scene) -> Calls:
    file, pfn = _cached_page(scene, WHOLE_PAGES)
    return [scene.move(pfn), (calls.read_file(file, 0, 4), scene.app)]


def _load_while_it_moves(scene: Scene) -> Calls:
    heap, move = scene.move_heap()
    return [move, (calls.read(heap.start, 4), scene.app)]


def _stored_through_an_entry(scene: Scene) -> Calls:
    """A page of tmpfs that was read first, so that only the entry knows of the store."""
    file = scene.machine.create_file("file", PAGE_SIZE, filesystem=TMPFS)
    area = scene.app.mmap(PAGE_SIZE, file=file, shared=True)
    scene.app.touch(area, write=False)
    scene.app.write(area.start, b"file")
    scene.machine.drain()
    move = scene.move(scene.app.entry_at(area.start).pfn)
    return [move, (calls.read_file(file, 0, 4), scene.app)]


def _fork_while_it_moves(scene: Scene) -> Calls:
    _, move = scene.move_heap()
    return [move, (calls.fork("child"), scene.app)]


def _mprotect_while_it_moves(scene: Scene) -> Calls:
    heap, move = scene.move_heap()
    return [move, (calls.mprotect(heap, Protection.READ), scene.app)]


def _mremap_while_it_moves(scene: Scene) -> Calls:
    heap, move = scene.move_heap()
    return [move, (calls.mremap(heap, to=heap.start + 64 * PAGE_SIZE), scene.app)]


def _munmap_while_it_moves(scene: Scene) -> Calls:
    heap, move = scene.move_heap()
    return [move, (calls.munmap(heap), scene.app)]


def _written_by_the_fallback(scene: Scene) -> Calls:
    file, pfn = _cached_page(scene, NO_METHOD)
    return [scene.move(pfn), (calls.read_file(file, 0, 4), scene.app)]


_SITUATIONS: dict[Bug, Callable[[Scene], Calls]] = {
    Bug.NO_FREEZE: _read_while_it_moves,
    Bug.NO_RECHECK: _read_while_it_moves,
    Bug.COPY_LATE: _load_while_it_moves,
    Bug.DIRTY_DROPPED: _stored_through_an_entry,
    Bug.FORK_KEEPS_WRITE: _fork_while_it_moves,
    Bug.MPROTECT_KEEPS_WRITE: _mprotect_while_it_moves,
    Bug.NO_RCU: _munmap_while_it_moves,
    Bug.CHILD_FIRST: _fork_while_it_moves,
    Bug.NEW_UNLOCKED: _read_while_it_moves,
    Bug.NO_WRITEBACK_WAIT: _written_by_the_fallback,
    Bug.DROP_EARLY: _munmap_while_it_moves,
    Bug.ISOLATED_LEFT: _load_while_it_moves,
}

MREMAP_STRANDS: Final = Exhibit(
    name="mremap-strands",
    bug=None,
    title="mremap carries a migration entry past the walk that is to restore it",
    story="This one is no switch: the kernel that is modelled has it (Q21). mremap carries entries from the "
    "old place to the new one as they are, and takes no lock that the walk over anonymous memory knows of. "
    "If it has taken the entry out of one table and not yet put it into the other just when the walk looks "
    "at both, the walk finds nothing, and the entry stays although the migration is over. The next access "
    "finds an entry for a page that nobody has locked, and the kernel halts. Profile REPAIRED keeps the walk "
    "out while entries are carried (concurrency S34).",
    rule="S34",
    breaks=("I-20", "I-21"),
    situation=_mremap_while_it_moves,
)


def _exhibits() -> dict[str, Exhibit]:
    made = [
        Exhibit(bug.value, bug, bug.title, bug.story, bug.rule, bug.breaks, situation)
        for bug, situation in _SITUATIONS.items()
    ]
    return {exhibit.name: exhibit for exhibit in (*made, MREMAP_STRANDS)}


class Gallery(Mapping[str, Exhibit]):
    """All exhibits, by name.

    Examples
    --------
    >>> gallery["no-freeze"].title
    'The slot is replaced without freezing the count'
    >>> len(gallery)
    13
    """

    def __init__(self) -> None:
        self._exhibits = _exhibits()

    def __getitem__(self, name: str) -> Exhibit:
        """Return the exhibit with a name; `UsageError` if there is none."""
        found = self._exhibits.get(name)
        if found is None:
            raise UsageError(f"the gallery has no {name!r}; it has {', '.join(self._exhibits)}")
        return found

    def __iter__(self) -> Iterator[str]:
        """Go over the names."""
        return iter(self._exhibits)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._exhibits)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is one with a name."""
        return name in self._exhibits

    def __repr__(self) -> str:
        return f"Gallery({', '.join(self._exhibits)})"

    def explore(self, name: str, *, bug_on: bool = True, **options: Any) -> Verdict:
        """Try every order of an exhibit's steps.

        Parameters
        ----------
        name
            Which exhibit.
        bug_on
            Whether the machine has the bug.
        options
            As those of `pagemig.explore`.

        Returns
        -------
        Verdict
            With the bug what is wrong, and the shortest way to it.

        Raises
        ------
        UsageError
            There is no such exhibit, or an option makes no sense.

        Examples
        --------
        >>> verdict = gallery.explore("fork-keeps-write")
        >>> verdict.findings[0].rule
        'writable_private_pages_are_unshared'
        >>> gallery.explore("fork-keeps-write", bug_on=False).findings
        ()
        """
        machine, race = self[name].build(bug_on)
        return explore(machine, race, **options)


gallery = Gallery()
"""All exhibits: ``pagemig.gallery``."""
