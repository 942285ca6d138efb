"""A situation as text that a person can read, type and keep: tasks, memory, and calls that race.

Start with :class:`Situation`. The text of one has one line a word:

``cpus 2``, ``pages 3``
    the machine: two nodes, and one heap of task ``app``
``do app write 0``
    done at once, before the race; ``do app fork child`` names a new task
``call app move 0 3 1 shared``
    a call of the race; the first is ``a`` in the schedule
``schedule 3a1b2a``
    who runs, step by step; what is left runs in turn

Neighbours: ``race`` runs a situation, ``dice`` makes random ones, ``schedules/`` keeps those that
ever failed. Left out: machines of another shape, areas other than the heap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pagemig as pm

SLOT_VALUE = 1
"""What a writer stores is this more than the number of its line."""

PROTECTIONS = {"none": pm.NONE, "r": pm.R, "rw": pm.RW}
SCOPES = {"shared": pm.MoveScope.SHARED, "exclusive": pm.MoveScope.EXCLUSIVE}


@dataclass(frozen=True)
class Line:
    """One operation: who, what, and the words that say on which pages."""

    task: str
    verb: str
    words: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> Line:
        task, verb, *words = text.split()
        return Line(task, verb, tuple(words))

    def __str__(self) -> str:
        return " ".join((self.task, self.verb, *self.words))

    def number(self, at: int) -> int:
        """The word at a place, as a number."""
        return int(self.words[at])

    @property
    def pages(self) -> range:
        """The pages that it names: one, or first and count."""
        first, has_count = self.number(0), len(self.words) > 1 and self.words[1].isdigit()
        return range(first, first + (self.number(1) if has_count else 1))


@dataclass(frozen=True)
class Situation:
    """What there is before a race, and who races."""

    setup: tuple[Line, ...]
    calls: tuple[Line, ...]
    pages: int = 2
    cpus: int = 2

    @property
    def lines(self) -> tuple[Line, ...]:
        """Everything that is done, in order; the place in here is the number of a line."""
        return self.setup + self.calls

    def __str__(self) -> str:
        head = [f"cpus {self.cpus}", f"pages {self.pages}"]
        done = [f"do {line}" for line in self.setup]
        return "\n".join([*head, *done, *(f"call {line}" for line in self.calls)])


@dataclass(frozen=True)
class Kept:
    """A situation with the schedule that broke something once, and what."""

    situation: Situation
    schedule: str
    broke: str

    def __str__(self) -> str:
        comment = "\n".join(f"# {line}" for line in self.broke.splitlines())
        return f"{comment}\n{self.situation}\nschedule {self.schedule}\n"


def read(text: str) -> Kept:
    """Read what ``str`` of a :class:`Kept` writes."""
    found: dict[str, list[str]] = {name: [] for name in ("cpus", "pages", "do", "call", "schedule")}
    comments = []
    for line in text.splitlines():
        if line.startswith("#"):
            comments.append(line[1:].strip())
        elif line.strip():
            word, _, rest = line.strip().partition(" ")
            found[word].append(rest)
    situation = Situation(
        tuple(map(Line.parse, found["do"])),
        tuple(map(Line.parse, found["call"])),
        int(found["pages"][0]),
        int(found["cpus"][0]),
    )
    return Kept(situation, found["schedule"][0] if found["schedule"] else "", "\n".join(comments))


def steps_of(schedule: str) -> list[int]:
    """The calls of a schedule, step by step: ``2a1b`` is 0, 0, 1."""
    return [
        ord(letter) - ord("a")
        for count, letter in re.findall(r"(\d+)([a-z])", schedule)
        for _ in range(int(count))
    ]


def schedule_of(steps: list[int]) -> str:
    """The same, the other way round."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and runs[-1][0] == step:
            runs[-1][1] += 1
        else:
            runs.append([step, 1])
    return "".join(f"{count}{chr(ord('a') + step)}" for step, count in runs)


