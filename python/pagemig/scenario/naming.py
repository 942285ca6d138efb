"""How a scenario names things: ``heap[3:5]``, ``child.heap[0]``, ``data[2]``, ``heap[1]+16``.

One notation for all of it. A region by its name; a page or a run of pages of it in brackets,
counted from 0; with a task and a dot before it, as that task sees the same addresses; with a
number of bytes after it, an address within. A file with one page in brackets is that page of
its page cache. A pin goes by the name that was given to it. All names of a scenario share one
space, so each means one thing.

Start with `parse`, which reads the text, and `Names`, which knows what there is, collected
from the raw data before anything is validated, so that every mistake of a file is found at
once. Above: `pagemig.scenario.values`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..flags import PAGE_SIZE

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_REFERENCE = re.compile(
    rf"(?:(?P<task>{_NAME})\.)?(?P<name>{_NAME})"
    r"(?:\[(?P<first>\d+)(?P<colon>:(?P<stop>\d+))?\])?"
    r"(?:\s*(?P<sign>[+-])\s*(?P<offset>0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?\s*[KMGTkmgt]?(?:i?[Bb])?))?"
)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F_]+|\d[\d_]*")

NOTATION = "'heap', 'heap[3]', 'heap[3:5]' or 'child.heap[3]'"


@dataclass(frozen=True, slots=True)
class Reference:
    """A name with what was said about it, read but not yet looked up.

    Examples
    --------
    >>> parse("child.heap[3:5]")
    Reference(name='heap', task='child', first=3, stop=5, offset=0)
    >>> parse("heap[1] + 16")
    Reference(name='heap', task=None, first=1, stop=2, offset=16)
    """

    name: str
    task: str | None = None
    first: int | None = None
    """The first page; None for all."""
    stop: int | None = None
    """The page after the last."""
    offset: int = 0
    """Bytes added to the address."""


def parse(text: str) -> Reference:
    """Read a reference; `ValueError` if it is none."""
    found = _REFERENCE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not in the notation {NOTATION}")
    first = None if found["first"] is None else int(found["first"])
    stop = None
    if first is not None:
        stop = int(found["stop"]) if found["colon"] else first + 1
        if stop <= first:
            raise ValueError(f"{text!r} has no page in it: the second number must be larger than the first")
    offset = 0
    if found["offset"]:
        digits = found["offset"]
        size = int(digits, 16) if digits[:2].lower() == "0x" else bytes_in(digits)
        offset = -size if found["sign"] == "-" else size
    return Reference(found["name"], found["task"], first, stop, offset)


def number_in(text: str) -> int | None:
    """Return an address written as a number, ``0x7000`` or ``28672``; None if it is not one."""
    word = text.strip()
    return int(word.replace("_", ""), 0) if _NUMBER.fullmatch(word) else None


def bytes_in(text: str) -> int:
    """Read a size such as ``64MiB``; units are powers of 1024. `ValueError` if it is none.

    >>> bytes_in("64MiB"), bytes_in("1.5k")
    (67108864, 1536)
    """
    words = _SIZE.fullmatch(text.strip())
    if words is None:
        raise ValueError(f"{text!r} is not a size such as '64MiB'")
    amount = float(words[1]) * _UNITS[words[2].upper()] if "." in words[1] else None
    exact = int(words[1]) * _UNITS[words[2].upper()] if amount is None else int(amount)
    if amount is not None and amount != exact:
        raise ValueError(f"{text!r} is {amount:.16g} bytes, which is no whole number")
    return exact


def told(amount: int) -> str:
    """Write a size the short way.

    >>> told(67108864), told(4097)
    ('64MiB', '4097B')
    """
    for unit, letters in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if amount and amount % unit == 0:
            return f"{amount // unit}{letters}"
    return f"{amount}B"


def is_name(text: object) -> bool:
    """Whether something can be called so."""
    return isinstance(text, str) and re.fullmatch(_NAME, text) is not None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what to write after a word that is unknown: the nearest known one, and what there is.

    >>> nearest("tuch", ["touch", "pin"])
    "; did you mean 'touch'?"
    >>> nearest("zebra", ["touch", "pin"])
    '; there is: touch, pin'
    """
    listed = list(known)
    close = difflib.get_close_matches(word.lower(), [name.lower() for name in listed], n=1, cutoff=0.6)
    if close:
        original = next(name for name in listed if name.lower() == close[0])
        return f"; did you mean {original!r}?"
    return f"; there is: {', '.join(listed)}" if listed else "; there is none"


@dataclass(slots=True)
class Names:
    """Everything a scenario gives a name to, as far as its raw data can be understood."""

    tasks: dict[str, str | None] = field(default_factory=dict)
    """Each with the task that it is forked from, None for those that are declared."""
    regions: dict[str, tuple[str | None, int | None]] = field(default_factory=dict)
    """Each with the task that it lies in, and its pages; None for what is not known before it runs."""
    files: dict[str, None] = field(default_factory=dict)
    memcgs: dict[str, None] = field(default_factory=dict)
    cpusets: dict[str, None] = field(default_factory=dict)
    pins: dict[str, None] = field(default_factory=dict)
    calls: dict[str, None] = field(default_factory=dict)
    nodes: tuple[int, ...] | None = None
    """The nodes of the machine; None if they cannot be understood."""
    twice: list[tuple[tuple[str | int, ...], str]] = field(default_factory=list)
    """Where a name is given that is taken, and what is wrong with it."""
    homes: dict[str, str] = field(default_factory=dict)

    def find(self, kind: str, name: str) -> None:
        """Refuse a name that nothing of a kind has."""
        known: Mapping[str, Any] = getattr(self, kind)
        if name in known:
            return
        word = {"tasks": "task", "regions": "region", "files": "file", "memcgs": "memory cgroup"}
        what = word.get(kind, kind.removesuffix("s"))
        other = self.homes.get(name)
        if other is not None:
            raise ValueError(f"{name!r} is a {other}, not a {what}{nearest(name, known)}")
        raise ValueError(f"there is no {what} {name!r}{nearest(name, known)}")

    def take(self, kind: str, name: object, where: tuple[str | int, ...]) -> bool:
        """Enter a name; note it if it is none or taken. Returns whether it was entered."""
        if not is_name(name):
            self.twice.append(
                (where, f"{name!r} is no name; a letter comes first, then letters, digits and '_'")
            )
            return False
        text = str(name)
        if text in self.homes:
            self.twice.append((where, f"{text!r} is a {self.homes[text]} already; give it another name"))
            return False
        self.homes[text] = kind
        return True


def collect(raw: Mapping[str, Any]) -> Names:
    """Gather all names from raw data; what cannot be understood is left for validation to refuse."""
    names = Names()
    machine = _table(raw.get("machine"))
    names.nodes = _nodes(machine.get("nodes"))
    for kind, word in (
        ("tasks", "task"),
        ("files", "file"),
        ("memcgs", "memory cgroup"),
        ("cpusets", "cpuset"),
    ):
        for name in _table(raw.get(kind)):
            if names.take(word, name, (kind, name)):
                getattr(names, kind)[name] = None
    for name, said in _table(raw.get("regions")).items():
        if names.take("region", name, ("regions", name)):
            names.regions[name] = _region(_table(said))
    for kind in ("setup", "calls"):
        steps = raw.get(kind)
        for position, step in enumerate(steps if isinstance(steps, (list, tuple)) else ()):
            _step(names, _table(step), (kind, position))
    return names


def _step(names: Names, step: Mapping[str, Any], where: tuple[str | int, ...]) -> None:
    verb, by = step.get("do"), step.get("by")
    if "id" in step and where[0] == "calls" and names.take("call", step["id"], (*where, "id")):
        names.calls[step["id"]] = None
        if verb in ("pin", "lookup"):
            names.pins[step["id"]] = None
    if "name" not in step:
        return
    name = step["name"]
    if verb == "fork" and names.take("task", name, (*where, "name")):
        names.tasks[name] = by if isinstance(by, str) else None
    elif verb in ("mmap", "mremap") and names.take("region", name, (*where, "name")):
        names.regions[name] = _region({**step, "task": by}) if verb == "mmap" else _moved(names, step)
    elif verb in ("pin", "lookup") and names.take("pin", name, (*where, "name")):
        names.pins[name] = None


def _moved(names: Names, step: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The region that mremap makes: as long as what it was made from, unless told otherwise."""
    by = step.get("by")
    task = by if isinstance(by, str) else None
    if "length" in step:
        return task, _pages(step["length"])
    try:
        source = parse(str(step.get("region")))
    except ValueError:
        return task, None
    if source.first is not None and source.stop is not None:
        return task, source.stop - source.first
    return task, names.regions.get(source.name, (None, None))[1]


def _region(said: Mapping[str, Any]) -> tuple[str | None, int | None]:
    task, pages = said.get("task"), said.get("pages")
    if not (isinstance(pages, int) and not isinstance(pages, bool)):
        pages = _pages(said.get("size"))
    return (task if isinstance(task, str) else None), pages


def _pages(size: object) -> int | None:
    try:
        amount = bytes_in(size) if isinstance(size, str) else size
    except ValueError:
        return None
    return -(-amount // PAGE_SIZE) if isinstance(amount, int) and not isinstance(amount, bool) else None


def _nodes(said: object) -> tuple[int, ...] | None:
    if isinstance(said, (list, tuple)):
        return tuple(range(len(said)))
    if isinstance(said, Mapping):
        try:
            return tuple(sorted(int(key) for key in said))
        except (TypeError, ValueError):
            return None
    return None


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