@dataclass
class Place:
    """A situation that has been set up: the machine, its tasks by name, the heap."""

    machine: pm.Machine
    tasks: dict[str, pm.Task]
    heap: pm.Region
    free_frames: int
    calls: list[pm.Call] = field(default_factory=list)
    pins: list[tuple[str, int, int]] = field(default_factory=list)
    """Task, page and frame of every pin that is held."""
    refused: set[int] = field(default_factory=set)
    """The numbers of the lines that ended with an error."""

    def region(self, line: Line, task: str | None = None) -> pm.Region:
        """The pages of a line, in the memory of its task."""
        own = self.tasks[task or line.task].same(self.heap)
        return own[line.pages.start : line.pages.stop]


def value_of(number: int) -> int:
    """The byte that the writer of line ``number`` stores, at offset ``number`` of its page."""
    return number + SLOT_VALUE


def build(situation: Situation, record: bool = False) -> Place:
    """Make the machine, do what is done before the race, and start the calls."""
    machine = pm.Machine(nodes=[128 * pm.PAGE_SIZE] * 2, cpus=situation.cpus, contents=True)
    app = machine.spawn("app", stack=False)
    free = machine.vmstat()["nr_free_pages"]
    place = Place(machine, {"app": app}, app.mmap(situation.pages * pm.PAGE_SIZE), free)
    machine.watch_stores()
    if record:
        machine.record()
    for number, line in enumerate(situation.setup):
        if line.verb == "cpu":
            place.tasks[line.task].cpu = line.number(0)
            continue
        call = machine.start(call_of(place, line, number), by=place.tasks[line.task])
        call.run()
        note(place, line, call, number)
    for number, line in enumerate(situation.calls, start=len(situation.setup)):
        place.calls.append(machine.start(call_of(place, line, number), by=place.tasks[line.task]))
    return place


def note(place: Place, line: Line, call: pm.Call, number: int) -> None:
    """Remember what a call that is done made: a task, a pin, an error."""
    if call.error is not None:
        place.refused.add(number)
    elif line.verb == "fork":
        place.tasks[line.words[0]] = call.result
    elif line.verb == "pin" and call.result is not None:
        place.pins.append((line.task, line.pages.start, call.result))
    elif line.verb == "exit":
        del place.tasks[line.task]


def call_of(place: Place, line: Line, number: int) -> pm.call.CallValue:
    """The call that a line means. ``number`` is that of the line."""
    return _CALLS[line.verb](place, line, number)


def _move(place: Place, line: Line, number: int) -> pm.call.CallValue:
    target = line.words[4] if len(line.words) > 4 else line.task
    region = place.region(line, target)
    scope = SCOPES[line.words[3]]
    return pm.calls.move_pages(region, line.number(2), scope=scope, target=place.tasks[target])


def _write(place: Place, line: Line, number: int) -> pm.call.CallValue:
    return pm.calls.write(place.region(line).start + number, bytes([value_of(number)]))


def _unpin(place: Place, line: Line, number: int) -> pm.call.CallValue:
    held = next(pin for pin in place.pins if pin[:2] == (line.task, line.pages.start))
    place.pins.remove(held)
    return pm.calls.unpin(held[2])


_CALLS: dict[str, Callable[[Place, Line, int], pm.call.CallValue]] = {
    "move": _move,
    "query": lambda place, line, _: pm.calls.move_pages(place.region(line)),
    "write": _write,
    "read": lambda place, line, _: pm.calls.read(place.region(line).start, 64),
    "store": lambda place, line, _: pm.calls.touch(place.region(line)),
    "load": lambda place, line, _: pm.calls.touch(place.region(line), write=False),
    "fork": lambda place, line, _: pm.calls.fork(line.words[0]),
    "exit": lambda place, line, _: pm.calls.exit(),
    "munmap": lambda place, line, _: pm.calls.munmap(place.region(line)),
    "mprotect": lambda place, line, _: pm.calls.mprotect(place.region(line), PROTECTIONS[line.words[2]]),
    "mlock": lambda place, line, _: pm.calls.mlock(place.region(line)),
    "munlock": lambda place, line, _: pm.calls.munlock(place.region(line)),
    "pin": lambda place, line, _: pm.calls.pin(place.region(line).start, write=line.words[1] == "w"),
    "unpin": _unpin,
    "drain": lambda place, line, _: pm.calls.drain(),
}
